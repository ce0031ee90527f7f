"""The stages of all points of a sweep, each once, several processes at a time.

Points that share a dataset share its stage, so that it is made once. A stage starts when the stages before it are
finished. When a stage fails, those that need it fail too; all others go on.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.errors import Preempted
from bench.machine.preemption import noted_preemption
from bench.runs.stage import Stage

_POLL_SECONDS = 0.1
_SECONDS_TO_END = 10.0
_SECONDS_TO_WRITE_CHECKPOINTS = 250.0
"""Longer than torchrun, which is one of the processes, waits for its own (``bench.runs.torchrun``)."""
_MAX_PROBLEM = 300


@dataclass(frozen=True)
class Task:
    """One stage that has to run."""

    label: str
    """What the terminal and the log's file name call it."""
    stage: Stage
    command: Sequence[str]
    needs: Path | None
    """Folder of the stage before it, if that has to run too."""


@dataclass
class Outcome:
    """What became of a task."""

    task: Task
    seconds: float
    problem: str | None
    """Why it failed, in one line; None if it is finished."""
    log: Path


@dataclass
class _Running:
    task: Task
    process: subprocess.Popen
    log: Path
    start: float = field(default_factory=time.perf_counter)


def run_tasks(tasks: Iterable[Task], *, jobs: int, logs: Path) -> Iterator[Outcome]:
    """Run tasks, at most ``jobs`` at once, and yield an outcome for each that ended or whose needed task failed.

    If the caller stops or this process is interrupted, the running processes are interrupted. SIGTERM and SIGUSR1, by
    which a scheduler ends a run, are forwarded to them, so that trainings write their checkpoints.

    Args:
        tasks: In the order in which they start.
        jobs: Processes at once.
        logs: Folder of the processes' output, a file each.

    Raises:
        Preempted: If a scheduler ended this process, after the running processes have ended.
    """
    waiting = list(tasks)
    pending = {task.stage.directory for task in waiting}
    failed: dict[Path, str] = {}
    running: list[_Running] = []
    logs.mkdir(parents=True, exist_ok=True)
    with noted_preemption() as preemption:
        try:
            while waiting or running:
                if preemption.number:
                    raise Preempted(preemption.number)
                for task in [task for task in waiting if task.needs in failed]:
                    waiting.remove(task)
                    failed[task.stage.directory] = failed[task.needs]  # type: ignore[index]
                    yield Outcome(task, 0, failed[task.stage.directory], _log_path(logs, task))
                for task in [task for task in waiting if task.needs not in pending][: jobs - len(running)]:
                    waiting.remove(task)
                    running.append(_start(task, _log_path(logs, task)))
                time.sleep(_POLL_SECONDS)
                for job in [job for job in running if job.process.poll() is not None]:
                    running.remove(job)
                    pending.discard(job.task.stage.directory)
                    problem = _problem_of(job)
                    if problem is not None:
                        failed[job.task.stage.directory] = problem
                    yield Outcome(job.task, time.perf_counter() - job.start, problem, job.log)
        finally:
            _end_all(running, preemption.number)


def _start(task: Task, log: Path) -> _Running:
    environment = os.environ | {"BENCH_PROGRESS": "0"}
    with log.open("w", encoding="utf-8") as file:
        try:
            process = subprocess.Popen(task.command, stdout=file, stderr=file, env=environment)
        except OSError as error:
            file.write(f"error: {task.command[0]} cannot be started ({error.strerror}); correct LAUNCH\n")
            file.flush()
            process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(1)"])
    return _Running(task, process, log)


def _problem_of(job: _Running) -> str | None:
    """Why an ended process failed: its last line that begins with "error", else its last line; None if it succeeded.

    A process that ends with status 0 but has written no card counts as failed.
    """
    if job.process.returncode == 0 and job.task.stage.is_finished:
        return None
    lines = [line.strip() for line in job.log.read_text(encoding="utf-8", errors="replace").splitlines()]
    errors = [line for line in lines if line.startswith("error")]
    last = (errors or [line for line in lines if line] or [""])[-1]
    if job.process.returncode < 0:
        last = f"killed by signal {-job.process.returncode}"
    return (last or f"ended with status {job.process.returncode}")[:_MAX_PROBLEM]


def _log_path(logs: Path, task: Task) -> Path:
    """A name that no two tasks share: the stage and its fingerprint."""
    return logs / f"{task.stage.name}_{task.stage.fingerprint}.log"


def _end_all(running: Sequence[_Running], number: int) -> None:
    """End the processes by a scheduler's signal, or interrupt them if ``number`` is 0; kill those that do not end."""
    for job in running:
        job.process.send_signal(number or signal.SIGINT)
    deadline = time.monotonic() + (_SECONDS_TO_WRITE_CHECKPOINTS if number else _SECONDS_TO_END)
    for job in running:
        try:
            job.process.wait(timeout=max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            job.process.kill()
            job.process.wait()
