"""Identity centres and nearest centres, compared with plain NumPy and with scikit-learn; ties; messages."""

import numpy as np
import pytest
from sklearn.metrics import pairwise_distances_chunked

from bench.errors import InputError
from bench.vectors.nearest import identity_centers, nearest_centers


def nearest_by_full_matrix(features, centers, own=None):
    """All cosines in float64 at once."""
    features, centers = features.astype(np.float64), centers.astype(np.float64)
    products = features @ centers.T
    cosines = products / np.linalg.norm(features, axis=1)[:, None] / np.linalg.norm(centers, axis=1)
    if own is not None:
        has_own = own >= 0
        cosines[has_own, own[has_own]] = -np.inf
    return cosines.max(axis=1), cosines.argmax(axis=1)


@pytest.mark.parametrize("blocks", [(1024, 8192), (7, 5), (1, 1)])
@pytest.mark.parametrize("leave_own_out", [False, True])
def test_nearest_centres_equal_the_full_matrix(blocks, leave_own_out):
    rng = np.random.default_rng(0)
    features, centers = rng.normal(0, 3, (40, 16)).astype(np.float32), rng.normal(0, 9, (23, 16)).astype(np.float32)
    own = rng.integers(-1, 23, 40) if leave_own_out else None
    cosines, positions = nearest_centers(features, centers, own=own, block_rows=blocks[0], block_centers=blocks[1])
    expected, expected_positions = nearest_by_full_matrix(features, centers, own)
    assert np.allclose(cosines, expected, atol=1e-6)
    assert positions.tolist() == expected_positions.tolist()


@pytest.mark.parametrize("leave_own_out", [False, True])
def test_nearest_centres_equal_those_of_scikit_learn(leave_own_out):
    rng = np.random.default_rng(2)
    features = rng.normal(0, 3, (700, 64)).astype(np.float32)
    centers = rng.normal(0, 9, (301, 64)).astype(np.float32)
    own = rng.integers(0, 301, 700)

    def nearest_of_chunk(distances, start):
        if leave_own_out:
            distances[np.arange(len(distances)), own[start : start + len(distances)]] = np.inf
        return np.stack([distances.min(axis=1), distances.argmin(axis=1)], axis=1)

    chunks = pairwise_distances_chunked(
        features, centers, metric="cosine", reduce_func=nearest_of_chunk, working_memory=0.1
    )
    expected_distances, expected_positions = np.concatenate(list(chunks)).T
    cosines, positions = nearest_centers(features, centers, own=own if leave_own_out else None, block_rows=128)
    np.testing.assert_allclose(cosines, 1 - expected_distances, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(positions, expected_positions)


def test_equal_centres_give_the_first_one_whatever_the_blocks():
    centers = np.array([[0, 1], [1, 0], [1, 0]], dtype=np.float32)
    for block_centers in (1, 2, 3):
        assert nearest_centers(centers[1:2], centers, block_centers=block_centers)[1].tolist() == [1]
    assert nearest_centers(centers, centers, own=np.array([-1, 1, 2]))[1].tolist() == [0, 2, 1]


def test_centres_are_means_per_identity():
    rng = np.random.default_rng(1)
    features, ids = rng.normal(size=(30, 4)).astype(np.float32), rng.permutation(np.arange(30) % 7)
    expected = np.stack([features[ids == c].mean(axis=0) for c in range(7)])
    assert np.allclose(identity_centers(features, ids), expected, atol=1e-6)


def test_bad_input_is_named():
    vectors = np.ones((3, 4), np.float32)
    with pytest.raises(InputError, match=r"features \(3, 4\) and identities \(2,\) differ in count"):
        identity_centers(vectors, np.array([0, 1]))
    with pytest.raises(InputError, match="identity 1 of 3 has no face"):
        identity_centers(vectors, np.array([0, 2, 0]))
    with pytest.raises(InputError, match=r"features \(3, 4\) and centres \(3, 3\) differ in width"):
        nearest_centers(vectors, vectors[:, :3])
    with pytest.raises(InputError, match="1 identity centres are too few"):
        nearest_centers(vectors, vectors[:1], own=np.zeros(3, int))
    with pytest.raises(InputError, match=r"centres: 1 of 3 vectors are zero or not finite, first row 2"):
        nearest_centers(vectors, np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]], np.float32))
