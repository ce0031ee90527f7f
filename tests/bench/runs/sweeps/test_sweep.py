"""A sweep of seconds, disturbed in every way that happens: a shared dataset, a failed point, a kill, two at once."""

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import yaml
from paths import ROOT
from soak import wait_for_orphans, write_inputs

from bench.files import sha256
from bench.runs.sweeps import run
from bench.runs.sweeps.plan_file import read_plan
from bench.runs.tracking.store import connect

SWEEP = {
    "about": "for the test",
    "base": "tiny",
    "fixed": {
        "recipe.schedule.epochs": 1,
        "recipe.schedule.warmup_epochs": 0.0,
        "generator.num_identities": 6,
        "protocols": ["few"],
    },
    "grid": {"recipe.optimizer.lr": [0.05, 0.02]},
    "seeds": [0],
}
SECONDS = 280


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Inputs of the soak, with a sweep of two points on one dataset."""
    folder = tmp_path_factory.mktemp("sweep")
    write_inputs(folder)
    write_sweeps(folder, few=SWEEP)
    return folder


def write_sweeps(folder, **sweeps):
    (folder / "sweeps.yaml").write_text(yaml.safe_dump({"sweeps": sweeps}))


def command(folder, runs, name="few", *more):
    places = ["--config", folder / "benchmarks.yaml", "--sweeps", folder / "sweeps.yaml", "--runs", runs]
    places += ["--test-sets", folder / "test_sets", "--device", "cpu"]
    return [sys.executable, "-m", "bench", "sweep", name, *map(str, places), *more]


def start(line):
    environment = os.environ | {"BENCH_PROGRESS": "0", "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(line, cwd=ROOT, env=environment, start_new_session=True, **pipes)


def call(line):
    process = start(line)
    stdout, stderr = process.communicate(timeout=SECONDS)
    assert "Traceback" not in stderr, stderr
    return process.returncode, stdout, stderr


@pytest.fixture(scope="module")
def finished(folder):
    """Folder of runs after the sweep was killed with all its processes, then finished, with a second one refused."""
    runs = folder / "runs"
    process = start(command(folder, runs, "few", "--jobs", "2"))
    while not list(runs.glob("tiny/models/*/train.jsonl")) and process.poll() is None:
        time.sleep(0.2)
    status, _, second = call(command(folder, runs))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    wait_for_orphans(runs)
    assert status == 2
    assert f"error: {runs / 'sweeps' / 'few'} is in use by another run" in second
    assert {point.state for point in read_plan(runs / "sweeps" / "few").points} <= {"planned", "finished"}
    status, stdout, stderr = call(command(folder, runs, "few", "--jobs", "2"))
    assert status == 0, stderr
    assert "sweep few: 2 points" in stdout
    return runs


@pytest.mark.slow
def test_a_killed_sweep_goes_on_and_shares_datasets(folder, finished):
    counts = {name: len(list(finished.glob(f"tiny/{name}/*"))) for name in ("faces", "models")}
    assert counts == {"faces": 1, "models": 2}
    plan = read_plan(finished / "sweeps" / "few")
    assert [point.state for point in plan.points] == ["finished"] * 2
    assert len({point.dataset for point in plan.points}) == 1
    with (finished / "sweeps" / "few" / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["lr"], row["num_identities"]) for row in rows] == [("0.05", "6"), ("0.02", "6")]
    for row, point in zip(rows, plan.points, strict=True):
        card = json.loads((finished / point.result / "result.json").read_text())
        assert float(row["mean_accuracy"]) == card["mean_accuracy"]
        assert f"recipe.optimizer.lr={row['lr']}" in card["changes"] or row["lr"] == "0.05"
    assert "Sweep few" in (finished / "sweeps" / "few" / "index.html").read_text()
    status, stdout, _ = call(command(folder, finished))
    assert (status, "2 points, 2 of them finished; 0 stages to run" in stdout) == (0, True)


@pytest.mark.slow
def test_points_are_ordinary_runs(folder, finished):
    """The same settings by ``bench run`` are found finished, under the same fingerprints."""
    text = "recipe.schedule.epochs=1 recipe.schedule.warmup_epochs=0.0 recipe.optimizer.lr=0.02"
    text += " generator.num_identities=6"
    line = [sys.executable, "-m", "bench", "run", "--scale", "tiny", *command(folder, finished)[5:], "--set", text]
    line = [word for i, word in enumerate(line) if word != "--sweeps" and line[i - 1] != "--sweeps"]
    status, stdout, stderr = call(line)
    assert status == 0, stderr
    assert stdout.count(": skip, unchanged") == 3
    latest = json.loads((finished / "tiny" / "latest.json").read_text())
    assert sha256(f"{latest['dataset']}/dataset.json")


@pytest.mark.slow
def test_a_failed_point_does_not_end_the_others(folder, finished):
    write_sweeps(folder, few=SWEEP, broken=SWEEP | {"grid": {"recipe.batch_size": [16, 4096]}})
    status, _, stderr = call(command(folder, finished, "broken"))
    write_sweeps(folder, few=SWEEP)
    assert status == 2
    assert "1 of 2 points failed" in stderr
    assert "batch_size=4096" in stderr
    assert "Traceback" not in stderr
    plan = read_plan(finished / "sweeps" / "broken")
    assert [point.state for point in plan.points] == ["finished", "failed"]
    assert "train: error" in plan.points[1].problem
    assert list((finished / "sweeps" / "broken").glob("table.csv"))


@pytest.mark.slow
def test_all_points_are_runs_under_one_parent(finished):
    store = connect(finished)
    parent = store.find_run(suite__parent="sweep few")
    assert parent.info.run_name == "sweep few"
    condition = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    runs = store.client.search_runs([store.experiment_id], filter_string=condition)
    assert len(runs) == 2


@pytest.mark.parametrize(("status", "ends"), [(143, True), (138, True), (130, True), (2, False), (137, False)])
def test_a_signal_during_the_parts_of_a_mixture_ends_the_sweep_and_a_fault_does_not(monkeypatch, status, ends):
    def fails(generator, args):
        yield "part a: run"
        sys.exit(status)

    monkeypatch.setattr(run, "make_parts", fails)
    stages = SimpleNamespace(generate=SimpleNamespace(is_finished=False))
    benchmark = SimpleNamespace(name="mixed", generator=None)
    points = [SimpleNamespace(stages=stages, benchmark=benchmark, seed=seed, changes={}) for seed in range(2)]
    lines = run._make_parts(points, argparse.Namespace())
    assert next(lines) == "part a: run"
    if ends:
        with pytest.raises(SystemExit, match=str(status)):
            next(lines)
    else:
        assert list(lines) == ["part a: run"]
