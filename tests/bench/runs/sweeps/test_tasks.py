"""Stages of a sweep as processes: order, number at once, failures that take others with them, and the end."""

import os
import signal
import sys
import time

import pytest

from bench.errors import Preempted
from bench.runs.cards import DatasetCard
from bench.runs.stage import Stage
from bench.runs.sweeps import tasks
from bench.runs.sweeps.tasks import Task, run_tasks

FINISH = (
    "import sys, pathlib; p = pathlib.Path(sys.argv[1]); p.mkdir(parents=True); (p / 'dataset.json').write_text('')"
)


def make_task(tmp_path, name, code=FINISH, needs=None):
    stage = Stage("generate", tmp_path / name, DatasetCard, {})
    return Task(name, stage, [sys.executable, "-S", "-c", code, str(stage.directory)], needs and tmp_path / needs)


def run(tasks, tmp_path, jobs=2):
    return {outcome.task.label: outcome for outcome in run_tasks(tasks, jobs=jobs, logs=tmp_path / "logs")}


def test_a_stage_waits_for_the_one_before(tmp_path):
    needs_a = "import sys, pathlib; assert pathlib.Path(sys.argv[1]).with_name('a').exists()\n" + FINISH
    outcomes = run([make_task(tmp_path, "b", needs_a, "a"), make_task(tmp_path, "a")], tmp_path)
    assert list(outcomes) == ["a", "b"]
    assert all(outcome.problem is None for outcome in outcomes.values())


def test_a_failure_takes_with_it_what_needs_it_and_nothing_else(tmp_path):
    fails = "import sys; print('working'); sys.stderr.write('error: the value 7 is too large\\nbye\\n'); sys.exit(2)"
    given = [
        make_task(tmp_path, "c", needs="b"),
        make_task(tmp_path, "b", needs="a"),
        make_task(tmp_path, "a", fails),
        make_task(tmp_path, "other"),
    ]
    outcomes = run(given, tmp_path)
    problems = {label: outcome.problem for label, outcome in outcomes.items()}
    failure = "error: the value 7 is too large"
    assert problems == {"a": failure, "b": failure, "c": failure, "other": None}
    assert "working" in outcomes["a"].log.read_text()


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "killed by signal 9"),
        ("pass", "ended with status 0"),  # without its card
        ("raise SystemExit(3)", "ended with status 3"),
        ("raise ValueError('a bug')", "ValueError: a bug"),
    ],
)
def test_reasons(tmp_path, code, problem):
    assert run([make_task(tmp_path, "a", code)], tmp_path)["a"].problem == problem


def test_a_command_that_does_not_exist(tmp_path):
    task = make_task(tmp_path, "a")
    missing = Task(task.label, task.stage, ["/nowhere/python"], None)
    assert "cannot be started" in run([missing], tmp_path)["a"].problem


def test_no_more_than_jobs_at_once(tmp_path):
    count = (
        "import sys, pathlib, time; p = pathlib.Path(sys.argv[1]); mark = p.with_name('mark_' + p.name); mark.touch()\n"
        "time.sleep(0.2); n = len(list(p.parent.glob('mark_*'))); p.with_name('seen').open('a').write(f'{n} ')\n"
        "mark.unlink()\n" + FINISH
    )
    run([make_task(tmp_path, f"t{i}", count) for i in range(4)], tmp_path, jobs=2)
    seen = [int(number) for number in (tmp_path / "seen").read_text().split()]
    assert len(seen) == 4
    assert max(seen) <= 2


def test_running_processes_end_with_the_sweep(tmp_path):
    waits = "import sys, pathlib, time; pathlib.Path(sys.argv[1] + '.started').touch(); time.sleep(60)"
    outcomes = run_tasks(
        [make_task(tmp_path, "quick"), make_task(tmp_path, "slow", waits)], jobs=2, logs=tmp_path / "l"
    )
    assert next(outcomes).task.label == "quick"
    begin = time.perf_counter()
    outcomes.close()
    assert time.perf_counter() - begin < 10


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_scheduler_s_signal_reaches_the_processes_which_may_write_a_checkpoint(tmp_path, monkeypatch, number):
    monkeypatch.setattr(tasks, "_SECONDS_TO_END", 0.0)  # of Ctrl-C
    trains = (
        "import sys, pathlib, signal, time; p = pathlib.Path(sys.argv[1])\n"
        "def end(number, _): time.sleep(1); p.with_name('checkpoint').write_text(str(number)); sys.exit(128 + number)\n"
        "for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1): signal.signal(number, end)\n"
        "p.with_name('started').touch(); time.sleep(60)"
    )
    waits = "import sys, pathlib, time; p = pathlib.Path(sys.argv[1]).with_name('started')\nwhile not p.exists(): "
    given = [make_task(tmp_path, "slow", trains), make_task(tmp_path, "quick", waits + "time.sleep(0.05)\n" + FINISH)]
    outcomes = run_tasks([*given, make_task(tmp_path, "later", needs="slow")], jobs=2, logs=tmp_path / "l")
    assert next(outcomes).task.label == "quick"
    os.kill(os.getpid(), number)
    with pytest.raises(Preempted, match=f"ended by {number.name}"):
        next(outcomes)
    assert (tmp_path / "checkpoint").read_text() == str(number.value)
    assert signal.getsignal(number) is signal.SIG_DFL
