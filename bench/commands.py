"""The sub-commands of ``python -m bench``: their flags, their help, and the call behind each."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from bench.cli import Command, add_stage_flags
from bench.config import flags
from bench.config.benchmarks import Benchmark, load_benchmark
from bench.errors import InputError
from bench.runs.fingerprints import plan_stages
from bench.runs.inputs import MissingInput, fetch_inputs, missing_inputs
from bench.runs.stage import Stages, check_weights


def _run(args: argparse.Namespace) -> Iterator[str]:
    from bench.runs.benchmark import run_benchmark
    from bench.runs.plan import describe_missing

    benchmark, stages, missing = _plan_of(args)
    if missing:
        raise InputError(describe_missing(benchmark, missing))
    check_weights(stages.generate, args.weights)
    return run_benchmark(benchmark, stages, args)


def _plan(args: argparse.Namespace) -> str:
    from bench.runs.plan import describe_plan

    return describe_plan(*_plan_of(args), args.runs)


def _plan_of(args: argparse.Namespace) -> tuple[Benchmark, Stages, list[MissingInput]]:
    """The benchmark that the flags name, its stages, and the files that it lacks."""
    benchmark = load_benchmark(args.scale, args.config)
    stages = plan_stages(benchmark, seed=args.seed, runs=args.runs, test_sets=args.test_sets)
    return benchmark, stages, missing_inputs(benchmark, test_sets=args.test_sets, weights=args.weights)


def _fetch(args: argparse.Namespace) -> Iterator[str]:
    return fetch_inputs(load_benchmark(args.scale, args.config), test_sets=args.test_sets, weights=args.weights)


def _sync(args: argparse.Namespace) -> str:
    from bench.runs import tracking

    num_sent, problem = tracking.sync(args.runs)
    if problem:
        raise InputError(f"{problem}; the cards are kept: repair the connection and run this command again")
    return f"{num_sent} results sent to {tracking.shown_uri(args.runs)}"


def _add_convert_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="IN", help="LMDB, .rec, WebDataset shards, or folder with one per identity")
    parser.add_argument("target", metavar="OUT", help="LMDB file, or folder for the other layouts; must not exist")
    parser.add_argument(
        "--to", choices=("lmdb", "rec", "shards", "folder"), default="lmdb", help="layout to write (default: lmdb)"
    )
    parser.add_argument("--mask", help=".npy of positions: write only these faces, in this order (default: all)")
    parser.add_argument(
        "--shift-right",
        type=flags.pixels,
        default=0,
        metavar="PIXELS",
        help="move every face to the right; 8 corrects faces cut by ArcFace's 96 x 112 template (default: 0)",
    )
    parser.add_argument(
        "--align",
        type=Path,
        metavar="LANDMARKS",
        help="align the images of a folder to 112 x 112; lines of 'image x1 y1 ... x5 y5' (default: leave them)",
    )


def _convert(args: argparse.Namespace) -> str:
    from bench.faces.convert import convert
    from bench.faces.open import open_faces

    faces = open_faces(args.source, args.mask)
    convert(faces, args.target, args.to, shift_right=args.shift_right, landmarks=args.align)
    return f"{args.target}: {len(faces)} faces of {faces.num_identities} identities"


COMMANDS = {
    "benchmarks": (
        Command(
            "run",
            "Run all stages: generate, train, evaluate, leaderboard",
            "Run all stages of a benchmark. Reads the entry --scale of benchmarks.yaml, and the weights and test sets "
            "that it names. Writes faces, networks and results below --runs, and the leaderboard. A finished stage is "
            "skipped, an interrupted one is resumed. The environment variables NPROC, LAUNCH and TRAIN_FLAGS say how "
            "stages are started.",
            "bench run --scale smoke",
            add_stage_flags,
            _run,
        ),
        Command(
            "plan",
            "Print what would run and why, what is missing, the disk and the hours",
            "Print which stages of a benchmark would run and why, which inputs are missing and where to get them, and "
            "the images, disk, memory and hours that it needs. Starts and writes nothing. Use it before a long run.",
            "bench plan --scale 20k",
            add_stage_flags,
            _plan,
        ),
        Command(
            "fetch",
            "Download all weights and test sets that a benchmark lacks",
            "Download every file that the entry --scale of benchmarks.yaml lacks and that the Hugging Face Hub has: "
            "weights and published datasets into --weights, test sets into --test-sets. Says of the others where to "
            "get them, and ends with status 2 then. Use it once where there is a network, before a run on machines "
            "that have none.",
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
    ),
    "face datasets": (
        Command(
            "convert",
            "Write a face dataset in another layout",
            "Read a face dataset in any layout and write it in another. Image files are copied unchanged, unless they "
            "are shifted or aligned. Use it to bring a dataset into a trainer that reads one layout only.",
            "bench convert faces/train.rec faces.lmdb --to lmdb",
            _add_convert_flags,
            _convert,
        ),
    ),
}
