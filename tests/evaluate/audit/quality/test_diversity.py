"""Vendi score, uniqueness, consistency and covered variation against their definitions."""

import numpy as np
import pytest

from bench.errors import InputError
from evaluate.audit.quality.diversity import consistent_share, covered_variation, unique_share, vendi_score
from evaluate.audit.quality.section import histogram_eer
from evaluate.metrics import eer


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_vendi_of_known_sets():
    assert vendi_score(np.tile([[0.6, 0.8]], (7, 1))) == pytest.approx(1)
    assert vendi_score(np.eye(9)) == pytest.approx(9)
    assert vendi_score(np.repeat(np.eye(4), 5, axis=0)) == pytest.approx(4)


def test_vendi_equals_the_eigenvalues_of_all_cosines():
    embeddings = unit(np.random.default_rng(0).normal(0.3, 1, (60, 8)))
    values = np.linalg.eigvalsh(embeddings.astype(float) @ embeddings.T / 60)
    values = values[values > 1e-12]
    assert vendi_score(embeddings) == pytest.approx(np.exp(-(values * np.log(values)).sum()), rel=1e-5)
    with pytest.raises(InputError, match="the set is not finite, first in row 2"):
        vendi_score(np.array([[1, 0], [0, 1], [np.inf, 0]]))


def test_unique_and_consistent_shares():
    angles = np.radians([0, 30, 90, 60])  # 30 degrees have a cosine distance of 0.13, 60 degrees of 0.5
    centers = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert unique_share(centers) == pytest.approx(2 / 4)  # the second is near the first, the last near both others
    assert unique_share(centers, radius=0.1) == 1
    assert consistent_share(np.array([0.71, 0.69, 1.0, 0.2])) == 0.5


def slow_variation(embeddings, ids, real, real_ids):
    def deviations(rows, labels, label):
        own = rows[labels == label].astype(float)
        return own - own.mean(axis=0)

    theirs = [deviations(real, real_ids, label) for label in np.unique(real_ids) if (real_ids == label).sum() >= 5]
    targets = np.concatenate(theirs)
    shares = []
    for label in np.unique(ids):
        own = deviations(embeddings, ids, label)
        if len(own) < 5:
            continue
        radii = [np.sort(np.linalg.norm(own - row, axis=1))[3] for row in own]
        shares.append(np.mean([(np.linalg.norm(own - target, axis=1) < radii).any() for target in targets]))
    return np.mean(shares)


def test_covered_variation_equals_the_slow_form():
    rng = np.random.default_rng(3)
    ids = np.repeat(np.arange(5), [5, 5, 2, 5, 4])
    real_ids = np.repeat(np.arange(4), [5, 5, 3, 5])
    embeddings, real = (unit(rng.normal(size=(len(labels), 5)) + labels[:, None]) for labels in (ids, real_ids))
    order = rng.permutation(len(ids))
    share = covered_variation(embeddings[order], ids[order], real, real_ids)
    assert share == pytest.approx(slow_variation(embeddings, ids, real, real_ids))
    assert 0 < share < 1
    assert np.isnan(covered_variation(embeddings, ids, real[:3], np.arange(3)))


def test_covered_variation_does_not_depend_on_the_number_of_images():
    """All sets are drawn from one distribution."""
    rng = np.random.default_rng(4)

    def people(num_images):
        ids = np.repeat(np.arange(200), num_images)
        return unit(rng.normal(size=(200, 16))[ids] + 0.3 * rng.normal(size=(len(ids), 16))), ids

    real = people(8)
    shares = [covered_variation(*people(num_images), *real) for num_images in (5, 8, 50)]
    assert max(shares) - min(shares) < 0.02


def test_the_equal_error_rate_of_histograms():
    rng = np.random.default_rng(0)
    genuine, impostor = rng.normal(0.5, 0.12, 20_000), rng.normal(0, 0.1, 20_000)
    bins = np.linspace(-1, 1, 201)
    counts = [np.histogram(values, bins)[0] for values in (genuine, impostor)]
    labels = np.repeat([True, False], 20_000)
    assert histogram_eer(*counts) == pytest.approx(eer(np.concatenate([genuine, impostor]), labels), abs=2e-4)
    assert histogram_eer(counts[0], counts[1] * 0) is None
    separate = histogram_eer(np.array([0, 0, 5]), np.array([5, 0, 0]))
    assert separate == 0
