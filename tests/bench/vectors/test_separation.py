"""Both rules of separation, by hand and compared with a loop over single vectors."""

import numpy as np
import pytest

from bench.vectors.separation import separated


def separated_one_by_one(features, max_cosine, against):
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    keep = []
    for row in range(len(unit)):
        earlier = [other for other in range(row) if against == "earlier" or keep[other]]
        keep.append(all(unit[row] @ unit[other] <= max_cosine for other in earlier))
    return np.array(keep)


def test_separation_by_hand():
    # The second vector is near the first; the third is near the second, which "kept" has rejected
    features = np.array([[1.0, 0.0], [0.9, 0.5], [0.4, 0.9], [5.0, 0.1]])
    assert separated(features, 0.8).tolist() == [True, False, True, False]
    assert separated(features, 0.8, against="earlier").tolist() == [True, False, True, False]
    assert separated(features, 0.75, against="earlier").tolist() == [True, False, False, False]
    assert separated(features, 0.75).tolist() == [True, False, True, False]


@pytest.mark.parametrize("against", ["kept", "earlier"])
@pytest.mark.parametrize("block_rows", [1, 7, 64, 1000])
def test_separation_equals_a_loop_over_single_vectors(against, block_rows):
    rng = np.random.default_rng(0)
    features = rng.standard_normal((150, 5)).astype(np.float32) * rng.uniform(1, 9, (150, 1)).astype(np.float32)
    expected = separated_one_by_one(features, 0.6, against)
    assert 0.05 < expected.mean() < 0.95
    assert np.array_equal(separated(features, 0.6, against=against, block_rows=block_rows), expected)
