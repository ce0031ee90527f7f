"""The sub-commands of open challenges: submit and cards."""

import argparse
from pathlib import Path

from bench.cli import Command, add_stage_flags
from bench.config.benchmarks import load_benchmark
from bench.errors import InputError, how_to_make
from bench.files import read_text

_FORMATS = ("datacv",)


def _add_submit_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "pairs", type=Path, metavar="PAIRS", help="unlabelled pairs: .xz or .npy, or a folder with images.npy"
    )
    parser.add_argument(
        "--format", choices=_FORMATS, default="datacv", help="challenge whose file is written (default: datacv)"
    )
    parser.add_argument(
        "--model", type=Path, help=".safetensors, .pth, .ckpt or .onnx file (default: the trained network of --scale)"
    )
    parser.add_argument("--out", type=Path, default=Path(), help="folder of the file (default: this folder)")
    add_stage_flags(parser, "--scale", "--seed", "--device", "--runs", "--test-sets", "--config", scale="datacv_10k")


def _submit(args: argparse.Namespace) -> str:
    from bench.machine.device import choose_device
    from bench.runs.fingerprints import plan_stages
    from bench.runs.parents import checked_weights
    from evaluate.challenge.submit import division_of, write_datacv_file
    from evaluate.layouts.unlabelled import open_unlabelled
    from evaluate.measure.embed import load_network

    benchmark = load_benchmark(args.scale, args.config)
    division = division_of(benchmark, args.format)
    pairs, device = open_unlabelled(args.pairs), choose_device(args.device)
    stages = plan_stages(benchmark, seed=args.seed, runs=args.runs, test_sets=args.test_sets)
    if not (args.model or stages.train.is_finished):
        advice = how_to_make("train", benchmark.name)
        raise InputError(f"{stages.train.directory} holds no trained network; {advice}, or give --model")
    network = load_network(args.model or checked_weights(stages.train.directory), device)
    path = write_datacv_file(pairs, network, args.out, scale=division.scale or "", device=device)
    return f"submit: {pairs.num_pairs:,} distances in {path}"


def _add_cards_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("head", type=Path, metavar="HEAD", help="folder reports/results of the pull request")
    parser.add_argument("--base", type=Path, required=True, help="the same folder before the pull request")
    parser.add_argument(
        "--changed", type=Path, help="text file with the path of every changed file, one a line (default: not checked)"
    )


def _cards(args: argparse.Namespace) -> str:
    from evaluate.challenge.pull_request import check_pull_request

    changed = read_text(args.changed).split("\n") if args.changed else None
    return check_pull_request(args.base, args.head, [name for name in changed if name] if changed else None)


COMMANDS = (
    Command(
        "submit",
        "Write the file that a challenge's server takes",
        "Write the squared distance of every pair of an unlabelled file, as a challenge's server takes it. Reads PAIRS "
        "and the network of --scale, an entry of benchmarks.yaml with a division of the challenge, and writes "
        "NAME_SCALE_result.txt into --out, such as testA_10K_result.txt. Use it once the network of the entry is "
        "trained.",
        "evaluate submit testA.xz --scale datacv_10k",
        _add_submit_flags,
        _submit,
    ),
    Command(
        "cards",
        "Check the cards that a pull request adds",
        "Check the result cards of a pull request: every new card keeps the rules of the leaderboard, no row is "
        "changed or removed, and nothing else changes. Reads HEAD and --base as data, runs nothing of them, and writes "
        "nothing. The workflow .github/workflows/cards.yml runs it; run it before you open a pull request.",
        "evaluate cards reports/results --base ../main/reports/results",
        _add_cards_flags,
        _cards,
    ),
)
