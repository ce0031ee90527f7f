"""Preparing a training set: features of faces, mirrored faces, resuming, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from face_files import make_faces
from generator_training import FEATURE_DIM, make_prepared, save_network

from bench.errors import InputError
from bench.faces.face import encode_jpeg
from bench.faces.lmdb_file import FaceWriter
from bench.faces.open import open_faces
from bench.files import read_json
from generate.networks import over_faces
from generate.networks.identity import load_identity_network
from generate.training.data import open_training_set
from generate.training.prepared import parts
from generate.training.prepared import prepare as module
from generate.training.prepared.prepare import Preparation, deviation_directions, prepare


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return make_faces(tmp_path_factory.mktemp("faces"), num_identities=3, images_per_identity=4)


@pytest.fixture(scope="module")
def finished(faces, tmp_path_factory):
    return make_prepared(tmp_path_factory.mktemp("finished"), faces)


def compute_features(faces, weights):
    network = load_identity_network(weights)
    images = [
        torch.from_numpy(faces.image(i).copy()).permute(2, 0, 1)[None].float() / 127.5 - 1 for i in range(len(faces))
    ]
    with torch.no_grad():
        return torch.cat([network(image) for image in images]).numpy()


def test_the_set_holds_the_files_the_features_and_the_identities(finished, faces):
    folder, weights = finished
    training = open_training_set(folder / "faces.lmdb")
    assert [training.encoded(i) for i in range(len(faces))] == [faces.encoded(i) for i in range(len(faces))]
    assert training.identity_ids.tolist() == faces.identity_ids.tolist()
    stored = np.stack([training.features(i) for i in range(len(training))])
    assert np.allclose(stored, compute_features(faces, weights), atol=1e-4)
    centers = np.load(folder / "centers.npy")
    assert np.allclose(centers, [stored[faces.identity_ids == i].mean(axis=0) for i in range(3)], atol=1e-5)
    card = read_json(folder / "prepared.json")
    assert (card["num_images"], card["num_identities"], card["feature_dim"]) == (12, 3, FEATURE_DIM)
    assert not (folder / "parts").exists()


def test_mirrored_faces_have_their_own_features(faces, tmp_path):
    folder, weights = make_prepared(tmp_path, faces, mirror=True)
    training = open_training_set(folder / "faces.lmdb")
    assert len(training) == 24 and training.identity_ids[12:].tolist() == faces.identity_ids.tolist()
    difference = training.image(13).astype(int) - faces.image(1)[:, ::-1]
    assert np.abs(difference).mean() < 3  # JPEG once more
    assert np.allclose(training.features(13), compute_features(training, weights)[13], atol=1e-4)


def test_faces_off_the_middle_are_not_mirrored(tmp_path):
    rows, columns = np.mgrid[:112, :112]
    face = (np.cos(np.abs(columns - 47.5) / 9 + rows / 17) * 60 + 128).astype(np.uint8)
    with FaceWriter(tmp_path / "left.lmdb") as writer:
        for number in range(50):
            writer.write(encode_jpeg(np.repeat(face[..., None], 3, axis=2)), number % 5)
    with pytest.raises(InputError, match=r"lie 8 pixels left of the middle.* --shift-right 8"):
        prepare(open_faces(tmp_path / "left.lmdb"), Preparation(tmp_path / "net", mirror=True), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_directions_turn_noise_into_how_faces_of_one_identity_differ():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(6, 6))
    identity_ids = np.repeat(np.arange(50), 40)
    features = 5 * rng.normal(size=(50, 6))[identity_ids] + rng.normal(size=(2000, 6)) @ mixing
    centers = np.stack([features[identity_ids == i].mean(axis=0) for i in range(50)])
    directions = deviation_directions(features, identity_ids, centers)
    covariance = np.cov((features - centers[identity_ids]).T)
    expected = covariance / np.trace(covariance) * 6
    np.testing.assert_allclose(directions.T @ directions, expected, atol=1e-3)
    assert np.array_equal(deviation_directions(centers, np.arange(50), centers), np.eye(6))  # one face each


def test_features_can_be_given_and_scaled(faces, tmp_path):
    features = np.random.default_rng(0).normal(size=(12, 8)).astype(np.float32)
    np.save(tmp_path / "features.npy", features)
    prepare(faces, Preparation(features=tmp_path / "features.npy", mean_norm=22.0), tmp_path / "out")
    training = open_training_set(tmp_path / "out" / "faces.lmdb")
    stored = np.stack([training.features(i) for i in range(12)])
    assert np.linalg.norm(stored, axis=1).mean() == pytest.approx(22, rel=1e-5)
    assert np.allclose(stored / features, stored[0, 0] / features[0, 0], rtol=1e-4)


def test_two_sources_of_features_are_refused(faces, tmp_path):
    with pytest.raises(InputError, match=r"--features f.npy and --identity-model n.onnx are both given; leave out"):
        prepare(faces, Preparation(Path("n.onnx"), features=Path("f.npy")), tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_faces_are_not_replaced_by_their_training_set(tmp_path):
    faces = make_faces(tmp_path, num_identities=2, images_per_identity=2)
    faces.path = faces.path.rename(tmp_path / "faces.lmdb")
    with pytest.raises(InputError, match="is what the result is made from, and would be lost; give another --out"):
        prepare(faces, Preparation(Path("n.onnx")), tmp_path)
    assert not (tmp_path / "parts").exists()


def test_records_that_hold_features_keep_them(finished, tmp_path):
    training = open_training_set(finished[0] / "faces.lmdb")
    prepare(training, Preparation(), tmp_path / "again")
    again = open_training_set(tmp_path / "again" / "faces.lmdb")
    assert all(np.array_equal(again.features(i), training.features(i)) for i in range(12))


def test_a_mask_selects_positions_as_for_webface4m(finished, tmp_path):
    np.save(tmp_path / "mask.npy", np.array([11, 0, 5]))
    training = open_training_set(finished[0] / "faces.lmdb", tmp_path / "mask.npy")
    whole = open_training_set(finished[0] / "faces.lmdb")
    assert np.array_equal(training.features(0), whole.features(11)) and training.num_identities == 3


def test_a_killed_command_goes_on_with_its_parts(finished, faces, tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "PART_FACES", 5)
    monkeypatch.setattr(parts, "BATCH", 5)
    real, calls = over_faces.aligned_image, []

    def dies_at_the_ninth(source, index):
        calls.append(index)
        if len(calls) == 9:
            raise KeyboardInterrupt
        return real(source, index)

    monkeypatch.setattr(over_faces, "aligned_image", dies_at_the_ninth)
    settings = Preparation(identity_weights=finished[1])
    with pytest.raises(KeyboardInterrupt):
        prepare(faces, settings, tmp_path)
    assert not (tmp_path / "faces.lmdb").exists()
    with pytest.raises(InputError, match=r"holds parts made with mirror=False, this call has True"):
        prepare(faces, Preparation(identity_weights=finished[1], mirror=True), tmp_path)
    prepare(faces, settings, tmp_path)
    assert calls[9:] == list(range(5, 12))  # the first part was there
    first, second = (open_training_set(folder / "faces.lmdb") for folder in (finished[0], tmp_path))
    assert all(np.allclose(first.features(i), second.features(i), atol=1e-5) for i in range(12))
    with pytest.raises(InputError, match="holds a finished training set"):
        prepare(faces, settings, tmp_path)


def test_another_set_of_the_same_name_and_count_is_refused(finished, faces, tmp_path, monkeypatch):
    settings, source = Preparation(identity_weights=finished[1]), tmp_path / "made_up.lmdb"
    source.write_bytes(faces.path.read_bytes())
    monkeypatch.setattr(module, "_features", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        prepare(open_faces(source), settings, tmp_path / "out")
    with FaceWriter(source) as writer:
        for index in range(12):
            writer.write(faces.encoded(11 - index), int(faces.identity_ids[index]))
    with pytest.raises(InputError, match="holds parts made with source_sha256="):
        prepare(open_faces(source), settings, tmp_path / "out")


def test_features_and_images_of_different_counts(faces, tmp_path):
    np.save(tmp_path / "features.npy", np.ones((11, 8), np.float32))
    with pytest.raises(
        InputError, match=r"features\.npy has shape \(11, 8\), but there are 12 faces; give one row per"
    ):
        prepare(faces, Preparation(features=tmp_path / "features.npy"), tmp_path / "out")
    assert not (tmp_path / "out" / "faces.lmdb").exists()


def test_a_set_with_one_identity(tmp_path):
    with FaceWriter(tmp_path / "one.lmdb") as writer:
        for _ in range(3):
            writer.write(encode_jpeg(np.zeros((112, 112, 3), np.uint8)), 7, np.ones(4, np.float32))
    with pytest.raises(InputError, match="holds 1 identity; recognition needs at least 2"):
        open_training_set(tmp_path / "one.lmdb")


def test_other_bad_input_is_named(faces, finished, tmp_path):
    with pytest.raises(InputError, match="holds no features"):
        prepare(faces, Preparation(), tmp_path / "a")
    with pytest.raises(InputError, match="holds no features"):
        open_training_set(faces.path)
    with pytest.raises(InputError, match=r"none\.pth does not exist"):
        prepare(faces, Preparation(identity_weights=tmp_path / "none.pth"), tmp_path / "b")
    features = np.ones((12, 8), np.float32)
    features[4] = np.nan
    np.save(tmp_path / "bad.npy", features)
    with pytest.raises(InputError, match=r"feature of face 4 .* is zero or not finite"):
        prepare(faces, Preparation(features=tmp_path / "bad.npy"), tmp_path / "c")
    with FaceWriter(tmp_path / "small.lmdb") as writer:
        for identity in range(2):
            writer.write(encode_jpeg(np.zeros((96, 112, 3), np.uint8)), identity)
    weights = save_network(tmp_path / "network.safetensors")
    with pytest.raises(InputError, match=r"small\.lmdb key 0 is 112 x 96 pixels, not square; align faces to 112 x 112"):
        prepare(open_faces(tmp_path / "small.lmdb"), Preparation(identity_weights=weights), tmp_path / "d")
