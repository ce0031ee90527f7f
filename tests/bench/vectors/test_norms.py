"""Lengths of vectors, and the message for vectors that have no direction."""

import pytest
import torch

from bench.errors import InputError
from bench.vectors.norms import checked_norms


def test_norms_of_vectors():
    assert checked_norms(torch.tensor([[3.0, 4.0], [0.0, 2.0]])).tolist() == [[5.0], [2.0]]


@pytest.mark.parametrize("bad", [0.0, float("nan"), float("inf")])
def test_a_vector_without_a_direction_is_named(bad):
    vectors = torch.tensor([[3.0, 4.0], [bad, bad], [bad, bad]])
    with pytest.raises(InputError, match=r"^mine\.npy: 2 of 3 vectors are zero or not finite, first row 1; remove"):
        checked_norms(vectors, "mine.npy")
    with pytest.raises(InputError, match=r"^2 of 3 vectors"):
        checked_norms(vectors)
