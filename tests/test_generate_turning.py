"""Noise that turns heads: the direction of a regression, covariance widened along it alone."""

import numpy as np
import pytest
import torch
from generator_training import save_network

from bench.errors import InputError
from bench.faces import encode_jpeg
from bench.records import FaceWriter
from generate.prepare import DEVIATIONS_NAME, LMDB_NAME
from generate.train_data import open_training_set
from generate.turning import measure_yaw, turning_direction, widen, widen_file
from generate.yaw_network import YawNetwork, save_yaw_network

pytestmark = pytest.mark.usefixtures("one_thread")
DIM = 4


def test_the_direction_is_the_slope_of_every_feature():
    rng = np.random.default_rng(0)
    yaw, slopes = rng.normal(5, 20, 4000), np.array([0.5, 0, -0.1, 0.02])
    features = 3 + yaw[:, None] * slopes + rng.normal(0, 0.1, (4000, DIM))
    slow = [np.polyfit(yaw, features[:, i], 1)[0] for i in range(DIM)]
    found = turning_direction(features, yaw)
    np.testing.assert_allclose(found, slow, atol=1e-10)
    np.testing.assert_allclose(found, slopes, atol=1e-3)


def test_faces_of_one_yaw_are_refused():
    with pytest.raises(InputError, match=r"all 3 faces have a yaw of 7\.0 degrees"):
        turning_direction(np.eye(3), np.full(3, 7.0))


def test_noise_is_wider_along_the_direction_and_nowhere_else():
    rng = np.random.default_rng(0)
    half = rng.normal(size=(DIM, DIM))
    directions, turning = half @ half.T, np.array([0.1, 0, 0.2, 0])
    wide = widen(directions, turning, 30)
    added = wide.T.astype(float) @ wide - directions.T @ directions
    np.testing.assert_allclose(added, 900 * np.outer(turning, turning), atol=1e-3)
    np.testing.assert_allclose(widen(np.eye(DIM), turning, 0), np.eye(DIM), atol=1e-6)


@pytest.fixture
def prepared(tmp_path):
    """Eight faces, brighter one after another, whose first feature is their brightness."""
    folder = tmp_path / "prepared"
    folder.mkdir()
    with FaceWriter(folder / LMDB_NAME) as writer:
        for index in range(8):
            image = np.full((112, 112, 3), 20 + 30 * index, np.uint8)
            writer.write(encode_jpeg(image), index // 2, np.array([index, 1, 0, 0], np.float32))
    np.save(folder / DEVIATIONS_NAME, np.eye(DIM, dtype=np.float32))
    return folder


@pytest.fixture
def yaw_model(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "yaw.safetensors"
    save_yaw_network(YawNetwork(4).eval(), path)
    return path


def run(prepared, yaw_model, out):
    faces = open_training_set(prepared / LMDB_NAME)
    return widen_file(prepared / DEVIATIONS_NAME, faces, yaw_model, out, degrees=20)


def test_the_directions_of_a_training_set_are_widened(prepared, yaw_model, tmp_path):
    spread = run(prepared, yaw_model, tmp_path / "wide.npy")
    features, yaw = measure_yaw(open_training_set(prepared / LMDB_NAME), yaw_model)
    np.testing.assert_array_equal(features[:, 0], np.arange(8))
    assert spread == pytest.approx(yaw.std()) and spread > 0
    expected = widen(np.eye(DIM), turning_direction(features, yaw), 20)
    np.testing.assert_array_equal(np.load(tmp_path / "wide.npy"), expected)
    assert expected[0, 0] > 1 and np.abs(expected[1:, 1:] - np.eye(3)).max() < 1e-6


def test_other_networks_and_directions_of_other_features_are_refused(prepared, yaw_model, tmp_path):
    with pytest.raises(InputError, match=r"identity\.safetensors"):
        run(prepared, save_network(tmp_path / "identity.safetensors"), tmp_path / "wide.npy")
    np.save(prepared / DEVIATIONS_NAME, np.eye(3, dtype=np.float32))
    with pytest.raises(InputError, match=r"has shape \(3, 3\), features in .* have 4 numbers"):
        run(prepared, yaw_model, tmp_path / "wide.npy")
    assert not (tmp_path / "wide.npy").exists()
