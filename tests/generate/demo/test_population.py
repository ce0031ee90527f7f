"""The page's people and noise are those of the benchmark."""

import numpy as np
import pytest
from small_generation import settings

from bench.errors import InputError
from generate.demo.population import population
from generate.draw.perturbation import perturb
from generate.draw.pose.image_rows import vectors_with_circumstances
from generate.identities import sample_identities
from generate.networks.circumstances import NUM_CIRCUMSTANCES

DIM = 16


def saved(folder, **arrays):
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return folder


@pytest.fixture
def centers():
    return np.random.default_rng(0).standard_normal((60, DIM)).astype(np.float32) * 1.2


def test_people_are_those_of_the_benchmark(tmp_path, centers):
    saved(tmp_path, centers=centers)
    people = population(settings(identities="pca", centers="centers.npy"), tmp_path, DIM)
    expected = sample_identities(5, 3, kind="pca", centers=tmp_path / "centers.npy", feature_dim=DIM)
    np.testing.assert_array_equal(people.identities(5, 3), expected)


def test_without_centres_people_are_gaussian(tmp_path):
    people = population(settings(), tmp_path, DIM)
    np.testing.assert_array_equal(people.identities(5, 3), sample_identities(5, 3, feature_dim=DIM))
    np.testing.assert_array_equal(people.covariance, np.eye(DIM))


@pytest.mark.parametrize("kind", ["directions", "differences"])
def test_noise_is_that_of_the_benchmark(tmp_path, kind):
    noise = np.random.default_rng(1).standard_normal((DIM, DIM)).astype(np.float32)
    saved(tmp_path, noise=noise)
    given = {"sigmas": [0.4, 0.8], "shares": [0.5, 0.5], kind: "noise.npy"}
    people = population(settings(perturbation=given), tmp_path, DIM)
    assert people.sigma == pytest.approx(0.6)
    vector = np.ones(DIM, np.float32)
    expected = perturb(vector, np.full(3, 0.6, np.float32), seed=2, identity_id=4, **{kind: noise})
    np.testing.assert_array_equal(people.images(vector, 3, 2, 4), expected)


def test_images_in_circumstances_are_those_of_the_benchmark(tmp_path):
    dim = DIM + NUM_CIRCUMSTANCES
    rows = np.random.default_rng(1).standard_normal((40, dim)).astype(np.float32)
    saved(tmp_path, rows=rows)
    given = {"sigmas": [0.5, 1], "shares": [0.5, 0.5], "differences": "rows.npy", "circumstances": True}
    people = population(settings(perturbation=given), tmp_path, dim)
    vector = np.ones(dim, np.float32)
    sigma, own_yaw = np.full(3, 0.75, np.float32), np.full(3, np.nan)
    expected = vectors_with_circumstances(vector, sigma, own_yaw, rows, seed=2, identity_id=4)
    np.testing.assert_array_equal(people.images(vector, 3, 2, 4), expected)


def test_only_some_of_many_differences_are_kept(tmp_path):
    saved(tmp_path, noise=np.zeros((2000, DIM), np.float32))
    given = {"sigmas": [1], "shares": [1], "differences": "noise.npy"}
    assert len(population(settings(perturbation=given), tmp_path, DIM).noise) == 512


def test_noise_of_another_width_is_refused(tmp_path):
    saved(tmp_path, noise=np.zeros((3, 4), np.float32))
    given = {"sigmas": [1], "shares": [1], "directions": "noise.npy"}
    with pytest.raises(InputError, match=r"has shape \(3, 4\); give rows of 16 numbers"):
        population(settings(perturbation=given), tmp_path, DIM)
