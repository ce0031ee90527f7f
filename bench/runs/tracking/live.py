"""Follow a stage in MLflow while it runs: the numbers that it reports, images per second and load of the machine.

The stage reports to a bounded queue (``bench.machine.figures``). A thread takes from it every few seconds and sends. A
stage is thus never slowed by the tracking server nor ended by it: while the server is away the queue fills, then new
lines are dropped, and ``sync`` sends what is missing from the journal and the card. Stages of a few seconds are not
followed. ``BENCH_LIVE=0`` in the environment follows none.
"""

import contextlib
import os
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from bench.files import flatten
from bench.machine.device import process_rank
from bench.machine.figures import Line, images_counted, listening
from bench.machine.load import machine_load
from bench.machine.progress import note
from bench.runs.cards import DatasetCard, GeneratorCard
from bench.runs.stage import Stage
from bench.runs.tracking.addresses import error_reason, shown_uri, sync_command, tracking_uri
from bench.runs.tracking.curves import points_of_lines
from bench.runs.tracking.fields import name_run
from bench.runs.tracking.notes import read_note, write_note
from bench.runs.tracking.store import Point, Store, connect

SWITCH = "BENCH_LIVE"
"""Environment variable; 0 follows no stage."""
_QUEUE_LINES = 1000
_SECONDS_BETWEEN_SENDS = 5.0
_SECONDS_AFTER_FAILURE = 30.0
_SECONDS_TO_END = 10.0
"""How long a finished stage waits for its last numbers to be sent."""
_SECONDS_TO_END_LOCALLY = 120.0
"""The same for a database file: ending while MLflow still creates it would damage it."""


@dataclass(frozen=True)
class LiveRun:
    """The run of a stage that is followed."""

    directory: Path
    """Folder of the stage; gets ``mlflow.json``."""
    runs: Path
    """Folder of all runs."""
    name: str
    tags: dict[str, str]
    settings: dict[str, Any]
    has_journal: bool
    """The stage writes train.jsonl, which holds the load of the machine too."""
    pictures: str | None = None
    """Folder in ``directory`` whose .png files are sent as they appear."""
    seconds_to_start: float = 10.0
    """A stage that takes less is not followed: importing mlflow and opening the store takes seconds."""


def live_run(stage: Stage, *, scale: str, seed: int, runs: Path, pictures: str | None = None) -> LiveRun:
    """The run of a stage that makes a dataset or trains, with the names that its card will give it.

    Args:
        stage: The stage.
        scale: Name of the benchmark, or of the recipe of a generator.
        seed: Seed of the stage.
        runs: Folder of all runs.
        pictures: As of ``LiveRun``.
    """
    return LiveRun(
        stage.directory,
        runs,
        name_run("generator" if stage.card is GeneratorCard else stage.name, scale, seed, stage.fingerprint),
        {"suite.scale": scale, "suite.seed": str(seed), "suite.stage": stage.name, "suite.kind": "stage"},
        {"seed": seed} | flatten(stage.inputs),
        has_journal=stage.card is not DatasetCard,
        pictures=pictures,
    )


def live_result(stage: Stage, name: str, *, seed: int | None, runs: Path) -> LiveRun:
    """The run of an evaluation: accuracies appear as the test sets are done.

    Args:
        stage: The stage ``evaluate``.
        name: Name of the leaderboard row.
        seed: Seed of the benchmark; None for given weights.
        runs: Folder of all runs.
    """
    scale = stage.directory.parent.parent.name
    tags = {"suite.scale": scale, "suite.kind": "result"}
    settings = {} if seed is None else {"seed": seed}
    return LiveRun(
        stage.directory, runs, name_run("", name, seed, stage.fingerprint), tags, settings, has_journal=False
    )


@contextmanager
def followed(run: LiveRun) -> Iterator["Follower | None"]:
    """Follow the block in MLflow; yields the thread that sends, or None in all processes but rank 0."""
    if process_rank()[0] != 0 or os.environ.get(SWITCH) == "0":
        yield None
        return
    follower = Follower(run)
    follower.start()
    status = "FAILED"
    try:
        with listening(follower.take):
            yield follower
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        follower.end(status)


@dataclass
class _Sent:
    """What the run in MLflow holds."""

    store: Store
    run_id: str
    start_seconds: float
    """When the run was created: Unix time. The step of a sample counts the seconds since then, also after a resume."""
    steps: dict[str, set[int]] = field(default_factory=dict)
    """Metric -> steps for which the run has a value."""
    pictures: set[str] = field(default_factory=set)


class Follower(threading.Thread):
    """The thread that sends. It ends with the process if the server does not answer."""

    def __init__(self, run: LiveRun) -> None:
        super().__init__(name="mlflow", daemon=True)
        self._run_settings = run
        self._lines: queue.Queue[Line] = queue.Queue(_QUEUE_LINES)
        self._unsent: list[Point] = []
        self._sent: _Sent | None = None
        self._ending, self._status = threading.Event(), "RUNNING"
        self._has_warned = False
        self.thread_seconds = 0.0
        """Processor time that the thread has taken so far."""
        self._sampled_at, self._images = time.monotonic(), images_counted()

    def take(self, line: Line) -> None:
        """Put a line into the queue; drop it if the queue is full."""
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(line)

    def end(self, status: str) -> None:
        """Send what is left and set the status of the run, unless that takes too long."""
        self._status = status
        self._ending.set()
        is_local = tracking_uri(self._run_settings.runs).startswith("sqlite")
        self.join(_SECONDS_TO_END_LOCALLY if is_local else _SECONDS_TO_END)

    def run(self) -> None:
        """Send every few seconds until the stage ends."""
        pause = self._run_settings.seconds_to_start
        while not (is_ending := self._ending.wait(pause)) or self._sent is not None:
            try:
                self._send(is_ending=is_ending)
                pause = _SECONDS_BETWEEN_SENDS
            except Exception as error:  # MLflow, its database and the network raise anything; the stage goes on
                self._warn(error)
                pause = _SECONDS_AFTER_FAILURE
            self.thread_seconds = time.thread_time()
            if is_ending:
                return

    def _send(self, *, is_ending: bool) -> None:
        sent = self._sent = self._sent or _open_run(self._run_settings)
        if not self._unsent:  # while the server is away, lines stay in the bounded queue
            self._unsent = self._collect(sent)
        new = [point for point in self._unsent if point.step not in self._known_steps(sent, point.name)]
        sent.store.log_points(sent.run_id, new)
        for point in new:
            sent.steps[point.name].add(point.step)
        self._unsent = []
        self._send_pictures(sent)
        if is_ending:
            sent.store.client.set_terminated(sent.run_id, self._status)

    def _known_steps(self, sent: _Sent, name: str) -> set[int]:
        if name not in sent.steps:
            sent.steps[name] = sent.store.known_steps(sent.run_id, name)
        return sent.steps[name]

    def _collect(self, sent: _Sent) -> list[Point]:
        """Points of the lines in the queue, and a sample of the counts and of the machine."""
        lines = []
        while not self._lines.empty():
            lines.append(self._lines.get_nowait())
        return points_of_lines([*lines, self._sample(sent)])

    def _sample(self, sent: _Sent) -> Line:
        """Images per second since the last sample and, without a journal, the load of the machine."""
        now, counts = time.monotonic(), images_counted()
        seconds, figures = now - self._sampled_at, dict[str, float]()
        for work, num in counts.items():
            if num > (before := self._images.get(work, 0)):
                figures |= {f"images/{work}": num, f"images_per_second/{work}": (num - before) / seconds}
        self._sampled_at, self._images = now, counts
        figures |= {} if self._run_settings.has_journal else machine_load()
        return {"step": int(time.time() - sent.start_seconds), "time": time.time(), **figures}

    def _send_pictures(self, sent: _Sent) -> None:
        folder = self._run_settings.pictures
        for file in sorted((self._run_settings.directory / folder).glob("*.png")) if folder else []:
            if file.name not in sent.pictures:
                sent.store.log_files(sent.run_id, [file], folder)
                sent.pictures.add(file.name)

    def _warn(self, error: Exception) -> None:
        if not self._has_warned:
            runs = self._run_settings.runs
            note(
                f"warning: MLflow at {shown_uri(runs)} does not take the numbers of this run "
                f"({error_reason(error, runs)}); the run goes on, send them later with: {sync_command(runs)}"
            )
        self._has_warned = True


def _open_run(run: LiveRun) -> _Sent:
    """The run of a stage: that of an interrupted attempt, or a new one. Its id is kept in ``mlflow.json``."""
    with FileLock(run.runs / ".mlflow.lock", timeout=_SECONDS_TO_END):
        store, before = connect(run.runs), read_note(run.directory, run.runs)
        if before and before.card_sha256 is None and store.is_active(before.run_id):
            store.client.update_run(before.run_id, status="RUNNING")
            run_id = before.run_id
        else:
            run_id = store.create_run(run.name, run.tags)
            write_note(run.directory, run.runs, run_id)
            store.log_values(run_id, {}, run.settings, 0)
        return _Sent(store, run_id, store.client.get_run(run_id).info.start_time / 1000)
