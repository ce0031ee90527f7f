"""The linear map that a generator may start from: a least-squares fit, added to the image, stored with the weights."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from face_files import make_faces
from generator_training import FEATURE_DIM, make_prepared, tiny_recipe

from generate.networks.identity import load_identity_network
from generate.training import coarse as module
from generate.training.coarse import fit_coarse
from generate.training.data import load_faces, open_training_set, split_held_out
from generate.training.state import build_generator
from generate.training.train import GENERATOR_NAME, FrozenNetworks, train_generator
from generate.vec2face import load_generator, save_generator

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    directory = tmp_path_factory.mktemp("set")
    folder, weights = make_prepared(directory, make_faces(directory, num_identities=8, images_per_identity=5))
    return open_training_set(folder / "faces.lmdb"), weights


def recipe(**changes):
    plain = tiny_recipe()
    return tiny_recipe(sizes=plain.sizes.model_dump() | {"coarse": True}, **changes)


def pixels_and_features(faces, positions):
    images, features = load_faces(faces, positions)
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1, features


def test_it_is_least_squares(prepared, monkeypatch):
    faces, _ = prepared
    positions = np.arange(1, 40)
    fitted = fit_coarse(faces, positions)
    pixels, features = pixels_and_features(faces, positions)
    inputs = np.concatenate([features.numpy().astype(float), np.ones((39, 1))], axis=1)
    expected = np.linalg.lstsq(inputs, F.avg_pool2d(pixels, 4).flatten(1).double().numpy(), rcond=None)[0]
    predicted = features @ fitted["weight"].T + fitted["bias"]
    np.testing.assert_allclose(predicted, inputs @ expected, atol=1e-2)
    monkeypatch.setattr(module, "_BATCH", 7)
    assert torch.allclose(fit_coarse(faces, positions)["weight"], fitted["weight"], atol=1e-4)


def test_training_begins_with_its_image_and_files_keep_it(prepared, tmp_path):
    faces, _ = prepared
    model = build_generator(recipe()).eval()
    start = fit_coarse(faces, np.arange(40))
    model.coarse.load_state_dict(start)
    pixels, features = pixels_and_features(faces, np.arange(8))
    coarse = (features @ start["weight"].T + start["bias"]).view(8, 3, 28, 28)
    noise = torch.rand(8, 49)
    with torch.no_grad():
        images = model(features, noise, 0.3)
    torch.testing.assert_close(images, F.interpolate(coarse, scale_factor=4, mode="bilinear"), rtol=1e-4, atol=1e-4)
    assert F.mse_loss(images, pixels) < F.mse_loss(pixels.mean(0).expand_as(pixels), pixels)

    torch.nn.init.normal_(model.im_decoder.conv_out.weight, std=0.1)
    save_generator(model, tmp_path / "coarse.safetensors")
    loaded = load_generator(tmp_path / "coarse.safetensors")
    with torch.no_grad():
        changed = model(features, noise, 0.3)
        torch.testing.assert_close(loaded(features, noise, 0.3), changed, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(changed, images, atol=1e-3)


@pytest.mark.slow
def test_a_training_fits_it_once_and_goes_on_with_it(prepared, tmp_path, monkeypatch):
    faces, weights = prepared
    networks = FrozenNetworks(load_identity_network(weights), weights=tmp_path)
    num_faces = []

    def fit(faces, positions):
        num_faces.append(len(positions))
        return fit_coarse(faces, positions)

    monkeypatch.setattr("generate.training.train.fit_coarse", fit)
    changes = {"epochs": 1, "optimizer": {"lr": 1e-8}, "ema_decay": None}
    train_generator(faces, networks, recipe(**changes), tmp_path / "run", seed=0)
    train_generator(
        faces, networks, recipe(**changes), tmp_path / "run", seed=0
    )  # it was finished: nothing is left to do
    assert num_faces == [6 * 5]  # the faces of two identities are held out
    generator = load_generator(tmp_path / "run" / GENERATOR_NAME)
    expected = fit_coarse(faces, np.flatnonzero(np.isin(faces.identity_ids, _trained(faces))))
    torch.testing.assert_close(generator.coarse.weight, expected["weight"], rtol=1e-3, atol=1e-5)
    assert generator.coarse.weight.shape == (3 * 28 * 28, FEATURE_DIM)


def _trained(faces):
    return np.unique(faces.identity_ids[split_held_out(faces, 2, 0)[0]])
