"""Exported files give the embeddings of their source, come with a model card, and appear whole or not at all."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard as HubCard
from paths import ROOT
from results import make_result, write_run

from bench.config.recipe import Backbone
from bench.errors import InputError
from bench.files import sha256
from bench.runs.card_parts.references import DatasetReference
from bench.runs.card_parts.statistics import DatasetStatistics
from bench.runs.cards import DatasetCard, ModelCard, TemplateResult, read_card, write_card
from evaluate.measure.embed import embed, load_network
from fr_train.backbone import build_backbone, iresnet
from fr_train.checkpoint import save_backbone
from fr_train.export import files as exporting
from fr_train.export.files import export, onnx_network
from fr_train.export.folder import export_folder
from fr_train.export.model_card import find_origin, render_model_card

TINY = {"depth": 18, "width": 4, "embedding_dim": 16}
NETWORKS = [
    TINY | {"se": "shortcut", "dropout": 0.4},
    {"kind": "mobilefacenet", "width": 16, "embedding_dim": 16},
    {"kind": "timm", "name": "vit_tiny_patch16_224", "embedding_dim": 16},
    {"kind": "timm", "name": "mobilenetv3_small_050", "embedding_dim": 16},
]


def trained(path, **settings):
    """Path of a small network with batch norm statistics, written as training writes it."""
    settings = Backbone.model_validate(settings or TINY)
    torch.manual_seed(0)
    network = build_backbone(settings).train()
    with torch.no_grad():
        network(torch.randn(8, 3, 112, 112))
    save_backbone(path, network, settings)
    return path


@pytest.fixture
def weights(tmp_path):
    return trained(tmp_path / "source" / "model.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("settings", NETWORKS, ids=lambda settings: settings.get("name", settings.get("kind", "ir18")))
def test_onnx_gives_the_embeddings_of_the_evaluation(tmp_path, settings):
    weights = trained(tmp_path / "source.safetensors", **settings)
    distances = export(weights, tmp_path / "out")
    assert list(distances) == ["model.onnx", "model.safetensors"]
    assert 0 <= max(distances.values()) < 1e-6
    faces = np.random.default_rng(0).integers(0, 256, (5, 112, 112, 3), dtype=np.uint8)
    expected = embed(load_network(weights), faces)
    for name in distances:
        np.testing.assert_allclose(embed(load_network(tmp_path / "out" / name), faces), expected, atol=1e-5)
    reread = onnx_network(tmp_path / "out" / "model.onnx")
    assert [reread(torch.zeros(n, 3, 112, 112)).shape for n in (1, 3)] == [(1, 16), (3, 16)]


def test_a_released_file_becomes_safetensors(tmp_path):
    torch.manual_seed(0)
    network = iresnet(18, se="shortcut", width=4, embedding_dim=16).eval()
    torch.save({f"module.{name}": value for name, value in network.state_dict().items()}, tmp_path / "r.pth")
    assert export(tmp_path / "r.pth", tmp_path, ["safetensors"])["model.safetensors"] < 1e-12
    faces = torch.zeros(1, 3, 112, 112)
    assert torch.equal(load_network(tmp_path / "model.safetensors")(faces), network(faces))


def call(*arguments):
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.slow
def test_the_command_and_the_evaluation_of_what_it_writes(tmp_path, weights, monkeypatch):
    done = call("fr_train", "export", weights.parent, "--out", tmp_path / "out", "--runs", tmp_path / "runs")
    assert done.returncode == 0, done.stderr
    names = ["README.md", "model.onnx", "model.safetensors"]
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == names
    assert "Not known: these weights were not trained by this suite" in (tmp_path / "out" / names[0]).read_text()
    pairs = tmp_path / "sets" / "pairs"
    pairs.mkdir(parents=True)
    np.save(pairs / "pairs.npy", np.random.default_rng(0).integers(0, 256, (40, 3, 112, 112), dtype=np.uint8))
    (pairs / "issame.txt").write_text("1\n0\n" * 10)
    means = []
    for name in names[1:]:
        where = ("--protocols", "pairs", "--test-sets", tmp_path / "sets", "--runs", tmp_path / "runs")
        done = call("evaluate", "--model", tmp_path / "out" / name, *where)
        assert done.returncode == 0, done.stderr
        means.append(done.stdout.split("mean ")[1].split("%")[0])
    assert means[0] == means[1]
    code = (tmp_path / "out" / names[0]).read_text().split("```python\n")[1].split("```")[0]
    variables = {"faces": np.random.default_rng(1).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)}
    monkeypatch.chdir(tmp_path / "out")
    exec(code, variables)  # the example in the model card
    np.testing.assert_allclose(variables["embeddings"], embed(load_network(weights), variables["faces"]), atol=1e-5)


@pytest.mark.parametrize("features", [lambda x: x[:, :16], lambda x: x[:, :16] * float("nan")])
def test_a_file_that_differs_is_not_left(tmp_path, weights, monkeypatch, features):
    monkeypatch.setattr(exporting, "load_backbone", lambda path: lambda faces: features(faces.flatten(1)))
    with pytest.raises(InputError, match=r"model\.safetensors gives other embeddings .* must be at most 0\.0001"):
        exporting.export(weights, tmp_path / "out", ["safetensors"])


def test_nothing_is_left_after_an_error_and_nothing_is_overwritten(tmp_path, weights):
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    arguments = (tmp_path / "bad.safetensors", tmp_path / "out", ["safetensors"], tmp_path / "runs")
    with pytest.raises(InputError, match=r"bad\.safetensors is not a whole safetensors file"):
        export_folder(*arguments)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["bad.safetensors", "source"]
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="out exists already; delete it or name another"):
        export_folder(*arguments)


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_absent_packages_are_named(tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    message = rf"model\.onnx needs {package}; run \.venv/bin/pip install -e '\.\[onnx\]'"
    with pytest.raises(InputError, match=message):
        if package == "onnxruntime":
            onnx_network(tmp_path / "model.onnx")
        else:
            exporting.write_onnx(tmp_path / "model.onnx", torch.nn.Identity())
    assert not list(tmp_path.iterdir())


@pytest.fixture
def runs(tmp_path):
    """Folder of runs with a network, its card, and a result of its weights."""
    result_dir = write_run(tmp_path / "runs")
    folder = tmp_path / "runs" / "smoke" / "models" / "model0"
    weights = trained(folder / "model.safetensors")
    dataset = DatasetReference(name="rendered heads", sha256="d" * 64, num_images=6400, num_identities=320)
    card = read_card(folder, ModelCard).model_copy(update={"weights_sha256": sha256(weights), "dataset": dataset})
    write_card(folder, card)
    counts = {"num_pairs": 9000, "num_impostors": 8000, "num_templates": 500, "num_images": 3000}
    ijbb = TemplateResult(tar_at_far={"1e-4": None, "1e-3": 0.75}, auc=0.98, eer=0.03, sha256="b" * 64, **counts)
    result = make_result(model={"weights_sha256": sha256(weights)}, templates={"ijbb": ijbb})
    write_card(result_dir, result)
    return tmp_path / "runs"


def test_the_model_card_says_what_the_cards_say(runs):
    weights = runs / "smoke" / "models" / "model0" / "model.safetensors"
    text = render_model_card(find_origin(weights, Path("elsewhere")), {"model.onnx": 1e-12})
    data = HubCard(text).data
    assert (data.model_name, data.license, data.pipeline_tag) == ("smoke-seed0", "mit", "image-feature-extraction")
    values = {(entry.dataset_type, entry.metric_name): entry.metric_value for entry in data.eval_results}
    assert values["render_lfw", "accuracy, published 10-fold protocol"] == 0.875
    assert values["render_cplfw", "TAR at FAR 1e-2"] == 0.6
    assert ("render_lfw", "TAR at FAR 1e-3") not in values  # cannot be resolved by so few pairs
    assert values["ijbb", "TAR at FAR 1e-3"] == 0.75
    assert {entry.dataset_type for entry in data.eval_results} == {*make_result().protocols, "ijbb"}
    assert "| ijbb | - | - | 0.98 | 0.03 | 9,000 |" in text
    for words in ("6,400 faces of 320 people", "no photo of a person was used", "rank nothing", "smoke_arcface"):
        assert words in text
    assert f"largest 1 - cosine from the source, on random faces, {1e-12:.1e}" in text


def test_results_in_another_test_mode_are_not_taken(runs):
    weights = runs / "smoke" / "models" / "model0" / "model.safetensors"
    expected = find_origin(weights, runs).protocols
    later = {"inputs": {"model": sha256(weights), "test_mode": "no_flip"}, "created_utc": "2099-01-01T00:00:00+00:00"}
    result = make_result(accuracy=0.5, model={"weights_sha256": sha256(weights)}, **later)
    write_card(runs / "models" / "results" / "no_flip", result)
    assert find_origin(weights, runs).protocols == expected


def test_terms_follow_the_training_data(runs):
    root = runs / "smoke"
    weights = root / "models" / "model0" / "model.safetensors"
    dataset = read_card(root / "faces" / "faces0", DatasetCard)
    entry = {"role": "generator", "trained_on": "real photos", "licence": "research only", "sha256": "a" * 64}
    for kind, statistics, words in (
        ("vec2face", {"weights": {"g.pth": entry}}, "| g.pth | generator | real photos | research only |"),
        ("files", {}, "These faces were given as files"),
    ):
        inputs = {"seed": 0, "generator": {"kind": kind}}
        changes = {"inputs": inputs, "statistics": DatasetStatistics.model_validate(statistics)}
        write_card(root / "faces" / "faces0", dataset.model_copy(update=changes))
        text = render_model_card(find_origin(weights, runs), {})
        assert (HubCard(text).data.license, words in text) == ("other", True)


def test_results_of_other_weights_are_not_taken(runs):
    other = trained(runs / "smoke" / "models" / "model0" / "model.safetensors", **TINY | {"embedding_dim": 8})
    text = render_model_card(find_origin(other, runs), {})
    assert "Not evaluated yet." in text
    assert HubCard(text).data.eval_results is None
