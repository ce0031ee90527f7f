"""The runs of a sweep in MLflow: one parent for all points that were sent, and a tracker that is away."""

import json

from mlflow import MlflowClient
from results import write_run

from bench.runs import tracking


def children_of(client, parent):
    condition = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    return client.search_runs([parent.info.experiment_id], filter_string=condition)


def test_points_come_under_one_parent_as_they_are_sent(tmp_path):
    folder = tmp_path / "sweeps" / "mine"
    first = write_run(tmp_path, seed=0)
    assert tracking.sync(tmp_path) == (1, None)
    second = write_run(tmp_path, seed=1)
    assert tracking.group_results(folder, [first, second], tmp_path, "sweep mine", "a question") is None
    client = MlflowClient(tracking_uri=tracking.tracking_uri(tmp_path))
    note = json.loads((folder / "mlflow.json").read_text())
    parent = client.get_run(note["run_id"])
    assert (parent.info.run_name, parent.info.status) == ("sweep mine", "FINISHED")
    assert parent.data.tags["mlflow.note.content"] == "a question"
    assert [run.info.run_name for run in children_of(client, parent)] == ["smoke seed 0"]
    assert tracking.sync(tmp_path) == (1, None)
    assert tracking.group_results(folder, [first, second], tmp_path, "sweep mine", "a question") is None
    assert {run.info.run_name for run in children_of(client, parent)} == {"smoke seed 0", "smoke seed 1"}
    assert json.loads((folder / "mlflow.json").read_text())["run_id"] == note["run_id"]
    other = tmp_path / "sweeps" / "other"
    assert tracking.group_results(other, [first], tmp_path, "sweep other", "another question") is None
    assert len(children_of(client, parent)) == 2  # a run stays under its first sweep
    both = client.search_runs([parent.info.experiment_id], filter_string="tags.`suite.sweep.other` = 'yes'")
    assert [run.info.run_name for run in both] == ["smoke seed 0"]


def test_a_tracker_that_is_away_is_a_reason_and_no_error(tmp_path, monkeypatch):
    result = write_run(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    problem = tracking.group_results(tmp_path / "sweeps" / "mine", [result], tmp_path, "sweep mine", "a question")
    assert problem.startswith("MLflow at http://127.0.0.1:1 did not take sweep mine (")
    assert "\n" not in problem
