"""Labels of verification pairs as bool, and the check that a set holds two images per label."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError


def as_labels(labels: Sequence | NDArray, source: Path) -> NDArray[np.bool_]:
    """Labels as bool, shape (P,): True is genuine.

    Args:
        labels: P labels, each 0 or 1 as a bool, a number or a text.
        source: File of the labels, for messages.

    Raises:
        InputError: If a label is neither 0 nor 1; names the first such label.
    """
    is_genuine = np.empty(len(labels), dtype=bool)
    for i, label in enumerate(labels):
        try:
            number = float(label)
        except (TypeError, ValueError):
            number = float("nan")
        if number not in (0, 1):
            raise InputError(f"{source}: label {i} is {label!r}; must be 1 (genuine) or 0 (impostor)")
        is_genuine[i] = number == 1
    return is_genuine


def check_counts(num_images: int, num_labels: int, source: Path) -> None:
    """Check that a set holds two images per label, and at least one pair.

    Raises:
        InputError: If it does not; says both numbers.
    """
    if num_images != 2 * num_labels or num_labels == 0:
        raise InputError(
            f"{source} holds {num_images} images and {num_labels} labels; needs two images per label; "
            "fetch or pack it again"
        )
