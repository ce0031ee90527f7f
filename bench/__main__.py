"""The whole benchmark, its plan, cards to MLflow, faces to another layout: ``python -m bench --help``."""

import argparse
import subprocess
import sys
import time

from bench.cli import add_stage_flags, run
from bench.config.benchmarks import load_benchmark
from bench.runs import tracking
from bench.runs.cards import ResultCard, read_card
from bench.runs.inputs import missing_inputs
from bench.runs.launch import stage_command
from bench.runs.plan import describe_missing, describe_plan
from bench.runs.stage import Stages, check_weights, plan_stages, read_latest, write_latest


def main() -> int:
    """Parse, plan, run what is not finished, report."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("run", "generate, train, evaluate, leaderboard; finished stages are skipped"),
        ("plan", "what would run and why, what is missing, what it costs; starts nothing"),
        ("sync", "send finished results to MLflow that it does not have yet"),
    ):
        add_stage_flags(commands.add_parser(name, help=text, description=text))
    text = "a face dataset in another layout; image files are copied as they are, unless shifted"
    converting = commands.add_parser("convert", help=text, description=text)
    converting.add_argument("source", metavar="IN", help="LMDB, .rec, WebDataset shards, or folder by identity")
    converting.add_argument("target", metavar="OUT", help="file (lmdb) or folder (others) that shall appear")
    converting.add_argument("--to", choices=("lmdb", "rec", "shards", "folder"), default="lmdb", help="default: lmdb")
    converting.add_argument("--mask", help=".npy of positions to keep, in this order")
    converting.add_argument(
        "--shift-right",
        type=int,
        default=0,
        metavar="PIXELS",
        help="move every face; 8 mends faces cut by ArcFace's template for 96 x 112 (default: 0)",
    )
    args = parser.parse_args()
    if args.command == "convert":
        return _convert(args)
    if args.command == "sync":
        return _sync(args)
    benchmark = load_benchmark(args.scale, args.config)
    stages = plan_stages(benchmark, seed=args.seed, runs=args.runs, test_sets=args.test_sets)
    missing = missing_inputs(benchmark, test_sets=args.test_sets, weights=args.weights)
    if args.command == "plan":
        print(describe_plan(benchmark, stages, missing, args.runs))
        return 0
    if missing:
        sys.stderr.write(f"error: {describe_missing(benchmark, missing)}\n")
        return 2
    check_weights(stages.generate, args.weights)
    return _run(args, stages)


def _convert(args: argparse.Namespace) -> int:
    from bench.faces.convert import convert
    from bench.faces.lmdb_file import open_faces

    faces = open_faces(args.source, args.mask)
    convert(faces, args.target, args.to, shift_right=args.shift_right)
    print(f"{args.target}: {len(faces)} faces of {faces.num_identities} identities")
    return 0


def _run(args: argparse.Namespace, stages: Stages) -> int:
    start = time.perf_counter()
    latest = read_latest(args.runs, args.scale)
    for stage in stages:
        reason = stage.reason(latest.get(stage.name))
        if stage.is_finished:
            print(f"{stage.name}: skip, {reason} ({stage.directory})", flush=True)
            continue
        print(f"{stage.name}: run, {reason}", flush=True)
        status = subprocess.run(stage_command(stage, args), check=False).returncode
        if status:
            return status
    write_latest(args.runs, args.scale, stages)
    _sync(args)
    _report(args, stages, time.perf_counter() - start)
    return 0


def _sync(args: argparse.Namespace) -> int:
    num_sent, problem = tracking.sync(args.runs)
    if problem:
        sys.stderr.write(f"warning: {problem}; cards are kept, send them later with: python -m bench sync\n")
    elif args.command == "sync":
        print(f"{num_sent} results sent to {tracking.tracking_uri(args.runs)}")
    return 1 if problem and args.command == "sync" else 0


def _report(args: argparse.Namespace, stages: Stages, seconds: float) -> None:
    from evaluate.leaderboard.write import format_row, write_leaderboard

    leaderboard = write_leaderboard(args.runs)
    result = read_card(stages.evaluate.directory, ResultCard)
    print(f"\n{format_row(result)}\n")
    print(f"result       {stages.evaluate.directory / 'result.json'}")
    print(f"report       {leaderboard}")
    print(f"faces        {stages.generate.directory / 'grid.png'}")
    print(f"MLflow       make ui   ({tracking.tracking_uri(args.runs)})")
    print(f"wall time    {seconds:.0f} s")


if __name__ == "__main__":
    run(main)
