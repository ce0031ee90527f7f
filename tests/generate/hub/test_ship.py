"""Shipping a generator: what is rounded, what the card states, and what is refused."""

import pytest
import torch
from results import ENVIRONMENT
from safetensors.torch import load_file, save_file

from bench.errors import InputError
from bench.files import read_json, sha256
from bench.machine.facts import Cost, Git
from bench.runs.cards import GeneratorCard, write_card
from generate.hub import provenance, ship
from generate.hub.ship import WEIGHTS_NAME, card_path, ship_generator, store_rounded
from generate.training.pose.train import POSE_NAME
from generate.training.prepared.prepare import CENTERS_NAME, DEVIATIONS_NAME, PREPARED_NAME
from generate.training.prepared.variation import DIFFERENCES_NAME, SEEN_OFTEN_NAME
from generate.training.train import GENERATOR_NAME


def test_rounding_keeps_vectors_counts_and_metadata(tmp_path):
    weights = {"filter": torch.randn(4, 3), "norm": torch.randn(4), "count": torch.tensor(7)}
    save_file(weights, tmp_path / "in.safetensors", {"note": "kept"})
    store_rounded(tmp_path / "in.safetensors", tmp_path / "out.safetensors")
    rounded = load_file(tmp_path / "out.safetensors")
    assert rounded["filter"].dtype == torch.float16
    assert torch.allclose(rounded["filter"].float(), weights["filter"], rtol=1e-3)
    assert torch.equal(rounded["norm"], weights["norm"]) and torch.equal(rounded["count"], weights["count"])
    assert b"kept" in (tmp_path / "out.safetensors").read_bytes()[:300]


def test_an_unfinished_training_is_not_shipped(tmp_path):
    with pytest.raises(InputError, match=r"holds no .*; give a finished folder of generate train"):
        ship_generator(tmp_path, tmp_path / "out", trained_on="people", licence="none")


def test_a_training_is_not_shipped_over_itself(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(InputError, match="is what the result is made from, and would be lost; give another --out"):
        ship_generator(tmp_path, tmp_path / "link", trained_on="people", licence="none")


@pytest.mark.parametrize(("name", "role"), [(WEIGHTS_NAME, "generator"), (POSE_NAME, "pose model")])
def test_the_card_states_origin_settings_and_figures(tmp_path, name, role):
    (tmp_path / "training").mkdir()
    source = tmp_path / "training" / name
    networks = {"identity": {"name": "identity.onnx", "sha256": "b"}}
    if role == "pose model":
        networks["generator"] = {"name": "generator.safetensors", "sha256": "c"}
    save_file({"filter": torch.randn(4, 3)}, source)
    card = GeneratorCard(
        scale="rendered", seed=7, fingerprint="f", inputs={"recipe": {"name": "rendered"}}, command="generate train",
        cost=Cost(seconds=60), environment=ENVIRONMENT, git=Git(commit=None, dirty=None), recipe="rendered",
        recipe_sha256="a", dataset={}, networks=networks,
        perceptual_network="VGG-16", weights_sha256=sha256(source), num_parameters=12, num_images_seen=640,
        figures={"ssim": 0.5},
    )  # fmt: skip
    write_card(tmp_path / "training", card)
    weights = ship_generator(tmp_path / "training", tmp_path / "out", trained_on="people", licence="none")
    shipped = read_json(card_path(weights))
    assert (shipped["name"], shipped["role"]) == (name, role)
    assert (shipped["trained_on"], shipped["licence"], shipped["seed"]) == ("people", "none", 7)
    assert (shipped["sha256"], shipped["bytes"]) == (sha256(weights), weights.stat().st_size)
    assert shipped["figures"] == {"num_parameters": 12, "num_images_seen": 640, "ssim": 0.5}
    assert shipped["settings"] == {
        "name": "rendered", "perceptual_network": "VGG-16",
        "networks": networks,
    }  # fmt: skip
    assert shipped["cost"]["seconds"] == 60
    source.write_bytes(source.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match=rf"{name} was changed: .*; restore the file, or train"):
        ship_generator(tmp_path / "training", tmp_path / "out", trained_on="people", licence="none")


def test_names_are_those_of_the_training():
    """The hub may not import the training, so it states the names of its files again."""
    assert (WEIGHTS_NAME, provenance._PREPARED_NAME) == (GENERATOR_NAME, PREPARED_NAME)
    assert provenance._PREPARED_ARRAYS == (CENTERS_NAME, DEVIATIONS_NAME, SEEN_OFTEN_NAME, DIFFERENCES_NAME)
    assert ship.POSE_NAME == POSE_NAME
