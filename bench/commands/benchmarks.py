"""The sub-commands that run, plan and tidy benchmarks and sweeps."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from bench.cli import Command, add_seeds_flag, add_stage_flags, chosen_seeds
from bench.config import flags
from bench.config.benchmarks import Benchmark, load_benchmark
from bench.errors import InputError
from bench.runs.fingerprints import plan_stages
from bench.runs.inputs import MissingInput, fetch_inputs, missing_error, missing_inputs
from bench.runs.stage import Stages, check_weights


def _add_run_flags(parser: argparse.ArgumentParser) -> None:
    add_stage_flags(parser)
    add_seeds_flag(parser)


def _run(args: argparse.Namespace) -> Iterator[str]:
    from bench.runs.benchmark import run_benchmark

    benchmark, stages_by_seed, missing = _plan_of(args)
    if missing:
        raise missing_error(
            f"SCALE={benchmark.name} cannot start, {len(missing)} inputs are missing:",
            missing,
            f"make fetch SCALE={benchmark.name} downloads those that the Hub has",
        )
    if not all(stage.is_finished for stages in stages_by_seed.values() for stage in stages):
        _refuse_unknown_gpu(args.device)
    for stages in stages_by_seed.values():
        check_weights(stages.generate, args.weights)
    return run_benchmark(benchmark, stages_by_seed, args)


def _refuse_unknown_gpu(device: str) -> None:
    """Refuse a GPU that is not there before the first stage, which may need none. Other devices need no torch."""
    if device.startswith("cuda"):
        from bench.machine.device import choose_device
        from bench.runs.launch import num_processes

        choose_device(device, num_processes())


def _plan(args: argparse.Namespace) -> str:
    from bench.runs.plan.describe import describe_plan

    return describe_plan(*_plan_of(args), args.runs)


def _rehearse(args: argparse.Namespace) -> Iterator[str]:
    from bench.machine.device import choose_device
    from bench.runs.launch import num_processes
    from bench.runs.plan.describe import describe_plan
    from bench.runs.plan.rehearse import Rehearsal

    benchmark, stages_by_seed, missing = _plan_of(args)
    args.seed = next(iter(stages_by_seed))
    rehearsal = Rehearsal(benchmark, missing, args, choose_device(args.device, num_processes()))
    yield from rehearsal.run()
    yield describe_plan(benchmark, stages_by_seed, missing, args.runs)
    if problems := rehearsal.measured.problems:
        lines = f"the lines that begin with problem ({len(problems)})"
        raise InputError(f"the rehearsal found what would stop the run, see {lines}")


def _add_sweep_flags(parser: argparse.ArgumentParser) -> None:
    from bench.config.sweeps import SWEEPS_PATH

    parser.add_argument("name", nargs="?", metavar="NAME", help="entry of sweeps.yaml")
    parser.add_argument("--jobs", type=flags.count, default=1, metavar="N", help="stages at once (default: 1)")
    parser.add_argument("--plan", action="store_true", help="print the points and what each still needs; start nothing")
    parser.add_argument(
        "--seeds",
        type=flags.seeds,
        default=(),
        metavar="SEEDS",
        help="seeds of every point in one word, as in '0 1 2' (default: those of the sweep)",
    )
    parser.add_argument("--sweeps", type=Path, default=SWEEPS_PATH, help="file of sweeps (default: sweeps.yaml)")
    add_stage_flags(parser, "--device", "--runs", "--test-sets", "--weights", "--config")


def _sweep(args: argparse.Namespace) -> str | Iterator[str]:
    from bench.config.sweeps import load_sweep
    from bench.runs.sweeps.points import make_points
    from bench.runs.sweeps.run import describe_sweep, run_sweep

    sweep = load_sweep(args.name, args.sweeps)
    points = make_points(sweep, config=args.config, runs=args.runs, test_sets=args.test_sets, seeds=args.seeds)
    return describe_sweep(sweep, points, args) if args.plan else run_sweep(sweep, points, args)


def _add_prune_flags(parser: argparse.ArgumentParser) -> None:
    from bench.config.sweeps import SWEEPS_PATH

    add_stage_flags(parser, "--runs", "--test-sets", "--config")
    parser.add_argument("--sweeps", type=Path, default=SWEEPS_PATH, help="file of sweeps (default: sweeps.yaml)")
    parser.add_argument("--yes", action="store_true", help="delete what is listed (default: only list it)")


def _prune(args: argparse.Namespace) -> Iterator[str]:
    from bench.runs.sweeps.prune import find_unnamed, prune

    folders = {"runs": args.runs, "config": args.config, "sweeps": args.sweeps, "test_sets": args.test_sets}
    return prune(find_unnamed(**folders), deletes=args.yes)


def _plan_of(args: argparse.Namespace) -> tuple[Benchmark, dict[int, Stages], list[MissingInput]]:
    """The benchmark that the flags name, its stages by seed, and the files that it lacks."""
    benchmark = load_benchmark(args.scale, args.config, args.set)
    stages_by_seed = {
        seed: plan_stages(benchmark, seed=seed, runs=args.runs, test_sets=args.test_sets)
        for seed in chosen_seeds(args, benchmark.seeds)
    }
    return benchmark, stages_by_seed, missing_inputs(benchmark, test_sets=args.test_sets, weights=args.weights)


def _fetch(args: argparse.Namespace) -> Iterator[str]:
    return fetch_inputs(load_benchmark(args.scale, args.config), test_sets=args.test_sets, weights=args.weights)


def _sync(args: argparse.Namespace) -> str:
    from bench.runs.tracking.addresses import shown_uri
    from bench.runs.tracking.sending import sync

    num_sent, problem = sync(args.runs)
    if problem:
        raise InputError(f"{problem}; the cards are kept: repair the connection and run this command again")
    return f"{num_sent} results sent to {shown_uri(args.runs)}"


COMMANDS = (
    Command(
        "run",
        "Run all stages: generate, train, evaluate, leaderboard",
        "Run all stages of a benchmark. Reads the entry --scale of benchmarks.yaml, and the weights and test sets "
        "that it names. Writes faces, networks and results below --runs, and the leaderboard. A finished stage is "
        "skipped, an interrupted one is resumed. --seeds runs several seeds one after the other, and --set changes "
        "fields of the entry. The environment variables NPROC, LAUNCH and TRAIN_FLAGS say how "
        "stages are started.",
        "bench run --scale smoke --seeds '0 1 2' --set 'generator.num_identities=100'",
        _add_run_flags,
        _run,
    ),
    Command(
        "plan",
        "Print what would run and why, what is missing, the disk and the hours",
        "Print which stages of a benchmark would run and why, which inputs are missing and where to get them, and "
        "the images, disk, memory and hours that it needs. Starts and writes nothing. Use it before a long run.",
        "bench plan --scale 20k",
        _add_run_flags,
        _plan,
    ),
    Command(
        "rehearse",
        "Run every stage on a few identities and steps, to measure the rates that bench plan states",
        "Rehearse a benchmark before its long run: every stage once, with the weights and the recipe of the entry, on "
        "a few identities, steps and pairs. Give it the device, and in the environment NPROC and TRAIN_FLAGS, of the "
        "long run. Measures images per second, memory and disk, and writes RUNS/rehearsals/SCALE.json, which bench "
        "plan reads. Ends with status 2 if it finds what would stop the run. A rehearsal leaves no results; of several "
        "seeds it takes the first. It takes minutes.",
        "bench rehearse --scale 20k",
        _add_run_flags,
        _rehearse,
    ),
    Command(
        "sweep",
        "Run all points of a sweep: benchmarks with other settings and seeds",
        "Run a sweep: benchmarks with other values of some fields, each by several seeds. Reads an entry of "
        "sweeps.yaml and the benchmarks that it varies. The points are ordinary runs below --runs; finished ones "
        "are skipped, datasets that points share are made once, and the others go on when a point fails. "
        "Writes plan, table, figures and page into RUNS/sweeps/NAME. Use it to learn how much a setting matters.",
        "bench sweep smoke_size --jobs 2",
        _add_sweep_flags,
        _sweep,
    ),
    Command(
        "fetch",
        "Download all weights and test sets that a benchmark lacks",
        "Download every file that the entry --scale of benchmarks.yaml lacks and that the Hugging Face Hub has: "
        "weights and published datasets into --weights, test sets into --test-sets. If other files are missing, it "
        "prints where to get them and ends with status 2. Use it on a machine with internet, before a run on "
        "machines without.",
        "bench fetch --scale 20k",
        lambda parser: add_stage_flags(parser, "--scale", "--config", "--test-sets", "--weights"),
        _fetch,
    ),
    Command(
        "sync",
        "Send results to MLflow that it does not have yet",
        "Send every finished result and audit below --runs to MLflow, unless it was sent before. A benchmark does "
        "so at its end; use this command after the tracking server could not be reached.",
        "bench sync",
        lambda parser: add_stage_flags(parser, "--runs"),
        _sync,
    ),
    Command(
        "prune",
        "List, and with --yes delete, runs that no benchmark, sweep or latest.json names",
        "List the folders of faces, networks and results below --runs that no entry of benchmarks.yaml, no sweep "
        "and no latest.json leads to, with their size: those of changed settings and of entries that are gone. "
        "With --yes, delete them; folders that are in use are left. Audits, trained generators and results of "
        "given networks are never touched. Use it to make room after settings were tried.",
        "bench prune",
        _add_prune_flags,
        _prune,
    ),
)
