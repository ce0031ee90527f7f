"""Exchanging the pose in features: terms of the landmarks, the fit, and its use in batches."""

import numpy as np
import pytest
import torch
from generator_training import face_points, make_posed_set

from generate.networks.masks import MaskRatio
from generate.networks.plus.pictures import draw_landmarks
from generate.training.data import FeatureBatches, open_training_set
from generate.training.pose.data import PoseBatches
from generate.training.pose.exchange import PoseExchange, fit_exchange, quadratic_terms

pytestmark = pytest.mark.usefixtures("one_thread")


def terms_slowly(picture):
    """The terms of one picture, pixel by pixel."""
    places = []
    for axis in (1, 0):
        for channel in range(3):
            bright = np.argwhere(picture[..., channel] == 255)
            places.append((bright[:, axis].mean() - 55.5) / 112)
    products = [places[i] * places[j] for i in range(6) for j in range(i, 6)]
    return [1.0, *places, *products]


def test_terms_are_those_of_the_centres_of_the_discs():
    pictures = np.stack([draw_landmarks(points) for points in face_points(5)])
    assert np.allclose(quadratic_terms(pictures), [terms_slowly(picture) for picture in pictures])


class Stored:
    """Faces whose features are a quadratic function of their pictures, and noise that does not depend on them."""

    def __init__(self, num):
        rng = np.random.default_rng(0)
        self.pictures = np.stack([draw_landmarks(points) for points in face_points(num)])
        self.effect = 10 * rng.normal(size=(28, 4))
        self.own = 0.1 * rng.normal(size=(num, 4))

    def landmark_picture(self, row):
        return self.pictures[row]

    def features(self, row):
        return (quadratic_terms(self.pictures[row][None]) @ self.effect + self.own[row]).astype(np.float32)


def test_what_the_picture_predicts_is_exchanged_and_the_rest_is_kept():
    faces = Stored(400)
    exchange = fit_exchange(faces, np.arange(400))
    own, other = faces.pictures[:50], faces.pictures[50:100]
    features = np.concatenate([faces.features(row) for row in range(50)])
    changed = exchange(features, own, other)
    expected = quadratic_terms(other) @ faces.effect + faces.own[:50]
    before = np.abs(features - expected).mean()
    assert np.abs(changed - expected).mean() < 0.2 * before
    assert np.allclose(exchange(features, own, own), features)
    assert np.array_equal(fit_exchange(faces, np.arange(400)).effect, exchange.effect)


def test_batches_hold_the_faces_own_features_and_the_exchanged_ones(tmp_path):
    folder = make_posed_set(tmp_path / "set")
    faces = open_training_set(folder / "prepared" / "faces.lmdb")
    positions = np.arange(len(faces))
    effect = np.random.default_rng(1).normal(size=(28, 16)).astype(np.float32)

    def batches(exchange, rank=0, world_size=1):
        plain = FeatureBatches(faces, positions, MaskRatio(), batch_size=6, seed=3)
        plain.share(rank, world_size)
        return PoseBatches(plain, faces, positions, seed=3, exchange=exchange)

    plain, exchanged = batches(None)[1], batches(PoseExchange(effect))[1]
    assert torch.equal(plain.inputs, plain.batch.features)
    assert torch.equal(exchanged.batch.features, plain.batch.features)
    assert not torch.equal(exchanged.inputs, plain.inputs)
    halves = [batches(PoseExchange(effect), rank, 2)[1] for rank in range(2)]
    for name in ("inputs", "pictures"):
        whole = torch.empty_like(getattr(exchanged, name))
        for rank, half in enumerate(halves):
            whole[rank::2] = getattr(half, name)
        torch.testing.assert_close(whole, getattr(exchanged, name))
