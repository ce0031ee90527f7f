"""A training that is followed in MLflow: the same network, and the curve of its journal."""

import time

import pytest
from training import assert_same, tiny_recipe, weights_of

from bench.files import read_json_lines
from bench.runs.tracking.live import SWITCH, LiveRun, followed
from bench.runs.tracking.notes import read_note
from bench.runs.tracking.store import connect
from fr_train.trainer import journal
from fr_train.trainer.options import RunOptions
from fr_train.trainer.train import train


@pytest.mark.slow
def test_mlflow_shows_the_steps_while_a_training_runs(training_faces, trained, tmp_path, monkeypatch):
    monkeypatch.setenv(SWITCH, "1")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(journal, "SECONDS_BETWEEN_LINES", 0.0)
    store, folder = connect(tmp_path), tmp_path / "model"
    seen = []

    def validate(network):
        """Look into MLflow in the middle of the training."""
        deadline = time.monotonic() + 60
        while not seen and time.monotonic() < deadline:
            note = read_note(folder, tmp_path)
            seen.extend(store.known_steps(note.run_id, "train/loss") if note else ())
            time.sleep(0.1)
        return {"lfw": 0.5}

    run = LiveRun(folder, tmp_path, "train", {}, {}, has_journal=True, seconds_to_start=0.0)
    options = RunOptions(num_workers=0, validate_every=1)
    with followed(run):
        train(training_faces, tiny_recipe(), folder, seed=0, options=options, validate=validate)
    lines = read_json_lines(folder / "train.jsonl")
    assert set(seen) < {line["step"] for line in lines}
    run_id = read_note(folder, tmp_path).run_id
    curve = {point.step: point.value for point in store.client.get_metric_history(run_id, "train/loss")}
    assert curve == {line["step"]: line["loss"] for line in lines}
    assert store.known_steps(run_id, "validation/lfw") == {3, 6}
    assert store.known_steps(run_id, "system/cpu_utilization_percentage") == curve.keys()
    assert store.get_run(run_id).info.status == "FINISHED"
    assert_same(weights_of(folder), weights_of(trained[0]))
