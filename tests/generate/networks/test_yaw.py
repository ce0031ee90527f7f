"""The yaw network: learns known yaws, is written and read, and works as an estimator."""

import numpy as np
import pytest
import torch

from bench.errors import InputError
from generate.networks.estimators import yaw_estimator
from generate.networks.yaw import INPUT_SIZE, YawNetwork, half_size, save_yaw_network, train_yaw, yaw_error


def made_up_faces(num, seed):
    """A bright bar on noise, whose column is the yaw: -90 degrees at the left edge."""
    rng = np.random.default_rng(seed)
    yaw = rng.uniform(-80, 80, num)
    faces = rng.integers(0, 90, (num, INPUT_SIZE, INPUT_SIZE, 3)).astype(np.uint8)
    for face, degrees in zip(faces, yaw, strict=True):
        column = int((degrees + 90) / 180 * (INPUT_SIZE - 4))
        face[:, column : column + 4] = 230
    return faces, yaw


@pytest.mark.slow
def test_it_learns_the_yaw():
    network = train_yaw(*made_up_faces(512, seed=0), seed=1, epochs=12)
    unseen = made_up_faces(128, seed=1)
    assert yaw_error(network, *unseen) < 12 < yaw_error(YawNetwork().eval(), *unseen)


def test_the_same_seed_gives_the_same_bits():
    faces, yaw = made_up_faces(128, seed=0)
    one, again = (train_yaw(faces, yaw, seed=1, epochs=1).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], again[name]) for name in one)


def test_half_size_is_the_mean_of_four_pixels():
    face = np.random.default_rng(0).integers(0, 256, (112, 112, 3)).astype(np.uint8)
    slow = np.array([[face[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean((0, 1)) for x in range(56)] for y in range(56)])
    assert np.abs(half_size(face) - slow).max() <= 0.5


def test_a_saved_network_is_an_estimator_with_a_gradient(tmp_path):
    torch.manual_seed(0)
    network = YawNetwork(width=4).eval()
    save_yaw_network(network, tmp_path / "yaw.safetensors")
    estimator = yaw_estimator(tmp_path / "yaw.safetensors")
    images = torch.rand(3, 3, 112, 112, requires_grad=True)
    yaw = estimator(images)
    assert yaw.shape == (3,) and torch.equal(yaw, network(images))
    assert torch.autograd.grad(yaw.sum(), images)[0].abs().sum() > 0
    assert not any(weight.requires_grad for weight in estimator.parameters())


def test_a_file_of_another_network_is_named(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=r"other\.safetensors name no yaw network"):
        yaw_estimator(tmp_path / "other.safetensors")
