"""The command of a stage: only flags that are not the usual ones, and the launcher that NPROC or LAUNCH name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

from bench.cli import stage_parser
from bench.config.benchmarks import load_benchmark
from bench.errors import InputError
from bench.runs.fingerprints import plan_stages
from bench.runs.launch import stage_command


@pytest.fixture
def stages(tmp_path, monkeypatch):
    for name in ("NPROC", "LAUNCH", "TRAIN_FLAGS"):
        monkeypatch.delenv(name, raising=False)
    return plan_stages(load_benchmark("smoke"), seed=0, runs=tmp_path, test_sets=tmp_path)


def flags(*given):
    return stage_parser("bench", "").parse_args(["--scale", "smoke", *given])


def test_what_goes_without_saying_is_left_out(stages):
    python = [sys.executable, "-m"]
    assert stage_command(stages.train, flags()) == [*python, "fr_train", "--scale", "smoke", "--seed", "0"]
    command = stage_command(stages.evaluate, flags("--seed", "3", "--runs", "elsewhere"))
    assert command == [*python, "evaluate", "--scale", "smoke", "--seed", "3", "--runs", str(Path("elsewhere"))]


def test_launchers_and_flags_of_the_training(stages, monkeypatch):
    monkeypatch.setenv("NPROC", "2")
    monkeypatch.setenv("TRAIN_FLAGS", "--micro-batch 8")
    command = stage_command(stages.train, flags())
    assert command[1:6] == ["-m", "bench.runs.torchrun", "--standalone", "--nproc-per-node=2", "-m"]
    assert command[-2:] == ["--micro-batch", "8"]
    assert "--micro-batch" not in stage_command(stages.generate, flags())
    monkeypatch.setenv("LAUNCH", "srun -n 4 python")
    assert stage_command(stages.train, flags())[:6] == ["srun", "-n", "4", "python", "-m", "fr_train"]


@pytest.mark.parametrize("number", ["abc", "0", "-1", "1.5"])
def test_a_number_of_processes_that_is_none(stages, monkeypatch, number):
    monkeypatch.setenv("NPROC", number)
    with pytest.raises(InputError, match=f"NPROC={number} is no number of processes"):
        stage_command(stages.train, flags())


FAILING = """
import os
from bench.cli import run
from bench.errors import InputError
def main():
    if os.environ["RANK"] == "1":
        raise InputError("the value 7 is too large; give at most 5")
run(main)
"""


@pytest.mark.slow
def test_a_failing_process_shows_its_own_line_and_its_status(tmp_path):
    (tmp_path / "failing.py").write_text(FAILING)
    torchrun = [sys.executable, "-m", "bench.runs.torchrun", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, str(tmp_path / "failing.py")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["error (process 1): the value 7 is too large; give at most 5"]
