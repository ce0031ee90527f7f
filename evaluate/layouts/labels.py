"""Labels of verification pairs as bool, whole numbers in lists, and the check that a set holds two images per label."""

import reprlib
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
    if np.ndim(labels) == 0 and isinstance(labels, np.ndarray):
        raise InputError(f"{source} holds one value instead of a list of labels; fetch or pack it again")
    is_genuine = np.empty(len(labels), dtype=bool)
    for i, label in enumerate(labels):
        try:
            number = float(label)
        except (TypeError, ValueError, OverflowError):
            number = float("nan")
        if number not in (0, 1):
            raise InputError(f"{source}: label {i} is {reprlib.repr(label)}; must be 1 (genuine) or 0 (impostor)")
        is_genuine[i] = number == 1
    return is_genuine


def is_count(text: str) -> bool:
    """Whether a text is a whole number from 0 that int64 can hold. A digit that int() refuses, as ``²``, is none."""
    return text.isdecimal() and len(text) <= 18


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
