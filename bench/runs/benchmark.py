"""Run the stages of a benchmark in order, each as a process of its own, and report the result."""

import argparse
import sys
import time
from collections.abc import Iterator, Mapping

from bench.config.benchmarks import Benchmark
from bench.config.mixture import MixtureGenerator
from bench.config.settings import GeneratorSettings
from bench.machine.progress import note
from bench.runs.fingerprints import part_stage
from bench.runs.inputs import make_rendered_protocols
from bench.runs.launch import launcher, run_command, stage_command
from bench.runs.stage import Stages, read_latest, write_latest
from bench.runs.tracking.addresses import shown_uri, sync_command
from bench.runs.tracking.sending import sync


def run_benchmark(
    benchmark: Benchmark, stages_by_seed: Mapping[int, Stages], args: argparse.Namespace
) -> Iterator[str]:
    """Run every stage that is not finished, seed by seed, then update the leaderboard and MLflow.

    Args:
        benchmark: Entry of benchmarks.yaml.
        stages_by_seed: Its stages by seed.
        args: Values of the stage flags (``bench.cli.add_stage_flags``).

    Yields:
        Lines for the terminal.

    Raises:
        SystemExit: With the status of a stage that failed.
    """
    start = time.perf_counter()
    for seed, stages in stages_by_seed.items():
        if len(stages_by_seed) > 1:
            yield f"seed {seed}"
        yield from _run_stages(benchmark, stages, argparse.Namespace(**vars(args) | {"seed": seed}))
    _, problem = sync(args.runs)
    if problem:
        note(f"warning: {problem}; the cards are kept, send them later with: {sync_command(args.runs)}")
    results = [str(stages.evaluate.directory) for stages in stages_by_seed.values()]
    _run_or_exit([sys.executable, "-m", "evaluate", "leaderboard", "--runs", str(args.runs), "--result", *results])
    yield f"faces        {stages.generate.directory / 'grid.png'}"
    yield f"MLflow       make ui   ({shown_uri(args.runs)})"
    yield f"wall time    {time.perf_counter() - start:.0f} s"


def _run_stages(benchmark: Benchmark, stages: Stages, args: argparse.Namespace) -> Iterator[str]:
    """Run the stages of one seed that are not finished, and record them as the latest of the benchmark."""
    latest = read_latest(args.runs, benchmark.name)
    if not stages.generate.is_finished:
        yield from make_parts(benchmark.generator, args)
    for stage in stages:
        reason = stage.reason(latest.get(stage.name))
        if stage.is_finished:
            yield f"{stage.name}: skip, {reason} ({stage.directory})"
            continue
        yield f"{stage.name}: run, {reason}"
        if stage.name != "generate":
            make_rendered_protocols(benchmark.protocols, args.runs, launcher())
        _run_or_exit(stage_command(stage, args))
    write_latest(args.runs, benchmark.name, stages)


def make_parts(generator: GeneratorSettings, args: argparse.Namespace) -> Iterator[str]:
    """Make the faces of the benchmarks that a mixture takes faces from, and of the parts of these.

    Args:
        generator: Section ``generator`` of a benchmark; if it is no mixture, nothing is made.
        args: Values of the stage flags. SET changes the mixture, not its parts.

    Yields:
        Lines for the terminal.

    Raises:
        SystemExit: With the status of a stage that failed.
    """
    if not isinstance(generator, MixtureGenerator):
        return
    for part in generator.parts:
        if part.generator is None:
            continue
        stage = part_stage(part, seed=args.seed, runs=args.runs)
        if stage.is_finished:
            yield f"part {part.label}: skip, unchanged ({stage.directory})"
            continue
        of_part = argparse.Namespace(**vars(args) | {"scale": part.benchmark, "seed": stage.inputs["seed"], "set": ""})
        yield from make_parts(part.generator, of_part)
        yield f"part {part.label}: run"
        _run_or_exit(stage_command(stage, of_part))


def _run_or_exit(command: list[str]) -> None:
    """Run a command; end with its status if it fails. The command has said why."""
    if status := run_command(command):
        sys.exit(status)
