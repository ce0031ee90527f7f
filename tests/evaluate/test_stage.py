"""Networks of a benchmark and given ones are evaluated once: the floors, the trained network, any file."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from results import write_run

from bench.config.benchmarks import load_benchmark
from bench.errors import InputError
from bench.faces.face import encode_jpeg
from bench.files import sha256
from bench.runs.cards import ModelCard, ResultCard, read_card, write_card
from bench.runs.fingerprints import plan_stages
from bench.runs.inputs import is_rendered, protocol_path
from evaluate.layouts.packed import write_bin
from evaluate.leaderboard.read import read_local
from evaluate.leaderboard.tables import make_tables
from evaluate.stage import Evaluation, evaluate_model, evaluate_scale
from fr_train.backbone import build_backbone
from fr_train.checkpoint import save_backbone

SMOKE = load_benchmark("smoke")


def write_pairs(path, num_pairs=20):
    """Pairs of noise: the genuine ones show one image twice."""
    rng = np.random.default_rng(0)
    faces = [encode_jpeg(rng.integers(0, 255, (112, 112, 3), dtype=np.uint8)) for _ in range(2 * num_pairs)]
    for pair in range(0, num_pairs, 2):
        faces[2 * pair + 1] = faces[2 * pair]
    write_bin(path, faces, [pair % 2 == 0 for pair in range(num_pairs)])


@pytest.fixture
def evaluation(tmp_path, monkeypatch):
    """Settings whose rendered protocols are made-up pairs, written where they are asked for."""

    def write_protocol(name, *, test_sets, runs):
        if not is_rendered(name):
            return protocol_path(name, test_sets=test_sets, runs=runs)
        path = runs / "protocols" / f"{name}.bin"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_pairs(path)
        return path

    monkeypatch.setattr("evaluate.stage.protocol_path", write_protocol)
    return Evaluation(tmp_path / "runs", tmp_path / "test_sets", "cpu", 0)


def test_a_given_network_is_evaluated_once(evaluation, tmp_path):
    (tmp_path / "test_sets").mkdir()
    write_pairs(tmp_path / "test_sets" / "few.bin")
    settings = SMOKE.recipe.backbone
    save_backbone(tmp_path / "net.safetensors", build_backbone(settings), settings)
    (line,) = evaluate_model(tmp_path / "net.safetensors", ["few"], evaluation)
    assert line.startswith("evaluate: net: few ")
    (folder,) = (tmp_path / "runs" / "models" / "results").iterdir()
    card = read_card(folder, ResultCard)
    assert (card.row, card.name, list(card.protocols)) == ("model", "net", ["few"])
    before = (folder / "result.json").read_bytes()
    (line,) = evaluate_model(tmp_path / "net.safetensors", ["few"], evaluation)
    assert line == f"evaluate: skip net, unchanged ({folder})"
    assert (folder / "result.json").read_bytes() == before


def test_a_test_mode_is_another_result_and_stated(evaluation, tmp_path):
    (tmp_path / "test_sets").mkdir()
    write_pairs(tmp_path / "test_sets" / "few.bin")
    settings = SMOKE.recipe.backbone
    save_backbone(tmp_path / "net.safetensors", build_backbone(settings), settings)
    for mode in ("norm_weighted", "no_flip"):
        list(evaluate_model(tmp_path / "net.safetensors", ["few"], replace(evaluation, test_mode=mode)))
    folders = (tmp_path / "runs" / "models" / "results").iterdir()
    cards = {card.name: card for card in (read_card(folder, ResultCard) for folder in folders)}
    assert cards.keys() == {"net", "net, no flip"}
    assert "test_mode" not in cards["net"].inputs and cards["net, no flip"].inputs["test_mode"] == "no_flip"
    (table,) = make_tables(read_local(tmp_path / "runs"))
    assert len(table.rows) == 2


def test_what_is_missing_is_named(evaluation, tmp_path):
    with pytest.raises(
        InputError, match=r"--model .*gone.pth does not exist; give a .safetensors, .pth, .ckpt or .onnx file"
    ):
        list(evaluate_model(tmp_path / "gone.pth", ["lfw"], evaluation))
    (tmp_path / "net.pth").write_bytes(b"x")
    advice = r"run \.venv/bin/python -m evaluate fetch lfw --test-sets .*, save it there as lfw\.bin"
    with pytest.raises(InputError, match=rf"no lfw in .*; {advice}"):
        list(evaluate_model(tmp_path / "net.pth", ["lfw"], evaluation))
    with pytest.raises(InputError, match="holds no trained network; run make train SCALE=smoke with the same SEED"):
        list(evaluate_scale(SMOKE, evaluation))


@pytest.mark.slow
def test_a_benchmark_gives_its_floors_and_its_network(evaluation, tmp_path):
    stages = plan_stages(SMOKE, seed=0, runs=evaluation.runs, test_sets=evaluation.test_sets)
    result = write_run(tmp_path / "made_up")
    for folder, stage in (("faces/faces0", stages.generate), ("models/model0", stages.train)):
        shutil.copytree(result.parent.parent / folder, stage.directory)
    settings, weights = SMOKE.recipe.backbone, stages.train.directory / "model.safetensors"
    save_backbone(weights, build_backbone(settings), settings)
    card = read_card(stages.train.directory, ModelCard)
    write_card(stages.train.directory, card.model_copy(update={"weights_sha256": sha256(weights)}))
    lines = list(evaluate_scale(SMOKE, evaluation))
    names = ["raw pixels", "untrained backbone", "smoke"]
    assert [line.split(":")[1].strip() for line in lines] == names
    cards = [read_card(path.parent, ResultCard) for path in evaluation.runs.glob("smoke/results/*/result.json")]
    assert {(card.name, card.row) for card in cards} == set(zip(names, ("floor", "floor", "dataset"), strict=True))
    assert [line.split(",")[0] for line in evaluate_scale(SMOKE, evaluation)] == [
        f"evaluate: skip {name}" for name in names
    ]

    stages.evaluate.directory.joinpath("result.json").unlink()
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match=r"model\.safetensors was changed: .*restore the file, or delete"):
        list(evaluate_scale(SMOKE, evaluation))
