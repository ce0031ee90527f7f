"""A stage is followed while it runs; a server that is away or goes away costs a warning and no time."""

import threading
import time
from dataclasses import replace

import pytest
from results import write_run

from bench.machine.figures import count_images, report
from bench.machine.journal import JOURNAL_NAME, JournalFile, journal_line
from bench.runs.fingerprints import generator_stage
from bench.runs.tracking import live
from bench.runs.tracking.curves import points_of_lines
from bench.runs.tracking.live import LiveRun, followed, live_run
from bench.runs.tracking.notes import SENT_NAME, read_note, write_note
from bench.runs.tracking.sending import sync
from bench.runs.tracking.store import PARENT_TAG, Point, connect


class FakeStore:
    """A store in memory that can be away."""

    def __init__(self):
        self.points, self.is_away, self.status, self.num_calls = [], False, "RUNNING", 0
        self.client = self

    def known_steps(self, run_id, name):
        return set()

    def log_points(self, run_id, points):
        self.num_calls += 1
        if self.is_away:
            raise ConnectionError("connection refused")
        self.points += points

    def set_terminated(self, run_id, status):
        if self.is_away:
            raise ConnectionError("connection refused")
        self.status = status


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_LIVE", "1")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name in ("_SECONDS_BETWEEN_SENDS", "_SECONDS_AFTER_FAILURE"):
        monkeypatch.setattr(live, name, 0.01)
    return LiveRun(tmp_path, tmp_path, "train", {}, {}, has_journal=True, seconds_to_start=0.01)


@pytest.fixture
def store(monkeypatch):
    store = FakeStore()
    monkeypatch.setattr(live, "_open_run", lambda run: live._Sent(store, "run0", time.time()))
    return store


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in a minute"
        time.sleep(0.005)


def steps(store, name="train/loss"):
    return [point.step for point in store.points if point.name == name]


def test_lines_arrive_while_the_stage_runs_and_the_last_ones_at_its_end(run, store):
    with followed(run):
        report(journal_line(1, {"loss": 9.0, "lfw/accuracy": 0.5, "grad_norm": float("nan")}))
        wait_until(lambda: steps(store) == [1])
        assert store.status == "RUNNING"
        report(journal_line(2, {"loss": 8.0}))
    assert steps(store) == [1, 2]
    assert {point.name for point in store.points} == {"train/loss", "validation/lfw"}
    assert store.status == "FINISHED"


@pytest.mark.parametrize(("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_a_stage_that_fails_says_so(run, store, error, status):
    with pytest.raises(error), followed(run):
        report(journal_line(1, {"loss": 9.0}))
        wait_until(lambda: steps(store) == [1])
        raise error
    assert store.status == status


def test_images_per_second_and_the_load_are_sampled(run, store):
    with followed(LiveRun(run.directory, run.runs, "generate", {}, {}, has_journal=False, seconds_to_start=0.01)):
        count_images("render", 5)
        wait_until(lambda: store.points)
    by_name = {point.name: point.value for point in store.points}
    assert by_name["images_per_second/render"] > 0
    assert by_name["images/render"] >= 5
    assert "system/cpu_utilization_percentage" in by_name


def test_a_server_that_goes_away_half_way_costs_one_warning_and_gets_the_rest_when_it_is_back(run, store, capsys):
    with followed(run):
        report(journal_line(1, {"loss": 9.0}))
        wait_until(lambda: steps(store) == [1])
        store.is_away, num_calls = True, store.num_calls
        report(journal_line(2, {"loss": 8.0}))
        report(journal_line(3, {"loss": 7.0}))
        wait_until(lambda: store.num_calls > num_calls + 3)
        store.is_away = False
        wait_until(lambda: steps(store) == [1, 2, 3])
    warnings = capsys.readouterr().err
    assert warnings.count("does not take the numbers of this run") == 1
    assert "(connection refused); the run goes on, send them later with: " in warnings


def test_a_server_that_stays_away_ends_nothing_and_the_queue_stays_bounded(run, store, monkeypatch):
    monkeypatch.setattr(live, "_QUEUE_LINES", 10)
    store.is_away = True
    start = time.perf_counter()
    with followed(run):
        for step in range(10_000):
            report({"step": step, "time": 0, "loss": 1.0})
    assert time.perf_counter() - start < 5
    assert steps(store) == []


def test_a_report_takes_microseconds_whatever_the_server_does(run, store, monkeypatch):
    blocked = threading.Event()
    monkeypatch.setattr(store, "log_points", lambda *_: blocked.wait(20))
    monkeypatch.setattr(live, "_SECONDS_TO_END", 0.0)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with followed(run):
        time.sleep(0.05)
        start = time.perf_counter()
        for step in range(1000):
            report({"step": step, "time": 0, "loss": 1.0})
        seconds = time.perf_counter() - start
    blocked.set()
    assert seconds / 1000 < 1e-3


def test_short_stages_and_other_processes_are_not_followed(run, store, monkeypatch):
    with followed(replace(run, seconds_to_start=60.0)):
        report(journal_line(1, {"loss": 9.0}))
    for name, value in (("RANK", "1"), ("BENCH_LIVE", "0")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            patch.setenv("WORLD_SIZE", "2")
            with followed(run):
                report(journal_line(1, {"loss": 9.0}))
                time.sleep(0.05)
    assert store.num_calls == 0


def test_names_of_charts():
    line = {"step": 4, "time": 1.5, "loss": 2, "mean/accuracy": 0.5, "held_out/ssim": 0.25, "system/x": 1, "lr": None}
    assert points_of_lines([line, {"loss": 3}]) == [
        Point("train/loss", 2.0, 1500, 4),
        Point("validation/mean", 0.5, 1500, 4),
        Point("held_out/ssim", 0.25, 1500, 4),
        Point("system/x", 1.0, 1500, 4),
    ]


@pytest.mark.slow
def test_an_interrupted_training_goes_on_in_the_same_run_and_moves_below_its_result(run, tmp_path):
    """The server misses the lines of the second attempt's middle; ``sync`` sends them. No step has two values."""
    directory = write_run(tmp_path, scale="smoke", accuracy=0.875)
    folder = tmp_path / "smoke" / "models" / "model0"
    (folder / JOURNAL_NAME).unlink()
    training = LiveRun(folder, tmp_path, "train", {}, {"seed": 0}, has_journal=True, seconds_to_start=0.01)
    with pytest.raises(RuntimeError), followed(training):
        journal = JournalFile(folder / JOURNAL_NAME, 0, is_writing=True)
        for step in (1, 2, 3):
            journal.append(journal_line(step, {"loss": 10.0 - step}))
        wait_until(lambda: (folder / SENT_NAME).exists())
        raise RuntimeError
    run_id = read_note(folder, tmp_path).run_id
    with followed(training):
        journal = JournalFile(folder / JOURNAL_NAME, 2, is_writing=True)  # the checkpoint was older than the journal
        journal.append(journal_line(3, {"loss": 7.0}))
        wait_until(lambda: connect(tmp_path).get_run(run_id).info.status == "RUNNING")
    journal.append(journal_line(4, {"loss": 6.0}))  # while the server was away
    journal.append(journal_line(5, {"loss": 5.0}))
    assert sync(tmp_path) == (1, None)
    assert sync(tmp_path) == (0, None)
    store = connect(tmp_path)
    run = store.get_run(run_id)
    assert run.data.tags[PARENT_TAG] == read_note(directory, tmp_path).run_id
    assert run.info.run_name == "train smoke seed 0 model0"
    history = store.client.get_metric_history(run_id, "train/loss")
    assert [(point.step, point.value) for point in history] == [(step, 10.0 - step) for step in (1, 2, 3, 4, 5)]
    assert len(store.client.search_runs([store.experiment_id])) == 3


@pytest.mark.slow
def test_a_result_that_was_followed_is_completed_in_its_run(run, tmp_path):
    directory = write_run(tmp_path, scale="smoke", accuracy=0.875)
    with followed(LiveRun(directory, tmp_path, "smoke", {}, {}, has_journal=False, seconds_to_start=0.01)):
        report({"step": 0, "time": time.time(), "accuracy/render_lfw": 0.875})
        wait_until(lambda: (directory / SENT_NAME).exists())
    run_id = read_note(directory, tmp_path).run_id
    assert sync(tmp_path) == (1, None)
    assert read_note(directory, tmp_path).run_id == run_id
    client = connect(tmp_path).client
    assert len(client.get_metric_history(run_id, "accuracy/render_lfw")) == 1
    assert client.get_run(run_id).data.metrics["accuracy/mean"] == 0.875


def test_a_note_of_another_store_starts_a_new_run(tmp_path, monkeypatch):
    write_note(tmp_path, tmp_path, "run0")
    assert read_note(tmp_path, tmp_path).run_id == "run0"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere")
    assert read_note(tmp_path, tmp_path) is None


def test_the_run_of_a_stage_has_the_name_that_its_card_gives_it(tmp_path):
    stage = generator_stage({"seed": 3}, runs=tmp_path)
    run = live_run(stage, scale="photographs", seed=3, runs=tmp_path)
    assert run.name == f"generator photographs seed 3 {stage.fingerprint[:6]}"
    assert run.has_journal
    assert run.settings["seed"] == 3
