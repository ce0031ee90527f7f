"""A whole benchmark by one and by two processes: equal datasets, and equal scores of one given network."""

import os
import shutil
import subprocess
import sys

import pytest
import yaml
from paths import ROOT
from soak import check_clean, command, finish, outcome, write_inputs

from bench.files import sha256
from bench.runs.cards import DatasetCard, ResultCard, read_card


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder of the same benchmark by one process, ``1``, and by two, ``2``."""
    folder = tmp_path_factory.mktemp("soak")
    inputs = write_inputs(folder / "inputs")
    for number in (1, 2):
        finish(command(inputs, folder / str(number)), folder / "log", nproc=number)
    return folder


@pytest.mark.slow
def test_the_datasets_are_equal_and_nothing_is_made_twice(folder):
    assert outcome(folder / "1", with_network=False) == outcome(folder / "2", with_network=False)
    for number in ("1", "2"):
        check_clean(folder / number)
    log = (folder / "log").read_text()
    assert "Traceback" not in log
    for line in ("generate: /", "train: /", "evaluate: raw pixels: few", "evaluate: tiny: few"):
        assert log.count(line) == 2, line
    cards = [read_card(path, DatasetCard) for path in folder.glob("2/tiny/faces/*")]
    cards += [read_card(path, ResultCard) for path in folder.glob("2/tiny/results/*")]
    assert [card.cost.num_processes for card in cards] == [2, 2, 2, 2]
    assert not list(folder.rglob("parts"))


@pytest.mark.slow
def test_three_processes_render_the_same_dataset(folder, tmp_path):
    torchrun = [sys.executable, "-m", "bench.runs.torchrun", "--standalone", "--nproc-per-node=3", "-m"]
    flags = [
        "--scale",
        "tiny",
        "--runs",
        tmp_path,
        "--config",
        folder / "inputs" / "benchmarks.yaml",
        "--device",
        "cpu",
    ]
    subprocess.run([*torchrun, "generate", *flags], cwd=ROOT, check=True, env=os.environ | {"BENCH_PROGRESS": "0"})
    (ours,), (others,) = tmp_path.glob("tiny/faces/*"), folder.glob("1/tiny/faces/*")
    assert ours.name == others.name
    for name in ("faces.lmdb", "faces.parquet", "grid.png"):
        assert sha256(ours / name) == sha256(others / name)


@pytest.mark.slow
def test_the_scores_of_one_network_are_equal(folder, tmp_path):
    (network,) = folder.glob("1/tiny/models/*/model.safetensors")
    scores = []
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    for number in (1, 2, 3):
        torchrun = ["bench.runs.torchrun", "--standalone", f"--nproc-per-node={number}", "-m"] if number > 1 else []
        flags = ["--protocols", "few", "--test-sets", folder / "inputs" / "test_sets", "--runs", tmp_path / str(number)]
        line = [sys.executable, "-m", *torchrun, "evaluate", "--model", network, *flags, "--device", "cpu"]
        subprocess.run(line, cwd=ROOT, check=True, env=environment | {"BENCH_PROGRESS": "0"})
        (path,) = tmp_path.glob(f"{number}/models/results/*/scores.npz")
        scores.append(path.read_bytes())
    assert scores[0] == scores[1] == scores[2]


@pytest.mark.slow
def test_rendered_protocols_and_given_faces_are_made_once_by_two_processes(folder, tmp_path):
    """``make evaluate NPROC=2`` used to end here: both processes rendered the protocol."""
    (faces,) = folder.glob("1/tiny/faces/*/faces.lmdb")
    inputs = tmp_path / "inputs"
    shutil.copytree(folder / "inputs", inputs)
    document = yaml.safe_load((inputs / "benchmarks.yaml").read_text())
    document["benchmarks"]["tiny"] |= {"generator": {"kind": "files", "path": str(faces)}, "protocols": ["render_lfw"]}
    (inputs / "benchmarks.yaml").write_text(yaml.safe_dump(document))
    finish(command(inputs, tmp_path / "runs"), tmp_path / "log", nproc=2)
    assert "Traceback" not in (tmp_path / "log").read_text()
    assert [path.name for path in tmp_path.glob("runs/protocols/*/*") if path.is_dir()] == ["render_lfw"]
    assert len(list(tmp_path.glob("runs/tiny/results/*/result.json"))) == 3


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["generate", "fr_train", "evaluate"])
def test_a_finished_stage_is_skipped_without_importing_torch_or_mlflow(folder, stage):
    inputs = folder / "inputs"
    flags = ["--scale", "tiny", "--runs", folder / "1", "--config", inputs / "benchmarks.yaml"]
    flags += ["--test-sets", inputs / "test_sets", "--device", "cpu"]
    line = [sys.executable, "-X", "importtime", "-m", stage, *flags]
    process = subprocess.run(line, cwd=ROOT, check=True, capture_output=True, text=True)
    assert "skip" in process.stdout
    imported = {name.rpartition("|")[2].strip() for name in process.stderr.splitlines()}
    assert "bench.runs.stage" in imported
    assert not imported & {"torch", "mlflow", "pandas", "scipy"}
