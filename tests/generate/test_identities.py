"""Identity vectors: scale, PCA, files, separation, and messages for vectors that do not fit."""

import numpy as np
import pytest

from bench.errors import InputError
from generate.identities import check_vectors, read_vectors, sample_identities, separated


def test_gaussian_has_feature_scale_and_the_first_do_not_depend_on_the_number():
    vectors = sample_identities(300, seed=3)
    assert vectors.shape == (300, 512)
    assert vectors.dtype == np.float32
    assert 22 < np.linalg.norm(vectors, axis=1).mean() < 23.3
    assert np.array_equal(vectors[:7], sample_identities(7, seed=3))
    assert not np.array_equal(vectors[:7], sample_identities(7, seed=4))


def test_pca_has_the_mean_and_covariance_of_the_centers(tmp_path):
    rng = np.random.default_rng(0)
    centers = ((rng.standard_normal((4000, 8)) @ rng.standard_normal((8, 8)) + np.arange(8)) / 5).astype(np.float32)
    np.save(tmp_path / "centers.npy", centers)
    drawn = sample_identities(50_000, seed=0, kind="pca", centers=tmp_path / "centers.npy", feature_dim=8)
    covariance = np.cov(centers, rowvar=False)
    np.testing.assert_allclose(drawn.mean(0), centers.mean(0), atol=0.08)
    np.testing.assert_allclose(np.cov(drawn, rowvar=False), covariance, atol=0.03 * covariance.max())


def test_a_file_is_taken_as_it_is(tmp_path):
    given = sample_identities(6, seed=1)
    np.save(tmp_path / "given.npy", given)
    assert np.array_equal(sample_identities(4, 0, kind="file", centers=tmp_path / "given.npy"), given[:4])
    with pytest.raises(InputError, match="holds 6 vectors, but 7 are needed"):
        sample_identities(7, 0, kind="file", centers=tmp_path / "given.npy")
    with pytest.raises(InputError, match="needs a file"):
        sample_identities(7, 0, kind="pca")


def test_separation_ignores_scale_and_keeps_what_equals_the_threshold():
    assert separated(np.array([[2.0, 0.0], [0.0, 3.0]]), 0.0).tolist() == [True, True]
    features = sample_identities(200, seed=0)
    assert np.array_equal(separated(features, 0.1), separated(features * 7, 0.1))


def test_bad_vectors_are_named(tmp_path):
    good = sample_identities(5, seed=0)
    unit = good / np.linalg.norm(good, axis=1, keepdims=True)
    with pytest.raises(InputError, match=r"norms are 1 to 1, mean 1 \(unit vectors.*norm about 22"):
        check_vectors(unit, "mine.npy")
    with pytest.raises(InputError, match=r"shape \(5, 256\); the generator takes \(N, 512\)"):
        check_vectors(good[:, :256], "mine.npy")
    good[3, 7] = np.nan
    with pytest.raises(InputError, match="1 of 5 vectors hold NaN or inf, first row 3"):
        check_vectors(good, "mine.npy")
    with pytest.raises(InputError, match="1 of 5 vectors are zero or not finite, first row 3"):
        separated(good, 0.3)
    (tmp_path / "text.npy").write_text("no")
    with pytest.raises(InputError, match=r"not a whole \.npy"):
        read_vectors(tmp_path / "text.npy")
    np.savez(tmp_path / "several.npz", vectors=unit)
    with pytest.raises(InputError, match=r"several\.npz is a \.npz, several arrays"):
        read_vectors(tmp_path / "several.npz")
    np.save(tmp_path / "words.npy", np.full((5, 512), "no"))
    with pytest.raises(InputError, match=r"words\.npy holds values of type <U2; give floating-point numbers"):
        read_vectors(tmp_path / "words.npy")
    with pytest.raises(InputError, match="does not exist"):
        read_vectors(tmp_path / "none.npy")
