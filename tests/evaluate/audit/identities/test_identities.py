"""The audit's figures over all pairs equal the obvious loops over all pairs."""

import itertools

import numpy as np
import pytest

from evaluate.audit.identities import cosines as audit_identities
from evaluate.audit.identities.cosines import BINS, impostor_histogram, measure_identities
from evaluate.audit.identities.separation import curve_points, measure_separation


def made_up(num_identities=12, dim=16, seed=0):
    """Unit embeddings of identities with 1 to 7 images, in shuffled order."""
    rng = np.random.default_rng(seed)
    ids = rng.permutation(np.repeat(np.arange(num_identities), rng.integers(1, 8, num_identities)))
    vectors = rng.normal(0, 1, (num_identities, dim))[ids] + rng.normal(0, 0.7, (len(ids), dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), ids


def slow_pairs(embeddings, ids):
    """Cosines of genuine and of impostor pairs, pair by pair."""
    cosines = {True: [], False: []}
    for i, j in itertools.combinations(range(len(ids)), 2):
        cosines[bool(ids[i] == ids[j])].append(float(embeddings[i].astype(float) @ embeddings[j].astype(float)))
    return np.array(cosines[True]), np.array(cosines[False])


@pytest.mark.parametrize(("block_rows", "max_cosines"), [(16_384, 1 << 24), (5, 1 << 24), (5, 6)])
def test_all_pairs(monkeypatch, block_rows, max_cosines):
    monkeypatch.setattr(audit_identities, "_BLOCK_ROWS", block_rows)
    monkeypatch.setattr(audit_identities, "_MAX_COSINES", max_cosines)
    embeddings, ids = made_up()
    figures = measure_identities(embeddings, ids)
    genuine, impostor = slow_pairs(embeddings, ids)
    for moments, expected in ((figures.genuine, genuine), (figures.impostor, impostor)):
        assert moments.num_pairs == len(expected)
        assert moments.mean == pytest.approx(expected.mean(), abs=1e-6)
        assert moments.std == pytest.approx(expected.std(), abs=1e-6)
    ratio = (genuine.mean() - impostor.mean()) ** 2 / (genuine.var() + impostor.var())
    assert figures.fisher_ratio == pytest.approx(ratio, rel=1e-5)
    assert figures.genuine_counts.sum() == len(genuine)
    np.testing.assert_allclose(figures.genuine_counts, np.histogram(genuine, BINS)[0], atol=1)


def test_each_image_and_its_identity():
    embeddings, ids = made_up()
    figures = measure_identities(embeddings, ids)
    for image, identity in enumerate(ids):
        members = embeddings[ids == identity].astype(float)
        center = members.mean(axis=0)
        np.testing.assert_allclose(figures.centers[identity], center / np.linalg.norm(center), atol=1e-6)
        expected = embeddings[image] @ center / np.linalg.norm(center)
        assert figures.to_center[image] == pytest.approx(expected, abs=1e-5)
        others = embeddings[(ids == identity) & (np.arange(len(ids)) != image)].astype(float).sum(axis=0)
        if len(members) == 1:
            assert np.isnan(figures.to_others[image])
            assert np.isnan(figures.pair_mean[identity])
            continue
        assert figures.to_others[image] == pytest.approx(embeddings[image] @ others / np.linalg.norm(others), abs=1e-5)
        pairs = [a @ b for a, b in itertools.combinations(members, 2)]
        assert figures.pair_mean[identity] == pytest.approx(np.mean(pairs), abs=1e-5)


def test_half_precision_on_disk_gives_nearly_the_same(tmp_path):
    embeddings, ids = made_up()
    np.save(tmp_path / "half.npy", embeddings.astype(np.float16))
    half = measure_identities(np.load(tmp_path / "half.npy", mmap_mode="r"), ids)
    assert half.fisher_ratio == pytest.approx(measure_identities(embeddings, ids).fisher_ratio, rel=1e-2)


def test_impostor_histogram():
    embeddings, ids = made_up()
    counts, is_all = impostor_histogram(embeddings, ids)
    assert is_all
    impostor = slow_pairs(embeddings, ids)[1]
    assert counts.sum() == len(impostor)
    assert np.abs(counts - np.histogram(impostor, BINS)[0]).sum() <= 2
    sample, is_all = impostor_histogram(embeddings, ids, num_images=20)
    assert not is_all
    assert 0 < sample.sum() <= 190


def test_identities_of_one_image_each_have_no_genuine_pairs():
    figures = measure_identities(np.eye(4, dtype=np.float32), np.arange(4))
    assert figures.genuine.num_pairs == 0
    assert np.isnan(figures.fisher_ratio)
    assert figures.impostor.num_pairs == 6
    assert figures.impostor.mean == 0
    np.testing.assert_allclose(figures.to_center, 1)


def slow_unique(centers, threshold, rule):
    unique = []
    for row in range(len(centers)):
        earlier = [other for other in range(row) if rule == "earlier" or unique[other]]
        unique.append(all(centers[row] @ centers[other] <= threshold for other in earlier))
    return np.array(unique)


@pytest.mark.parametrize("rule", ["kept", "earlier"])
@pytest.mark.parametrize("threshold", [0.3, 0.4])
def test_unique_identities_equal_the_obvious_loop(rule, threshold):
    centers = np.random.default_rng(0).normal(size=(120, 20)).astype(np.float32)
    centers /= np.linalg.norm(centers, axis=1, keepdims=True)
    separation = measure_separation(centers)
    expected = slow_unique(centers, threshold, rule)
    assert 0.05 < expected.mean() < 0.9
    np.testing.assert_array_equal(separation.is_unique[threshold, rule], expected)
    cosines = centers @ centers.T - 2 * np.eye(120)
    np.testing.assert_array_equal(separation.nearest, cosines.argmax(axis=1))


def test_points_of_the_curve():
    assert curve_points(5749).tolist() == [10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 5749]
    assert curve_points(4).tolist() == [4]
