"""Labels in every form that sets of the field use; anything else is refused with its position."""

from pathlib import Path

import numpy as np
import pytest

from bench.errors import InputError
from evaluate.layouts.labels import as_labels, check_counts

SOURCE = Path("labels.txt")


@pytest.mark.parametrize(
    "labels", [[True, False], [1, 0], ["1", "0"], ["1.0", "0"], np.array([1.0, 0.0]), np.array([True, False])]
)
def test_labels_of_every_type(labels):
    is_genuine = as_labels(labels, SOURCE)
    assert is_genuine.dtype == bool
    assert is_genuine.tolist() == [True, False]


@pytest.mark.parametrize("label", [2, "yes", None, float("nan")])
def test_other_labels_are_named(label):
    with pytest.raises(InputError, match=r"labels.txt: label 1 is .*; must be 1 \(genuine\) or 0 \(impostor\)"):
        as_labels([1, label], SOURCE)


def test_counts():
    check_counts(4, 2, SOURCE)
    for num_images, num_labels in ((3, 2), (0, 0)):
        with pytest.raises(InputError, match=f"holds {num_images} images and {num_labels} labels; needs two images"):
            check_counts(num_images, num_labels, SOURCE)
