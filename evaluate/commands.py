"""The sub-commands that prepare or describe data: their flags, and the call behind each.

Each call imports what it needs, so that ``--help`` stays quick, and returns the text to print.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli import add_stage_flags
from bench.config.benchmarks import load_benchmark
from bench.errors import InputError
from bench.machine.device import choose_device
from bench.runs.stage import plan_stages

if TYPE_CHECKING:
    from evaluate.audit.source import Source


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parsers."""
    text = "download verification sets from the Hub; for the others, say where to ask"
    fetching = commands.add_parser("fetch", help=text, description=text)
    fetching.add_argument("names", nargs="*", help="which sets (default: all that are known)")
    fetching.add_argument("--test-sets", type=Path, default=Path("test_sets"), help="folder of verification sets")
    fetching.add_argument("--revision", default="main", help="revision of the repository (default: main)")
    text = "a verification set in any layout from a folder of images and a pairs file, aligned by five landmarks"
    packing = commands.add_parser("pack", help=text, description=text)
    packing.add_argument("folder", type=Path, help="folder of the images that the pairs name")
    packing.add_argument("--pairs", type=Path, required=True, help="pairs file: LFW's layout, or 'pathA pathB 0|1'")
    packing.add_argument("--landmarks", type=Path, help="'image x1 y1 ... x5 y5' per line, where not aligned yet")
    packing.add_argument("--out", type=Path, required=True, help="NAME.bin, NAME.xz, NAME.npy or a folder")
    text = "what a face dataset is like: duplicates, separation, consistency, diversity, leakage"
    auditing = commands.add_parser("audit", help=text, description=text)
    add_stage_flags(auditing)
    auditing.add_argument("path", type=Path, nargs="?", help="LMDB, .rec or folder (default: the faces of --scale)")
    auditing.add_argument("--network", type=Path, help="recognition network, .safetensors, .pth or .onnx")
    auditing.add_argument("--against", nargs="+", default=[], metavar="SET", help="datasets or test sets, leakage")
    auditing.add_argument("--mask", help=".npy of positions: only these faces")
    auditing.add_argument("--quality", type=Path, help="MagFace weights (.pth), or any TorchScript or ONNX estimator")
    auditing.add_argument("--yaw", type=Path, help="6DRepNet weights (.pth), or any TorchScript or ONNX estimator")

    text = "render the leaderboard of the results in --runs"
    leaderboard = commands.add_parser("leaderboard", help=text, description=text)
    leaderboard.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs (default: runs)")
    leaderboard.add_argument("--committed", type=Path, help="render the committed results of this folder instead")
    text = "what differs between two results, and whether by more than chance"
    comparing = commands.add_parser("compare", help=text, description=text)
    comparing.add_argument("results", type=Path, nargs=2, metavar="RESULT", help="folder of a result.json, or its file")
    text = "copy results into reports/results and render reports/leaderboard.*"
    publishing = commands.add_parser("publish", help=text, description=text)
    publishing.add_argument("results", type=Path, nargs="*", metavar="FOLDER", help="folder of a result.json")
    publishing.add_argument("--reports", type=Path, default=Path("reports"), help="where to (default: reports)")


def _fetch(args: argparse.Namespace) -> str:
    from evaluate.test_sets.fetch import fetch_test_sets

    return fetch_test_sets(args.names, args.test_sets, revision=args.revision)


def _pack(args: argparse.Namespace) -> str:
    from evaluate.test_sets.pack import pack

    protocol = pack(args.folder, args.pairs, args.out, args.landmarks)
    return f"{args.out}: {protocol.num_pairs:,} pairs of {len(protocol.faces):,} images, SHA-256 {protocol.sha256}"


def _audit(args: argparse.Namespace) -> str:
    """Find the faces, load the networks, audit unless that is done; the path of the page."""
    from bench.files import sha256
    from bench.runs.cards import AuditCard, read_card
    from bench.runs.stage import audit_stage
    from bench.runs.tracking import sync
    from evaluate.audit.embeddings import Embedder
    from evaluate.audit.page import at_a_glance
    from evaluate.audit.run import audit
    from evaluate.audit.source import find_source, open_source
    from evaluate.measure.embed import load_network

    source = open_source(args.path, mask=args.mask) if args.path else _faces_of_scale(args)
    references = [find_source(name, args.test_sets) for name in args.against]
    if references and args.network is None:
        raise InputError("--against needs --network, by whose embeddings faces are compared; give a .pth or .onnx file")
    network = {"name": args.network.name, "sha256": sha256(args.network)} if args.network else None
    files = {name: path for name in ("quality", "yaw") if (path := getattr(args, name))}
    states = {reference.name: reference.state for reference in references}
    inputs = network and network | {name: sha256(path) for name, path in files.items()}
    scale = "datasets" if args.path else args.scale
    stage = audit_stage(scale, (source.name, source.state), states, inputs, runs=args.runs)
    if stage.is_finished:
        return f"audit: skip, unchanged ({stage.directory / 'audit.html'})"
    device = choose_device(args.device)
    embedder = None
    if network:
        estimators = {name: args.load_estimator(name, path, device) for name, path in files.items()}
        embedder = Embedder(load_network(args.network, device), network["sha256"], device, estimators)
    audit(stage, source, references, embedder, cache=args.runs / "embeddings", seed=args.seed)
    _, problem = sync(args.runs)
    rows = at_a_glance(read_card(stage.directory, AuditCard))
    return "\n".join(
        [
            *(f"{name:<28} {value:>9}  {meaning}" for name, value, meaning in rows),
            f"report {stage.directory / 'audit.html'}",
            *([f"warning: {problem}; the card is kept, send it later with: python -m bench sync"] if problem else []),
        ]
    )


def _faces_of_scale(args: argparse.Namespace) -> "Source":
    """The finished dataset of a benchmark."""
    from bench.faces.grid import open_dataset
    from evaluate.audit.source import dataset_source

    benchmark = load_benchmark(args.scale, args.config)
    stage = plan_stages(benchmark, seed=args.seed, runs=args.runs, test_sets=args.test_sets).generate
    if not stage.is_finished:
        raise InputError(f"{stage.directory} holds no faces; run make generate SCALE={args.scale}, or give a path")
    return dataset_source(open_dataset(stage.directory), args.scale, stage.fingerprint)


def _leaderboard(args: argparse.Namespace) -> str:
    from evaluate.leaderboard.write import write_committed_leaderboard, write_leaderboard

    return str(write_committed_leaderboard(args.committed) if args.committed else write_leaderboard(args.runs))


def _compare(args: argparse.Namespace) -> str:
    from evaluate.leaderboard.difference import describe_difference

    return describe_difference(*args.results)


def _publish(args: argparse.Namespace) -> str:
    from evaluate.leaderboard.publish import publish

    return "\n".join(map(str, publish(args.results, args.reports)))


COMMANDS: dict[str, Callable[[argparse.Namespace], str]] = {
    "fetch": _fetch,
    "audit": _audit,
    "pack": _pack,
    "leaderboard": _leaderboard,
    "compare": _compare,
    "publish": _publish,
}
