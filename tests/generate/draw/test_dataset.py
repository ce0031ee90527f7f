"""Settings of a benchmark become a dataset: digests and provenance of weights, filters, missing files, its name."""

import json
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import torch
from local_hub import COMMIT

from bench.config.benchmarks import load_benchmark, load_benchmarks
from bench.config.generator import ImageFilters, Vec2FaceGenerator
from bench.config.recipe import Backbone
from bench.errors import InputError
from bench.faces.open import open_faces
from bench.files import sha256, write_json
from bench.runs.hub import HubFile, fetch
from fr_train.backbone import build_backbone
from fr_train.checkpoint import save_backbone
from generate.draw.dataset import load_networks, make_dataset, measure_deviation, weight_digests
from generate.draw.plan import Plan
from generate.hub.provenance import weight_provenance
from generate.identities import sample_identities
from generate.networks.estimators import identity_estimator
from generate.networks.over_faces import outputs_over_faces
from generate.stage import make_faces
from generate.vec2face import Architecture, Vec2Face, save_generator

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    save_generator(
        Vec2Face(Architecture(16, 32, 1, 2, 1, 2, 32, (1, 1, 1, 1, 1), 8)), tmp_path / "generator.safetensors"
    )
    settings = Backbone(depth=18, width=8, embedding_dim=16)
    for name in ("identity", "quality"):
        save_backbone(tmp_path / f"{name}.safetensors", build_backbone(settings), settings)
    return tmp_path


SETTINGS = Vec2FaceGenerator(
    kind="vec2face",
    num_identities=3,
    images_per_identity=4,
    max_cosine=0.9999,
    attributes={"pose_share": 0, "max_steps": 1},
    generator_weights="generator.safetensors",
    identity_weights="identity.safetensors",
    quality_weights="quality.safetensors",
    batch_size=4,
)


def test_settings_become_a_dataset_with_the_digest_of_every_weight(weights, tmp_path):
    made = make_dataset(tmp_path / "faces", SETTINGS, seed=0, weights=weights, device="cpu")
    assert made.num_images == len(open_faces(tmp_path / "faces" / "faces.lmdb")) == 12
    described = made.statistics.weights
    assert {name: entry.role for name, entry in described.items()} == {
        "generator.safetensors": "generator",
        "identity.safetensors": "identity estimator",
        "quality.safetensors": "quality estimator",
    }
    assert described["generator.safetensors"].sha256 == sha256(weights / "generator.safetensors")
    assert "not stated" in described["generator.safetensors"].licence
    assert made.statistics.nearest_identity.num_identities == 3


def test_a_fetched_weight_is_named_with_the_commit_that_the_branch_stood_for(hub, weights):
    generator = weights / "generator.safetensors"
    hub.files["/BooBooWu/Vec2Face/resolve/main/weights/generator.safetensors"] = generator.read_bytes()
    generator.unlink()
    fetch(HubFile("weights/generator.safetensors", "BooBooWu/Vec2Face"), weights)
    described = weight_provenance(SETTINGS, weight_digests(SETTINGS, weights), weights)
    assert described["generator.safetensors"].source.endswith(f"commit {COMMIT[:12]}")
    assert described["identity.safetensors"].source is None  # placed by hand
    generator.write_bytes(b"another")
    with pytest.raises(InputError, match=r"generator\.safetensors was changed.*recorded at the first fetch"):
        weight_digests(SETTINGS, weights)


def test_a_generator_that_was_put_there_by_ship_tells_what_it_was_trained_on(weights):
    digests = weight_digests(SETTINGS, weights)
    card = {"sha256": digests["generator.safetensors"], "trained_on": "people", "licence": "research"}
    write_json(weights / "generator.json", card)
    described = weight_provenance(SETTINGS, digests, weights)["generator.safetensors"]
    assert (described.trained_on, described.licence) == ("people", "research")
    write_json(weights / "generator.json", card | {"sha256": "0" * 64})  # of another file
    assert "not stated" in weight_provenance(SETTINGS, digests, weights)["generator.safetensors"].trained_on


def test_a_file_of_two_roles_names_both(weights):
    settings = SETTINGS.model_copy(update={"quality_weights": SETTINGS.identity_weights})
    described = weight_provenance(settings, weight_digests(settings, weights), weights)
    assert described[SETTINGS.identity_weights].role == "identity estimator, quality estimator"


def test_bfloat16_states_its_deviation(weights, tmp_path):
    settings = SETTINGS.model_copy(update={"precision": "bf16"})
    made = make_dataset(tmp_path / "faces", settings, seed=0, weights=weights, device="cpu")
    deviation = made.statistics.bf16_deviation
    assert 0 < deviation.mean_pixel <= deviation.max_pixel < 30
    assert 0.9 < deviation.identity_cosine_min <= 1
    assert deviation.num_images == settings.num_identities


@pytest.mark.parametrize("kind", ["pca", "file"])
def test_the_deviation_is_measured_on_people_of_the_settings(weights, monkeypatch, kind):
    np.save(weights / "people.npy", np.random.default_rng(0).standard_normal((3, 16)).astype(np.float32))
    settings = SETTINGS.model_copy(update={"precision": "bf16", "identities": kind, "centers": "people.npy"})
    drawn = Mock(side_effect=sample_identities)
    monkeypatch.setattr("generate.draw.dataset.sample_identities", drawn)
    measure_deviation(load_networks(settings, weights), Plan(settings, weights=weights))
    assert (drawn.call_args.kwargs["kind"], drawn.call_args.kwargs["centers"]) == (kind, weights / "people.npy")


@pytest.mark.slow
def test_images_of_people_who_were_trained_on_are_dropped_and_counted(weights, tmp_path):
    plain = make_dataset(tmp_path / "plain", SETTINGS, seed=0, weights=weights, device="cpu")
    network = identity_estimator(weights / "identity.safetensors")
    faces = open_faces(tmp_path / "plain" / "faces.lmdb")
    features = outputs_over_faces(network, faces, batch_size=4)
    (weights / "known").mkdir()
    np.save(weights / "known" / "centers.npy", 4 * features[:1] / np.linalg.norm(features[:1]))
    write_json(weights / "known" / "prepared.json", {"num_images": 9, "num_identities": 4, "source": "people"})
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    threshold = float(np.sort(unit @ unit[0])[-4:-2].mean())  # the three nearest are dropped, the image itself first
    filters = ImageFilters(known_centers="known/centers.npy", max_known_cosine=threshold)
    settings = SETTINGS.model_copy(update={"filters": filters})
    made = make_dataset(tmp_path / "faces", settings, seed=0, weights=weights, device="cpu")
    assert made.statistics.dropped["known"] == plain.num_images - made.num_images == 3
    cosines = pd.read_parquet(tmp_path / "faces" / "faces.parquet")["known_cosine"]
    assert cosines.max() <= threshold and np.isfinite(cosines).all()
    described = made.statistics.weights["known/centers.npy"]
    assert described.role == "people trained on" and "4 identities of people" in described.trained_on
    with pytest.raises(ValueError, match="known_centers and max_known_cosine go together"):
        ImageFilters(max_known_cosine=0.5)


def test_a_missing_weight_says_how_to_get_it(tmp_path):
    with pytest.raises(InputError, match=r"generator.safetensors is missing; run .venv/bin/python -m generate fetch"):
        weight_digests(SETTINGS, tmp_path)


def test_every_benchmark_with_vec2face_makes_a_plan(tmp_path):
    benchmarks = [b for b in load_benchmarks().values() if isinstance(b.generator, Vec2FaceGenerator)]
    assert benchmarks
    for benchmark in benchmarks:
        plan = Plan(benchmark.generator, seed=1, weights=tmp_path)
        assert sum(plan.image_counts) == benchmark.generator.images_per_identity
        kind, centers = plan.vector_source
        assert (kind == "gaussian") == (centers is None)
        assert json.loads(json.dumps(plan.description())) == plan.description()


@pytest.mark.parametrize(
    ("scale", "family"),
    [
        ("smoke", "Vec2Face"),
        ("mini", "Vec2Face"),
        ("10k", "HSFace"),
        ("300k", "HSFace"),
        ("10k_published", "HSFace"),
        ("v300k", "VFace"),
        ("v10k_published", "VFace"),
    ],
)
def test_only_published_datasets_and_those_of_the_released_weights_are_called_hsface(scale, family):
    assert load_benchmark(scale).generator.dataset_family == family


def test_the_stage_names_a_dataset_after_its_family_and_benchmark(weights, tmp_path):
    benchmark = load_benchmark("10k").model_copy(update={"generator": SETTINGS})
    faces = make_faces(tmp_path / "faces", benchmark, seed=0, weights=weights, device="cpu")
    assert faces.name == "Vec2Face 10k"
