"""The sub-commands that hand results to others: ship, export, demo and push."""

import argparse
import shlex
from pathlib import Path

from bench.cli import Command, add_stage_flags
from bench.errors import python_command


def _ship_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("training", type=Path, help="finished folder of generate train or train-pose")
    parser.add_argument(
        "--trained-on", required=True, help="whose faces it was trained on; printed in the card of every dataset"
    )
    parser.add_argument("--licence", required=True, help="terms under which the weights may be used")
    parser.add_argument("--out", type=Path, required=True, help="folder of the weights and their card")


def _ship(args: argparse.Namespace) -> str:
    from generate.hub.ship import ship_generator

    path = ship_generator(args.training, args.out, trained_on=args.trained_on, licence=args.licence)
    return f"ship: {path.stat().st_size / 1e6:.1f} MB in {path}"


def _export_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="generator.safetensors, or the released vec2face_generator.pth")
    parser.add_argument("--out", type=Path, required=True, help=".onnx file to write")


def _export(args: argparse.Namespace) -> str:
    from generate.export.generator import export_generator

    exported = export_generator(args.model, args.out)
    return (
        f"export: {exported.num_parameters / 1e6:.1f} million parameters, features of {exported.feature_dim} numbers, "
        f"pixels differ from PyTorch by at most {exported.max_difference:.2g} of 255 -> {args.out}"
    )


def _demo_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, help="folder to write (default: RUNS/demo/SCALE)")
    add_stage_flags(parser, "--scale", "--config", "--weights", "--runs")


def _demo(args: argparse.Namespace) -> str:
    from bench.config.benchmarks import BENCHMARKS_PATH, load_benchmark
    from generate.demo.folder import make_demo

    command = f"generate faces --scale {args.scale}"
    if args.config != BENCHMARKS_PATH:
        command += f" --config {shlex.quote(str(args.config))}"
    if args.weights != Path("weights"):
        command += f" --weights {shlex.quote(str(args.weights))}"
    folder = args.out or args.runs / "demo" / args.scale
    benchmark = load_benchmark(args.scale, args.config)
    is_new = make_demo(folder, benchmark, weights=args.weights, command=command)
    serve = python_command(f"http.server --bind 127.0.0.1 --directory {shlex.quote(str(folder))}")
    state = "made" if is_new else "unchanged"
    return f"demo: {state}, {folder}; run {serve}, then open http://localhost:8000"


def _push_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", type=Path, help="finished folder of a dataset, with dataset.json")
    parser.add_argument("--repo", required=True, metavar="USER/NAME", help="dataset repository on the Hub")
    parser.add_argument("--upload", action="store_true", help="upload the files (default: only describe the upload)")
    parser.add_argument("--public", action="store_true", help="make a new repository public (default: private)")


def _push(args: argparse.Namespace) -> str:
    from generate.hub.push import push

    return push(args.directory, args.repo, upload=args.upload, public=args.public)


COMMANDS = (
    Command(
        "ship",
        "Export a trained generator in float16 with its card",
        "Reads a finished folder of generate train or train-pose and writes generator.safetensors or pose.safetensors, "
        "with its matrices in float16 at half the size, and a card, which says what it was trained on. Needed before a "
        "benchmark uses the weights, or before they are given to others.",
        'generate ship runs/photographs --trained-on "LFW" --licence "non-commercial research" --out weights/mini',
        _ship_flags,
        _ship,
    ),
    Command(
        "export",
        "Export a Vec2Face generator as ONNX",
        "Reads the weights of any Vec2Face, the released one too, and writes one ONNX file that takes features, noise "
        "and mask_ratio and gives images. Draws random images with both and keeps the file only if they agree. Needed "
        "to draw faces without this project: in a browser, or in another language.",
        "generate export generate/assets/generator.safetensors --out generator.onnx",
        _export_flags,
        _export,
    ),
    Command(
        "demo",
        "Make a page that draws faces in a browser, offline",
        "Reads a benchmark whose generator is a Vec2Face, and its weights. Writes a folder with a page, the generator "
        "and the identity network as ONNX, and onnxruntime-web, which npm fetches once into --weights. Finds by "
        "measurement how to turn heads and in which directions people differ. Takes about a minute of one core; a "
        "finished folder is kept.",
        "generate demo --scale smoke",
        _demo_flags,
        _demo,
    ),
    Command(
        "push",
        "Upload a finished dataset to the Hugging Face Hub",
        "Reads the folder of a finished dataset and checks it against its card. Without --upload it only prints what "
        "would be uploaded. With --upload it creates the repository and uploads the LMDB, the table, the grid and the "
        "card. Log in first with hf auth login.",
        "generate push runs/20k/faces/0123456789abcdef --repo somebody/hsface20k",
        _push_flags,
        _push,
    ),
)
