"""Released networks: known by name, evaluated on every set, compared with the printed accuracies."""

import numpy as np
import pytest
import torch
from paths import REPORTS

from bench.config.benchmarks import load_benchmark
from bench.config.released import RELEASED_RECIPES
from bench.errors import InputError
from bench.faces.face import encode_jpeg
from bench.runs.cards import ResultCard, read_card
from evaluate.__main__ import main
from evaluate.challenge.networks import NETWORKS, find_networks, printed_accuracies
from evaluate.challenge.released import Comparison, compare, describe, describe_unknown, evaluate_released
from evaluate.layouts.packed import write_bin
from evaluate.leaderboard.published import read_published
from evaluate.leaderboard.read import read_local
from evaluate.leaderboard.tables import make_tables
from evaluate.leaderboard.write import PUBLISHED_PATH
from evaluate.stage import Evaluation
from fr_train.checkpoint import untrained_backbone

SMALL = load_benchmark("smoke").recipe.backbone


def write_released(path, seed=0):
    """A small IResNet in the layout of the released files: a state dict with the prefix of DataParallel."""
    state = untrained_backbone(SMALL, seed=seed).state_dict()
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({f"module.{name}": value for name, value in state.items()}, path)


@pytest.fixture
def evaluation(tmp_path):
    """Two test sets of 20 pairs of noise; genuine pairs show one image twice."""
    (tmp_path / "sets").mkdir()
    rng = np.random.default_rng(0)
    faces = [encode_jpeg(rng.integers(0, 255, (112, 112, 3), dtype=np.uint8)) for _ in range(40)]
    faces[0::4] = faces[1::4]
    for name in ("lfw", "cplfw"):
        write_bin(tmp_path / "sets" / f"{name}.bin", faces, [True, False] * 10)
    return Evaluation(tmp_path / "runs", tmp_path / "sets", "cpu", 0)


def test_every_network_with_a_source_has_its_row():
    rows = read_published(PUBLISHED_PATH)
    printed = {name: printed_accuracies(network, rows) for name, network in NETWORKS.items()}
    assert printed["hsface300k"] == {"lfw": 99.30, "cfp_fp": 91.54, "agedb_30": 94.45, "calfw": 94.58, "cplfw": 87.70}
    assert printed["casia-webface-r50"]["cfp_fp"] == 96.91
    assert printed["casia-webface_hsface10k-r50"]["lfw"] == 99.58
    assert printed["vface100k"]["cplfw"] == 90.23
    assert printed["cvlface_adaface_vit_base_kprpe_webface4m"]["cplfw"] == 95.40
    assert printed["w600k_r50"] == {"lfw": 99.83, "cfp_fp": 99.33, "agedb_30": 98.23}
    assert [name for name, values in printed.items() if not values] == ["glintr100"]


def test_a_committed_result_beside_the_printed_accuracies():
    card = read_card(REPORTS / "results" / "mobilefacenet_y1.json", ResultCard)
    entries = {entry.test_set: entry for entry in compare(card, NETWORKS["mobilefacenet_y1"].printed)}
    assert (entries["lfw"].difference, entries["lfw"].verdict) == (-0.05, "differs")
    assert (entries["cfp_fp"].difference, entries["cfp_fp"].verdict) == (0.75, "differs")
    assert entries["cfp_ff"].verdict == "not printed"


def test_a_row_that_is_gone_is_named():
    with pytest.raises(InputError, match=r"published\.csv has 0 rows of HSFace10K from HaiyuWu/Vec2Face README; keep"):
        printed_accuracies(NETWORKS["hsface10k"], [])


def test_differences_and_verdicts_by_hand():
    assert Comparison("a", "lfw", 99.304, 99.30).difference == 0
    assert Comparison("a", "lfw", 99.3149, 99.30).verdict == "agrees"
    assert Comparison("a", "lfw", 99.3167, 99.30).verdict == "differs"
    assert Comparison("a", "lfw", 99.2833, 99.30).difference == -0.02
    assert Comparison("a", "rfw_asian", 80.0, None).verdict == "not printed"
    entries = [Comparison("a", "lfw", 99.3, 99.3), Comparison("a", "cplfw", 80, 85.47), Comparison("a", "x", 80, None)]
    assert describe(entries).endswith("1 of 2 printed accuracies are met to 0.01 points.")
    assert "| a | cplfw | 80.00 | 85.47 | -5.47 | differs |" in describe(entries)


@pytest.mark.slow
def test_all_networks_of_a_folder_in_one_call(evaluation, tmp_path):
    weights = tmp_path / "weights"
    for seed, name in enumerate(("hsface10k", "casia-webface-r50")):
        write_released(weights / f"{name}.pth", seed)
    lines = list(evaluate_released(weights, evaluation))
    assert [line.split(":")[1].strip() for line in lines[:2]] == ["casia-webface-r50", "hsface10k"]
    assert (evaluation.runs / "released.md").read_text().strip() in lines[-1]
    assert lines[-1].count("differs") == 4  # networks of noise on pairs of noise
    cards = {result.card.name: result.card for result in read_local(evaluation.runs)}
    assert list(cards["hsface10k"].protocols) == ["lfw", "cplfw"]
    assert cards["hsface10k"].dataset.num_images == 500_000
    assert cards["hsface10k"].recipe.sha256 == RELEASED_RECIPES["hsface_arcface"]
    assert compare(cards["hsface10k"], {"lfw": 98.87})[0].printed == 98.87
    again = list(evaluate_released(weights, evaluation))
    assert all(line.startswith("evaluate: skip") for line in again[:2])
    assert again[2] == lines[2]


@pytest.mark.slow
def test_the_network_of_photographs_is_the_real_reference_of_its_recipe(evaluation, tmp_path):
    for seed, name in enumerate(("hsface10k", "casia-webface-r50")):
        write_released(tmp_path / "weights" / f"{name}.pth", seed)
    list(evaluate_released(tmp_path / "weights", evaluation))
    (table,) = make_tables(read_local(evaluation.runs))
    rows = {row.label: row for row in table.rows}
    assert rows["casia-webface-r50"].is_reference
    assert table.reference(rows["hsface10k"]) is rows["casia-webface-r50"]
    gap = rows["casia-webface-r50"].mean.value - rows["hsface10k"].mean.value
    assert table.gap_to_real(rows["hsface10k"]) == pytest.approx(gap)


def test_weights_that_nobody_knows(evaluation, tmp_path):
    weights = tmp_path / "weights"
    write_released(weights / "hsface10k.pth")
    write_released(weights / "mine.pth")
    torch.save({"encoder.weight": torch.zeros(4, 4)}, weights / "other.pth")
    (weights / "vec2face_generator.pth").write_bytes(b"known, and no recognition network")
    mine, other = describe_unknown(weights)
    assert mine.startswith(
        f"left out: {weights / 'mine.pth'} has no name of a released network; it holds a recognition"
    )
    keys = "looked for conv1.weight, layer1.0.bn1.weight, layer1 to layer4 and fc.weight"
    assert f"is no IResNet: {keys}, found stages of (0, 0, 0, 0) blocks, first entries encoder.weight" in other


def test_a_known_name_with_other_content_is_named_after_the_others(evaluation, tmp_path):
    write_released(tmp_path / "weights" / "hsface20k.pth")
    torch.save({"encoder.weight": torch.zeros(4, 4)}, tmp_path / "weights" / "hsface10k.pth")
    with pytest.raises(InputError, match=r"1 of 2 networks could not be evaluated: .*hsface10k\.pth is no IResNet"):
        list(evaluate_released(tmp_path / "weights", evaluation))
    assert len(read_local(evaluation.runs)) == 1


def test_folders_without_networks_or_sets(evaluation, tmp_path):
    with pytest.raises(
        InputError, match=r"weights holds none of the released networks; save one of hsface10k, .* fetch"
    ):
        find_networks(tmp_path / "weights")
    write_released(tmp_path / "weights" / "hsface10k.pth")
    empty = Evaluation(tmp_path / "runs", tmp_path / "nothing", "cpu", 0)
    with pytest.raises(InputError, match=r"nothing holds no known test set; run .* evaluate fetch"):
        list(evaluate_released(tmp_path / "weights", empty))


def test_the_command(evaluation, tmp_path, monkeypatch, capsys):
    write_released(tmp_path / "weights" / "vface10k.pth")
    folders = {"--weights": "weights", "--test-sets": "sets", "--runs": "runs"}
    flags = [word for flag, folder in folders.items() for word in (flag, str(tmp_path / folder))]
    monkeypatch.setattr("sys.argv", ["evaluate", "--released", "--device", "cpu", *flags])
    assert main() == 0
    assert "| vface10k | lfw |" in capsys.readouterr().out
    (card,) = (path for path in (tmp_path / "runs").glob("models/results/*/result.json"))
    assert read_card(card, ResultCard).recipe is None  # the authors do not state its schedule
