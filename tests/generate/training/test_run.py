"""A whole training called from Python: its card, when it is skipped or resumed, and what is refused."""

from dataclasses import replace

import pytest
import torch
from face_files import make_faces
from generator_training import make_prepared, save_network, tiny_recipe

from bench.errors import InputError
from bench.files import sha256
from bench.runs.cards import GeneratorCard, read_card
from bench.runs.stage import stage_lock
from generate.training import run as module
from generate.training.run import TrainingFiles, run_training

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    directory = tmp_path_factory.mktemp("set")
    folder, weights = make_prepared(directory, make_faces(directory, num_identities=4, images_per_identity=2))
    judge = save_network(directory / "judge.safetensors", feature_dim=8, seed=1)
    return TrainingFiles(folder / "faces.lmdb", weights, judge=judge, weights=directory)


@pytest.fixture
def train(files, tmp_path, monkeypatch):
    """Train without MLflow; returns the finished training."""
    monkeypatch.setattr(module, "sync_generator", lambda directory, runs: "MLflow is not there")

    def call(files=files, epochs=1, **options):
        recipe = tiny_recipe(epochs=epochs)
        return run_training(files, recipe, device="cpu", runs=tmp_path / "runs", **options)

    return call


def test_the_card_names_the_files_and_the_same_training_is_skipped(train, files, tmp_path):
    finished = train()
    assert finished.card.parent.parent == tmp_path / "runs" / "generators"
    assert (finished.is_skipped, finished.warning) == (False, "MLflow is not there")
    card = read_card(finished.card.parent, GeneratorCard)
    assert card.dataset.model_dump() == {
        "name": "faces.lmdb",
        "sha256": sha256(files.faces),
        "num_images": 8,
        "num_identities": 2,
    }
    assert card.networks["identity"].sha256 == sha256(files.identity_network)
    assert card.networks["judge"].name == "judge.safetensors"
    assert card.weights_sha256 == sha256(finished.card.parent / "generator.safetensors")
    again = train()
    assert (again.card, again.is_skipped) == (finished.card, True)


@pytest.mark.slow
def test_other_inputs_have_another_folder(train, files):
    folders = {train().card.parent, train(seed=1).card.parent, train(replace(files, judge=None)).card.parent}
    assert len(folders) == 3


@pytest.mark.slow
def test_a_folder_of_ones_own_is_resumed_and_other_settings_are_refused(train, tmp_path):
    first = train(directory=tmp_path / "mine")
    fingerprint = read_card(first.card, GeneratorCard).fingerprint
    assert fingerprint == train().card.parent.name
    (tmp_path / "mine" / "generator.json").unlink()
    earlier_seconds = torch.load(tmp_path / "mine" / "checkpoint.pt", weights_only=True)["seconds"]
    resumed, second = train(directory=tmp_path / "mine"), train(directory=tmp_path / "mine")
    assert read_card(resumed.card, GeneratorCard).cost.phases["training"] > earlier_seconds > 0
    assert first.card == resumed.card == second.card == tmp_path / "mine" / "generator.json"
    assert (resumed.is_skipped, second.is_skipped) == (False, True)
    with pytest.raises(InputError, match=r"trained with recipe\.epochs=1, this run has 2"):
        train(epochs=2, directory=tmp_path / "mine")


def test_what_is_refused(train, files, tmp_path):
    with pytest.raises(InputError, match=r"identity network .*gone\.onnx does not exist; give a \.pth"):
        train(replace(files, identity_network=tmp_path / "gone.onnx"))
    with pytest.raises(InputError, match=r"judge network .*gone\.onnx does not exist"):
        train(replace(files, judge=tmp_path / "gone.onnx"))
    with stage_lock(tmp_path / "mine"), pytest.raises(InputError, match="is in use by another run"):
        train(directory=tmp_path / "mine")
