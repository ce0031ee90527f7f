"""Threshold of searches and hubs against loops."""

import numpy as np
import pytest

from bench.errors import InputError
from bench.vectors.nearest import identity_centers
from evaluate.audit.privacy.searches import count_above, find_hubs, set_threshold


def people(num=40, each=50, dim=16):
    rng = np.random.default_rng(0)
    ids = np.repeat(np.arange(num), each)
    rows = rng.normal(size=(num, dim))[ids] + rng.normal(size=(num * each, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), ids


def test_one_in_a_thousand_real_searches_is_above():
    embeddings, ids = people()
    centers = identity_centers(embeddings, ids)
    threshold = set_threshold(embeddings, ids, centers)
    unit = centers / np.linalg.norm(centers, axis=1, keepdims=True)
    cosines = embeddings @ unit.T
    cosines[np.arange(len(ids)), ids] = -2
    highest = cosines.max(axis=1)
    assert (highest > threshold.cosine).sum() == 2  # of 2,000
    assert threshold.search_rate == pytest.approx(0.001)
    assert threshold.num_pairs == 2000 * 39
    assert threshold.pair_rate == pytest.approx((cosines > threshold.cosine).sum() / threshold.num_pairs)
    assert threshold.expected_search_rate == pytest.approx(1 - (1 - threshold.pair_rate) ** 39)
    assert count_above(embeddings, centers, ids, 0.5) == (cosines > 0.5).sum()


def test_too_few_images_for_the_rate():
    embeddings, ids = people(num=10, each=50)
    with pytest.raises(InputError, match="500 images of members are too few"):
        set_threshold(embeddings, ids, identity_centers(embeddings, ids))


def test_hubs_are_named_with_their_share_of_controls():
    cosines = np.concatenate([np.full(100, 0.9), np.full(50, 0.1)])
    nearest = np.concatenate([np.repeat([7, 3], [60, 12]), np.arange(100, 128), np.full(50, 5)])
    hubs = find_hubs(cosines, nearest, np.array([7, 7, 1, 3]))
    assert [(hub.person, hub.num_nearest, hub.share_of_controls) for hub in hubs] == [(7, 60, 0.5), (3, 12, 0.25)]
    assert find_hubs(cosines, np.arange(150), np.array([1])) == []
