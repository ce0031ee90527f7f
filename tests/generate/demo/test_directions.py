"""Directions are found where they are known: a linear generator whose attributes are linear in the vector."""

import numpy as np
import pytest
import torch
from torch import nn

from generate.demo.directions import attribute_direction, draw_sample, principal_directions, ridge_weights, yaw_curve
from generate.demo.population import Population

DIM = 8
YAW, SKIN = 2, 5
"""The numbers of the vector that decide an image's yaw and its brightness."""


class Paint(nn.Module):
    """Writes the vector into the first pixels of the image."""

    def forward(self, features, noise, mask_ratio):
        images = torch.zeros(len(features), 3, 112, 112)
        images[:, 0, 0, :DIM] = features / 10
        return images


def yaw(images):
    return 400 * images[:, 0, 0, YAW]  # 40 degrees per unit of the vector, as far as an image can tell


@pytest.fixture(scope="module")
def people():
    noise = np.diag([0.1, 0.1, 1, 0.1, 0.1, 0.1, 0.1, 0.1]).astype(np.float32)
    spread = np.diag([1, 1, 0.5, 1, 1, 2, 1, 1]).astype(np.float32)
    return Population(np.zeros(DIM, np.float32), spread, "directions", noise, 0.7)


@pytest.fixture(scope="module")
def sample(people):
    return draw_sample(Paint(), people, 300)


def test_a_ridge_regression_finds_the_weights():
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((4000, 4)) + 7
    weights = ridge_weights(vectors, vectors @ [1, -2, 0, 0.5] + 3)
    np.testing.assert_allclose(weights, np.array([1, -2, 0, 0.5]) / 1.05, atol=0.02)


def test_the_yaw_direction_is_that_of_the_noise_and_its_curve_is_measured(people, sample):
    curve = yaw_curve(Paint(), yaw, sample, people)
    cosine = curve.vector[YAW] / np.linalg.norm(curve.vector)
    assert cosine > 0.99
    assert curve.degrees[curve.amounts.index(0)] == 0
    assert curve.degrees == sorted(curve.degrees)
    for amount, degrees in zip(curve.amounts, curve.degrees, strict=True):
        assert degrees == pytest.approx(40 * amount * curve.vector[YAW], abs=0.05)


def test_a_generator_that_does_not_turn_heads_has_no_curve(people, sample):
    assert yaw_curve(Paint(), lambda images: torch.zeros(len(images)), sample, people) is None


def test_the_direction_of_an_attribute_is_one_deviation_of_people_long(people, sample):
    direction = attribute_direction(sample, sample.images[:, 0, 0, SKIN].numpy(), people)
    assert direction[SKIN] == pytest.approx(2, rel=0.05)
    assert np.abs(np.delete(direction, SKIN)).max() < 0.15


def test_principal_directions_come_in_the_order_of_their_variance(people):
    first, second = principal_directions(people, 2)
    assert abs(first.vector[SKIN]) == pytest.approx(2)
    assert np.linalg.norm(second.vector) == pytest.approx(1)
    assert [first.name, second.name] == ["Difference 1", "Difference 2"]


def test_equal_seeds_draw_equal_samples(people, sample):
    again = draw_sample(Paint(), people, 300)
    assert np.array_equal(again.vectors, sample.vectors)
    assert torch.equal(again.images, sample.images)
