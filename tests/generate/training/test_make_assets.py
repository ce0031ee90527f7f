"""The shipped networks: made from nothing by one command, skipped once they are finished, small, with cards."""

import numpy as np
import pytest
import yaml
from generator_training import make_posed_set, tiny_pose_recipe, tiny_recipe

from bench.config.benchmarks import BENCHMARKS_PATH
from bench.config.generator import Vec2FaceGenerator
from bench.errors import InputError
from bench.faces.open import open_faces
from bench.files import read_json, sha256
from generate.draw.dataset import make_dataset
from generate.hub.ship import card_path, ship_generator
from generate.networks.circumstances import NUM_CIRCUMSTANCES
from generate.render.dataset import render_dataset
from generate.render.face import IDENTITIES_PER_SEED, PROTOCOL_IDENTITIES
from generate.training import make_assets as assets
from generate.training.make_assets import NAMES, SEED, SHARP_SEED, Workshop, make_assets, make_sharp_assets
from generate.training.prepared.prepare import Preparation, prepare
from generate.vec2face import load_generator


def test_the_people_are_those_of_the_last_seed_before_the_protocols():
    assert (SEED + 1) * IDENTITIES_PER_SEED <= PROTOCOL_IDENTITIES < (SEED + 2) * IDENTITIES_PER_SEED


def test_files_too_large_to_ship_are_refused(tmp_path, monkeypatch):
    workshop = Workshop(tmp_path)
    workshop.finished_dir.mkdir(parents=True)
    for name in NAMES:
        (workshop.finished_dir / name).write_bytes(b"12345")
    for step in ("_make_identity", "_make_yaw", "_make_features", "_make_generator", "_make_pose"):
        monkeypatch.setattr(assets, step, lambda _: None)
    monkeypatch.setattr(assets, "MAX_BYTES", 24)
    with pytest.raises(InputError, match="holds 30 bytes, but at most 24 are shipped; make the networks smaller"):
        make_assets(workshop, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_command_that_fails_is_named(tmp_path):
    with pytest.raises(InputError, match=r"\.venv/bin/python -m generate ended with status 2; read its message above"):
        assets._call("generate", ["prepare", "--faces", str(tmp_path / "none"), "--out", str(tmp_path)])


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """The same stages at the smallest size."""
    directory = tmp_path_factory.mktemp("assets")
    config = yaml.safe_load(assets.CONFIG.read_text())
    config["recipes"]["identity"]["backbone"] |= {"width": 4, "embedding_dim": 16}
    config["recipes"]["identity"] |= {"batch_size": 8}
    config["benchmarks"][assets.BENCHMARK]["generator"] |= {"num_identities": 20, "images_per_identity": 4}
    config["benchmarks"][assets.SHARP_BENCHMARK]["generator"] |= {"num_identities": 8, "images_per_identity": 3}
    (directory / "config.yaml").write_text(yaml.safe_dump(config))
    recipe = tiny_recipe(epochs=1).model_dump(mode="json", exclude={"name"})
    recipe["sizes"] |= {"multipliers": [1, 1, 1, 1], "feature_dim": 16 + 40}
    sharp = tiny_recipe(epochs=1, discriminator="projection", perceptual="identity").model_dump(mode="json")
    sharp["sizes"] |= {"feature_dim": 128 + NUM_CIRCUMSTANCES, "circumstances": NUM_CIRCUMSTANCES, "style_width": 8}
    del sharp["name"]
    (directory / "recipes.yaml").write_text(yaml.safe_dump({assets.RECIPE: recipe, assets.SHARP_RECIPE: sharp}))
    pose = tiny_pose_recipe(epochs=1, exchange_pose=True).model_dump(mode="json", exclude={"name"})
    (directory / "pose.yaml").write_text(yaml.safe_dump({assets.RECIPE: pose}))
    return Workshop(*(directory / name for name in ("", "config.yaml", "recipes.yaml", "pose.yaml")))


@pytest.mark.slow
def test_from_nothing_to_a_dataset_of_the_shipped_networks(workshop, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(BENCHMARKS_PATH.parent)
    real, calls = assets._call, []
    monkeypatch.setattr(assets, "_call", lambda package, flags: calls.append(package) or real(package, flags))
    files = make_assets(workshop, tmp_path / "assets")
    assert calls == ["generate", "fr_train", "generate", "generate"]
    for path in files:
        card = read_json(card_path(path))
        assert card["sha256"] == sha256(path) and card["bytes"] == path.stat().st_size
        assert str(SEED) in card["trained_on"] and card["cost"]["seconds"] > 0
    assert read_json(card_path(tmp_path / "assets" / "yaw.safetensors"))["figures"]["held_out_faces"] == 8
    make_assets(workshop, tmp_path / "assets")
    assert len(calls) == 4  # everything was finished
    shipped = ship_generator(workshop.work_dir / "generator", tmp_path / "other", trained_on="people", licence="none")
    assert sha256(shipped) == sha256(workshop.finished_dir / "generator.safetensors")
    assert read_json(card_path(shipped))["trained_on"] == "people"
    (workshop.finished_dir / "generator.json").unlink()  # killed before the last card
    before = sha256(workshop.finished_dir / "generator.safetensors")
    make_assets(workshop, tmp_path / "assets")
    assert len(calls) == 4 and sha256(workshop.finished_dir / "generator.safetensors") == before

    settings = Vec2FaceGenerator(
        kind="vec2face",
        num_identities=3,
        images_per_identity=4,
        identities="pca",
        centers="assets/centers.npy",
        max_cosine=0.9999,
        perturbation={"sigmas": [0.5], "shares": [1], "directions": "assets/deviations.npy"},
        attributes={"pose_share": 0.25, "yaw_degrees": [30], "max_steps": 1, "quality": 1},
        generator_weights="assets/generator.safetensors",
        identity_weights="assets/identity.safetensors",
        quality_weights="assets/identity.safetensors",
        pose_weights="assets/yaw.safetensors",
        pose={"share": 0.25, "yaw_degrees": [45], "weights": "assets/pose.safetensors"},
        batch_size=4,
    )
    monkeypatch.setattr("bench.config.generator.ASSETS_PATH", tmp_path / "assets")
    dataset = make_dataset(tmp_path / "faces", settings, seed=0, weights=tmp_path / "none", device="cpu")
    assert dataset.num_images == 12
    weights = dataset.statistics.weights
    assert set(weights) == {f"assets/{name}" for name in NAMES}
    assert all(entry.licence == "MIT" for entry in weights.values())
    centers = np.load(tmp_path / "assets" / "centers.npy")
    assert centers.dtype == np.float16 and centers.shape == (20, 16 + 40)


@pytest.mark.slow
def test_the_pose_model_is_trained_on_the_true_landmarks_of_the_generators_faces(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    pose = tiny_pose_recipe(epochs=1, exchange_pose=True).model_dump(mode="json", exclude={"name"})
    (tmp_path / "pose.yaml").write_text(yaml.safe_dump({assets.RECIPE: pose}))
    workshop = Workshop(tmp_path, pose_recipes=tmp_path / "pose.yaml")
    heads = workshop.stages.generate.directory
    render_dataset(heads, num_identities=5, images_per_identity=3, seed=SEED)
    posed_set = make_posed_set(tmp_path / "other")
    for name in (assets.IDENTITY, "generator.safetensors"):
        (workshop.finished_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (workshop.finished_dir / name).write_bytes((posed_set / name).read_bytes())
    prepare(
        open_faces(heads / "faces.lmdb"),
        Preparation(workshop.finished_dir / assets.IDENTITY),
        workshop.work_dir / "prepared",
    )
    assets._make_pose(workshop)
    shipped = workshop.finished_dir / "pose.safetensors"
    card = read_json(card_path(shipped))
    assert (card["role"], card["sha256"]) == ("pose model", sha256(shipped))
    assert str(SEED) in card["trained_on"] and card["settings"]["exchange_pose"]
    posed = load_generator(workshop.finished_dir / "generator.safetensors", pose=shipped)
    assert posed.condition.channels == (4, 4, 4, 4)
    calls = []
    monkeypatch.setattr(assets, "_call", lambda *call: calls.append(call))
    assets._make_pose(workshop)
    assert not calls  # it was finished


@pytest.mark.slow
def test_the_sharp_generator_from_nothing_to_a_dataset_with_set_yaws(workshop, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(BENCHMARKS_PATH.parent)
    real, calls = assets._call, []
    monkeypatch.setattr(assets, "_call", lambda *given: calls.append(given[0]) or real(*given))
    shipped = ("identity.safetensors", "identity.json", "yaw.safetensors", "yaw.json")
    for name in shipped:
        (tmp_path / "assets").mkdir(exist_ok=True)
        (tmp_path / "assets" / name).write_bytes((assets.ASSETS_PATH / name).read_bytes())
    target = tmp_path / "assets" / "sharp"
    files = make_sharp_assets(workshop, target)
    before = [sha256(path) for path in files]
    assert [path.name for path in files] == ["generator.safetensors", "centers.npy", "differences.npy"]
    for path in files:
        card = read_json(card_path(path))
        assert card["sha256"] == sha256(path) and str(SHARP_SEED) in card["trained_on"]
    assert np.load(target / "centers.npy").shape == (8, 128 + NUM_CIRCUMSTANCES)
    assert [sha256(path) for path in make_sharp_assets(workshop, target)] == before
    assert calls == ["generate"]  # everything was finished

    settings = Vec2FaceGenerator(
        kind="vec2face",
        num_identities=3,
        images_per_identity=4,
        identities="pca",
        centers="assets/sharp/centers.npy",
        max_cosine=0.9999,
        perturbation={
            "sigmas": [1], "shares": [1], "differences": "assets/sharp/differences.npy", "circumstances": True,
        },
        attributes={"pose_share": 0.25, "yaw_degrees": [30], "max_steps": 1, "quality": 1},
        generator_weights="assets/sharp/generator.safetensors",
        identity_weights="assets/identity.safetensors",
        quality_weights="assets/identity.safetensors",
        pose_weights="assets/yaw.safetensors",
        batch_size=4,
    )  # fmt: skip
    monkeypatch.setattr("bench.config.generator.ASSETS_PATH", tmp_path / "assets")
    dataset = make_dataset(tmp_path / "faces", settings, seed=0, weights=tmp_path / "none", device="cpu")
    assert dataset.num_images == 12
    again = make_dataset(tmp_path / "again", settings, seed=0, weights=tmp_path / "none", device="cpu")
    assert dataset.content_sha256 == again.content_sha256


def test_the_people_of_the_sharp_generator_are_others():
    assert SHARP_SEED == SEED - 1
