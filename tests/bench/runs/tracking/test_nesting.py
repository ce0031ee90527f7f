"""Floors and points of sweeps stand below one parent; databases of older versions are read and continued."""

import pytest
from results import make_result, write_run

from bench.files import write_json
from bench.runs.cards import ResultCard, card_sha256, write_card
from bench.runs.tracking.nesting import FLOORS, set_parent
from bench.runs.tracking.notes import SENT_NAME, read_note
from bench.runs.tracking.sending import sync
from bench.runs.tracking.store import PARENT_TAG, connect


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.mark.slow
def test_floors_share_a_parent_and_a_sweep_takes_its_points(runs):
    points = [write_run(runs, accuracy=0.875), write_run(runs, accuracy=0.75, seed=1)]
    for name in ("raw pixels", "untrained backbone"):
        floor = make_result(accuracy=0.5, name=name, row="floor", fingerprint=name.replace(" ", "_"))
        write_card(runs / "smoke" / "results" / floor.fingerprint, floor)
    assert sync(runs) == (4, None)
    assert set_parent(points, "sweep noise", runs) is None
    assert set_parent(points[:1], "sweep noise", runs) is None  # the same parent
    assert set_parent(points[:1], "sweep other", runs, about="Another question.") is None  # stays below the first
    missing = set_parent([*points, runs / "nowhere"], "sweep noise", runs)
    assert missing == f"MLflow at sqlite:///{runs.resolve()}/mlflow.db lacks 1 of 3 runs"
    store = connect(runs)
    by_id = {run.info.run_id: run for run in store.client.search_runs([store.experiment_id])}
    tops = {run.info.run_name for run in by_id.values() if PARENT_TAG not in run.data.tags}
    assert tops == {FLOORS, "sweep noise", "sweep other"}
    parents = {run.info.run_name: by_id[run.data.tags[PARENT_TAG]].info.run_name for run in by_id.values()
               if PARENT_TAG in run.data.tags}  # fmt: skip
    assert parents["smoke: raw pixels raw_pi"] == FLOORS
    assert parents["smoke seed 1 result"] == "sweep noise"
    assert parents["train smoke seed 1 model1"] == "smoke seed 1 result"
    both = store.find_run(**{"suite__sweep-noise": "yes", "suite__sweep-other": "yes"})
    assert both is not None and both.info.run_name == "smoke seed 0 result"
    described = store.find_run(suite__parent="sweep other")
    assert described is not None and described.data.tags["mlflow.note.content"].startswith("Another question. [Charts")


@pytest.mark.slow
def test_a_server_that_is_away_costs_a_sweep_one_line(runs, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    problem = set_parent([runs], "sweep noise", runs)
    assert problem.startswith("MLflow at http://127.0.0.1:9 did not put runs below sweep noise (")
    assert "\n" not in problem


@pytest.mark.slow
def test_a_database_of_version_0_1_is_read_and_its_cut_off_run_is_finished(runs):
    sent, cut_off = write_run(runs, accuracy=0.875), write_run(runs, accuracy=0.75, seed=1)
    store = connect(runs)
    ids = []
    for directory in (sent, cut_off):
        digest = card_sha256(directory, ResultCard)
        ids.append(store.create_run("smoke seed 0", {"suite.result_sha256": digest}))
        store.log_values(ids[-1], {"mean/accuracy": 0.5, "render_lfw/accuracy": 0.5}, {"seed": 0}, 0)
    store.client.set_terminated(ids[0])
    old = {"tracking_uri": f"sqlite:///{runs.resolve()}/mlflow.db", "run_id": ids[0], "step": 5, "files": ["a.png"]}
    write_json(sent / SENT_NAME, old | {"card_sha256": card_sha256(sent, ResultCard)})
    assert sync(runs) == (1, None)
    assert sync(runs) == (0, None)
    assert read_note(cut_off, runs).run_id == ids[1]
    metrics = store.get_run(ids[1]).data.metrics
    assert (metrics["mean/accuracy"], metrics["accuracy/mean"]) == (0.5, 0.75)
    assert "accuracy/mean" not in store.get_run(ids[0]).data.metrics  # sent before, left as it is
