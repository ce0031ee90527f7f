"""Run the stages of a benchmark in order, each as a process of its own, and report the result."""

import argparse
import sys
import time
from collections.abc import Iterator

from bench.config.benchmarks import Benchmark
from bench.config.mixture import MixtureGenerator
from bench.config.settings import GeneratorSettings
from bench.machine.progress import note
from bench.runs import tracking
from bench.runs.fingerprints import part_stage
from bench.runs.inputs import make_rendered_protocols
from bench.runs.launch import run_command, stage_command
from bench.runs.stage import Stages, read_latest, write_latest


def run_benchmark(benchmark: Benchmark, stages: Stages, args: argparse.Namespace) -> Iterator[str]:
    """Run every stage that is not finished, then update the leaderboard and MLflow.

    Args:
        benchmark: Entry of benchmarks.yaml.
        stages: Its stages.
        args: Values of the stage flags (``bench.cli.add_stage_flags``).

    Yields:
        Lines for the terminal.

    Raises:
        SystemExit: With the status of a stage that failed.
    """
    start = time.perf_counter()
    latest = read_latest(args.runs, benchmark.name)
    if not stages.generate.is_finished:
        yield from _make_parts(benchmark.generator, args)
    for stage in stages:
        reason = stage.reason(latest.get(stage.name))
        if stage.is_finished:
            yield f"{stage.name}: skip, {reason} ({stage.directory})"
            continue
        yield f"{stage.name}: run, {reason}"
        if stage.name != "generate":
            make_rendered_protocols(benchmark.protocols, args.runs)
        _run_or_exit(stage_command(stage, args))
    write_latest(args.runs, benchmark.name, stages)
    _, problem = tracking.sync(args.runs)
    if problem:
        note(f"warning: {problem}; the cards are kept, send them later with: {tracking.sync_command(args.runs)}")
    command = [sys.executable, "-m", "evaluate", "leaderboard", "--runs", str(args.runs), "--result"]
    _run_or_exit([*command, str(stages.evaluate.directory)])
    yield f"faces        {stages.generate.directory / 'grid.png'}"
    yield f"MLflow       make ui   ({tracking.shown_uri(args.runs)})"
    yield f"wall time    {time.perf_counter() - start:.0f} s"


def _make_parts(generator: GeneratorSettings, args: argparse.Namespace) -> Iterator[str]:
    """Make the faces of the benchmarks that a mixture takes faces from, and of the parts of these."""
    if not isinstance(generator, MixtureGenerator):
        return
    for part in generator.parts:
        if part.generator is None:
            continue
        stage = part_stage(part, seed=args.seed, runs=args.runs)
        if stage.is_finished:
            yield f"part {part.label}: skip, unchanged ({stage.directory})"
            continue
        of_part = argparse.Namespace(**vars(args) | {"scale": part.benchmark, "seed": stage.inputs["seed"]})
        yield from _make_parts(part.generator, of_part)
        yield f"part {part.label}: run"
        _run_or_exit(stage_command(stage, of_part))


def _run_or_exit(command: list[str]) -> None:
    """Run a command; end with its status if it fails. The command has said why."""
    if status := run_command(command):
        sys.exit(status)
