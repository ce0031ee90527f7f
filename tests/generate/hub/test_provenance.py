"""What a dataset's card says of the files in a folder of generate prepare, and of the shipped generator of mini."""

import pytest
from face_files import make_faces
from generator_training import save_network

from bench.config.benchmarks import load_benchmark
from bench.config.generator import ASSETS_PATH
from bench.files import read_json, sha256, write_json
from generate.__main__ import main
from generate.hub.provenance import weight_provenance

MINI = load_benchmark("mini").generator


@pytest.fixture
def folder(tmp_path):
    """The weights of mini, of which none has a card."""
    for name in MINI.weight_files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"stands in")
    prepared = {"num_images": 9, "num_identities": 4, "source": "lfw_turned.lmdb", "identity_weights": "identity.onnx"}
    write_json(tmp_path / "lfw" / "prepared.json", prepared)
    return tmp_path


def origin(folder, name, digest="0" * 64):
    described = weight_provenance(MINI, {name: digest}, folder)[name]
    return described.trained_on, described.licence, described.source


@pytest.mark.parametrize("name", ["lfw/centers.npy", "lfw/seen_often.npy", "lfw/differences.npy"])
def test_arrays_of_a_training_set_name_it(folder, name):
    faces = "9 faces of 4 identities of lfw_turned.lmdb, by features of identity.onnx"
    assert origin(folder, name) == (faces, "the terms of these faces", "python -m generate prepare")


def test_a_network_beside_a_training_set_was_not_trained_on_it(folder):
    assert origin(folder, "lfw/identity.onnx") == ("not stated: not a released file", "not stated", None)


@pytest.mark.slow
def test_a_network_with_appearance_inherits_the_origin_of_its_source(folder, monkeypatch):
    source, made = save_network(folder / "source.safetensors"), folder / "lfw" / "identity.safetensors"
    card = {"sha256": sha256(source), "trained_on": "photos of people", "licence": "research"}
    write_json(folder / "source.json", card)
    faces = make_faces(folder, num_identities=3, images_per_identity=2).path
    words = ["--faces", faces, "--identity-model", source, "--numbers", "2", "--out", made]
    monkeypatch.setattr("sys.argv", ["generate", "appearance", *map(str, words)])
    main()
    assert origin(folder, "lfw/identity.safetensors", sha256(made)) == (
        "principal components of made_up.lmdb, behind the features of source.safetensors: photos of people",
        "research; the terms of made_up.lmdb",
        "python -m generate appearance",
    )
    settings = read_json(made.with_suffix(".json"))["settings"]
    assert settings["networks"]["identity"] == {"name": source.name, "sha256": sha256(source)}


def test_the_shipped_generator_of_mini_names_the_photographs_behind_its_features():
    card = read_json(ASSETS_PATH / "mini" / "generator.json")
    assert "MobileFaceNet, which was trained on MS1M" in card["trained_on"]
    assert card["sha256"] == sha256(ASSETS_PATH / "mini" / "generator.safetensors")
