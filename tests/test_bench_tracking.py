"""Cards reach MLflow once and only once; an unreachable server costs a warning, never a number."""

import shutil

import pytest
from conftest import write_run

from bench import tracking
from bench.cards import ResultCard, card_sha256, read_card
from bench.tracking import SENT_NAME, sync


@pytest.fixture(scope="module")
def fresh_store(tmp_path_factory):
    """One migrated sqlite file for the whole module: the first contact takes MLflow seconds."""
    folder = tmp_path_factory.mktemp("store")
    tracking._connect(folder)
    return folder / "mlflow.db"


@pytest.fixture
def runs(tmp_path, fresh_store, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(fresh_store, tmp_path / "mlflow.db")
    write_run(tmp_path, scale="smoke", accuracy=0.875)
    return tmp_path


def all_runs(runs):
    client, experiment_id = tracking._connect(runs)
    return client, client.search_runs([experiment_id])


@pytest.mark.slow
def test_a_parent_and_a_child_per_stage_with_settings_metrics_artifacts_and_dataset(runs):
    assert sync(runs) == (1, None)
    client, found = all_runs(runs)
    by_name = {run.info.run_name: run for run in found}
    assert set(by_name) == {"smoke seed 0", "generate", "train", "evaluate"}
    parent = by_name.pop("smoke seed 0")
    assert all(run.data.tags["mlflow.parentRunId"] == parent.info.run_id for run in by_name.values())
    assert all(run.info.status == "FINISHED" for run in found)
    assert parent.data.metrics["mean/accuracy"] == 0.875
    assert parent.data.metrics["render_lfw/accuracy"] == 0.875
    assert parent.data.metrics["cost/train_seconds"] == 20
    train = by_name["train"]
    assert train.data.params["recipe.optimizer.lr"] == "0.1"
    assert train.inputs.dataset_inputs[0].dataset.name == "rendered heads"
    assert [point.value for point in client.get_metric_history(train.info.run_id, "train/loss")] == [9.0, 5.0]
    artifacts = {item.path for item in client.list_artifacts(by_name["generate"].info.run_id)}
    assert artifacts == {"dataset.json", "grid.png"}


@pytest.mark.slow
def test_sending_again_sends_nothing_even_without_the_note(runs):
    sync(runs)
    assert sync(runs) == (0, None)
    note = next(runs.glob(f"*/results/*/{SENT_NAME}"))
    note.unlink()
    assert sync(runs) == (1, None)
    assert len(all_runs(runs)[1]) == 4


@pytest.mark.slow
def test_an_attempt_that_was_cut_off_is_replaced(runs, monkeypatch):
    real, calls = tracking._send_stage, []

    def fails_at_the_second_stage(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise ConnectionError("connection reset")
        real(*arguments)

    monkeypatch.setattr(tracking, "_send_stage", fails_at_the_second_stage)
    num_sent, problem = sync(runs)
    assert num_sent == 0
    assert "did not take 1 results (connection reset)" in problem
    monkeypatch.setattr(tracking, "_send_stage", real)
    assert sync(runs) == (1, None)
    assert len(all_runs(runs)[1]) == 4


def test_a_server_that_does_not_answer_costs_a_warning(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    directory = write_run(tmp_path, scale="smoke", accuracy=0.875)
    before = card_sha256(directory, ResultCard)
    num_sent, problem = sync(tmp_path)
    assert num_sent == 0
    assert problem.startswith("MLflow at http://127.0.0.1:9 did not take 1 results")
    assert "\n" not in problem
    assert card_sha256(directory, ResultCard) == before
    assert read_card(directory, ResultCard).mean_accuracy == 0.875
    assert not (directory / SENT_NAME).exists()
