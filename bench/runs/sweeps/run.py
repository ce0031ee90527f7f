"""Run a sweep: its plan, every stage that is not finished, MLflow, then table, figures and page.

A sweep that was killed goes on where it was: finished stages are skipped and interrupted ones are resumed. Points that
failed are tried again.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from bench.config.overrides import join_changes
from bench.config.sweeps import Sweep
from bench.errors import InputError
from bench.machine.preemption import ENDED_BY_SIGNAL
from bench.machine.progress import note
from bench.runs.benchmark import make_parts
from bench.runs.inputs import make_rendered_protocols, missing_inputs
from bench.runs.launch import launcher, run_command, stage_command
from bench.runs.stage import check_weights, stage_lock
from bench.runs.sweeps.plan_file import make_plan, sweep_dir, write_plan
from bench.runs.sweeps.points import Point
from bench.runs.sweeps.tasks import Outcome, Task, run_tasks
from bench.runs.tracking.addresses import shown_uri
from bench.runs.tracking.nesting import set_parent
from bench.runs.tracking.sending import sync

_SECONDS_BETWEEN_SYNCS = 60.0


def describe_sweep(sweep: Sweep, points: Sequence[Point], args: argparse.Namespace) -> str:
    """The plan of a sweep as text: its points, what each still has to do, and the missing inputs. Starts nothing."""
    tasks = {task.stage.directory for task in make_tasks(points, args)}
    lines = [f"sweep {sweep.name}: {sweep.about}", "", f"{len(points)} points, {len(tasks)} stages to run"]
    for point in points:
        to_do = [stage.name for stage in point.stages if stage.directory in tasks]
        lines.append(f"  {point.label}: {', '.join(to_do) if to_do else 'finished'}")
    missing = _missing(points, args)
    return "\n".join([*lines, "", *(["missing inputs", *missing] if missing else ["missing inputs: none"])])


def run_sweep(sweep: Sweep, points: Sequence[Point], args: argparse.Namespace) -> Iterator[str]:
    """Run all points of a sweep that are not finished.

    Args:
        sweep: The sweep.
        points: Its points.
        args: Values of the stage flags, and ``jobs``: stages at once.

    Yields:
        Lines for the terminal.

    Raises:
        InputError: If another process runs this sweep, an input is missing, or points failed, after all others ended.
    """
    if missing := _missing(points, args):
        raise InputError(f"sweep {sweep.name} cannot start, {len(missing)} inputs are missing:\n" + "\n".join(missing))
    for point in points:
        check_weights(point.stages.generate, args.weights)
    folder = sweep_dir(sweep.name, args.runs)
    with stage_lock(folder):
        problems = yield from _run_points(sweep, points, args, folder)
        yield from _report(sweep, points, args, folder)
    for label, problem in problems.items():
        yield f"failed       {label}: {problem}"
    if problems:
        label, problem = next(iter(problems.items()))
        raise InputError(
            f"{len(problems)} of {len(points)} points failed, the first is {label}: {problem}; correct the cause and "
            f"give the same command again (output of the stages: {folder / 'logs'})"
        )


def make_tasks(points: Sequence[Point], args: argparse.Namespace) -> list[Task]:
    """The stages of the points that are not finished, each once, datasets first.

    Args:
        points: Points of a sweep.
        args: Values of the stage flags.
    """
    tasks: dict[Path, Task] = {}
    for point in points:
        before: Path | None = None
        for stage in point.stages:
            if stage.is_finished:
                continue
            if stage.directory not in tasks:
                command = stage_command(stage, _flags_of(point, args))
                needs = before if before in tasks else None
                tasks[stage.directory] = Task(f"{stage.name} {point.label}", stage, command, needs)
            before = stage.directory
    order = {"generate": 0, "train": 1, "evaluate": 2}
    return sorted(tasks.values(), key=lambda task: -order[task.stage.name])  # finish points before new ones start


def _flags_of(point: Point, args: argparse.Namespace) -> argparse.Namespace:
    own = {"scale": point.benchmark.name, "seed": point.seed, "set": join_changes(point.changes)}
    return argparse.Namespace(**vars(args) | own)


def _make_parts(points: Sequence[Point], args: argparse.Namespace) -> Iterator[str]:
    """Make the faces that the points' mixtures take. A point whose parts cannot be made fails later, by itself.

    Raises:
        SystemExit: If a user or a scheduler ended the stage of a part.
    """
    for point in points:
        if not point.stages.generate.is_finished:
            try:
                yield from make_parts(point.benchmark.generator, _flags_of(point, args))
            except SystemExit as end:
                if end.code in ENDED_BY_SIGNAL:
                    raise


def _run_points(
    sweep: Sweep, points: Sequence[Point], args: argparse.Namespace, folder: Path
) -> Generator[str, None, dict[str, str]]:
    """Run the stages that are not finished; returns label -> problem of each point that failed."""
    tasks = make_tasks(points, args)
    num_finished = sum(all(stage.is_finished for stage in point.stages) for point in points)
    yield f"sweep {sweep.name}: {len(points)} points, {num_finished} of them finished; {len(tasks)} stages to run"
    write_plan(folder, make_plan(sweep, points, args.runs, {}))
    protocols = {name for point in points for name in point.benchmark.protocols}
    if tasks:
        make_rendered_protocols(sorted(protocols), args.runs, launcher())
        yield from _make_parts(points, args)
    outcomes: list[Outcome] = []
    last_sent = time.monotonic()
    for outcome in run_tasks(tasks, jobs=args.jobs, logs=folder / "logs"):
        outcomes.append(outcome)
        result = f"{outcome.seconds:.0f} s" if outcome.problem is None else f"failed: {outcome.problem}"
        yield f"[{len(outcomes)}/{len(tasks)}] {outcome.task.label}: {result}"
        write_plan(folder, make_plan(sweep, points, args.runs, _problems(points, outcomes)))
        is_result = outcome.task.stage.name == "evaluate" and outcome.problem is None
        if is_result and time.monotonic() - last_sent > _SECONDS_BETWEEN_SYNCS:
            _send(sweep, points, args.runs)
            last_sent = time.monotonic()
    return _problems(points, outcomes)


def _problems(points: Sequence[Point], outcomes: Sequence[Outcome]) -> dict[str, str]:
    """Label -> problem of each point with a stage that failed."""
    failed = {outcome.task.stage.directory: outcome.problem for outcome in outcomes if outcome.problem is not None}
    problems = {}
    for point in points:
        first = next((stage for stage in point.stages if stage.directory in failed), None)
        if first is not None:
            problems[point.label] = f"{first.name}: {failed[first.directory]}"
    return problems


def _report(sweep: Sweep, points: Sequence[Point], args: argparse.Namespace, folder: Path) -> Iterator[str]:
    """Send the finished points to MLflow under one parent, and render the sweep's page and the leaderboard."""
    if problem := _send(sweep, points, args.runs):
        note(f"warning: {problem}; the cards are kept, send them later with the same command")
    if any(point.stages.evaluate.is_finished for point in points):
        for words in (["sweep", str(folder)], ["leaderboard", "--runs", str(args.runs)]):
            if status := run_command([sys.executable, "-m", "evaluate", *words], is_quiet=True):
                raise InputError(f"evaluate {shlex.join(words)} ended with status {status}; run it by itself")
        yield f"table        {folder / 'table.csv'}"
        yield f"page         {folder / 'index.html'}"
        yield f"leaderboard  {args.runs / 'leaderboard.html'}"
    yield f"MLflow       make ui   ({shown_uri(args.runs)})"


def _send(sweep: Sweep, points: Sequence[Point], runs: Path) -> str | None:
    """Send finished points to MLflow and put them under the sweep's run; the reason if that failed."""
    _, problem = sync(runs)
    finished = [point.stages.evaluate.directory for point in points if point.stages.evaluate.is_finished]
    return problem or set_parent(finished, f"sweep {sweep.name}", runs, settings=sweep.fields, about=sweep.about)


def _missing(points: Sequence[Point], args: argparse.Namespace) -> list[str]:
    """One line for each file that some point needs and that does not exist."""
    benchmarks = {(point.benchmark.name, point.benchmark.changes): point.benchmark for point in points}
    lines: dict[str, None] = {}
    for benchmark in benchmarks.values():
        missing = missing_inputs(benchmark, test_sets=args.test_sets, weights=args.weights)
        lines |= dict.fromkeys(f"  {item}" for item in missing)
    return list(lines)
