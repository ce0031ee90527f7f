"""Noise around an identity vector: exact shares, published cosines, independence of slicing."""

from collections import Counter

import numpy as np
import pytest

from bench.errors import InputError
from generate.draw.perturbation import apportion, perturb, strengths

SIGMAS, SHARES = (0.3, 0.5, 0.7), (0.4, 0.4, 0.2)


@pytest.mark.parametrize(
    ("total", "counts"),
    [(50, [20, 20, 10]), (1, [1, 0, 0]), (2, [1, 1, 0]), (3, [1, 1, 1]), (7, [3, 3, 1]), (0, [0, 0, 0])],
)
def test_shares_are_exact(total, counts):
    assert apportion(total, SHARES) == counts


def test_apportioning_always_adds_up():
    rng = np.random.default_rng(0)
    for _ in range(200):
        shares = rng.dirichlet(np.ones(4))
        total = int(rng.integers(0, 60))
        counts = apportion(total, shares)
        assert sum(counts) == total
        assert all(abs(count - total * share) < 1 for count, share in zip(counts, shares, strict=True))


def test_shares_must_add_up():
    with pytest.raises(InputError, match=r"add up to 0.9; give shares of 0 or more that add up to 1"):
        apportion(10, (0.5, 0.4))


def test_every_identity_has_every_strength_in_its_own_order():
    first, second = (strengths(0, identity, 50, SIGMAS, SHARES) for identity in (0, 1))
    expected = {np.float32(0.3): 20, np.float32(0.5): 20, np.float32(0.7): 10}
    assert Counter(first.tolist()) == Counter(second.tolist()) == {float(key): n for key, n in expected.items()}
    assert not np.array_equal(first, second)


def test_norm_is_kept_and_cosines_are_the_published_ones():
    vector = np.random.default_rng(0).standard_normal(512).astype(np.float32) * 0.967
    for sigma, cosine in ((0.3, 0.955), (0.5, 0.888), (0.7, 0.810)):
        images = perturb(vector, np.full(400, sigma, np.float32), seed=0, identity_id=5)
        norms = np.linalg.norm(images, axis=1)
        np.testing.assert_allclose(norms, np.linalg.norm(vector), rtol=1e-5)
        assert (images @ vector / norms / np.linalg.norm(vector)).mean() == pytest.approx(cosine, abs=0.006)


def test_no_noise_gives_the_vector_back():
    vector = np.arange(1, 9, dtype=np.float32)
    np.testing.assert_allclose(perturb(vector, np.zeros(2, np.float32), seed=0, identity_id=0), [vector] * 2, rtol=1e-6)


def test_noise_does_not_depend_on_slicing():
    vector, sigma = np.ones(16, np.float32), np.full(6, 0.5, np.float32)
    whole = perturb(vector, sigma, seed=1, identity_id=2)
    parts = [perturb(vector, sigma[i : i + 1], seed=1, identity_id=2, first_image=i) for i in range(6)]
    assert np.array_equal(whole, np.concatenate(parts))
    assert not np.array_equal(whole, perturb(vector, sigma, seed=1, identity_id=3))
    assert not np.array_equal(whole, perturb(vector, sigma, seed=2, identity_id=2))


def test_noise_lies_in_the_given_directions():
    vector = np.random.default_rng(0).standard_normal(16).astype(np.float32)
    directions = np.diag(np.repeat([2.0, 0.0], 8)) / np.sqrt(2)
    images = perturb(vector, np.full(2000, 0.2, np.float32), seed=0, identity_id=5, directions=directions)
    lengths = np.linalg.norm(images[:, 8:], axis=1, keepdims=True) / np.linalg.norm(vector[8:])
    moved = images / lengths - vector  # before the norm was restored; the second half only changes its length
    np.testing.assert_allclose(moved[:, 8:], 0, atol=1e-5)
    assert moved[:, :8].std() == pytest.approx(0.2 * np.sqrt(2), rel=0.03)
    plain = perturb(vector, np.full(3, 0.2, np.float32), seed=0, identity_id=5)
    same = perturb(vector, np.full(3, 0.2, np.float32), seed=0, identity_id=5, directions=np.eye(16))
    np.testing.assert_allclose(plain, same, rtol=1e-6)
