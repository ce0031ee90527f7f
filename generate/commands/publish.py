"""The sub-commands that hand results to others: ship and push."""

import argparse
from pathlib import Path

from bench.cli import Command


def _ship_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("training", type=Path, help="finished folder of generate train")
    parser.add_argument(
        "--trained-on", required=True, help="whose faces it was trained on; printed in the card of every dataset"
    )
    parser.add_argument("--licence", required=True, help="terms under which the weights may be used")
    parser.add_argument("--out", type=Path, required=True, help="folder of generator.safetensors and its card")


def _ship(args: argparse.Namespace) -> str:
    from generate.hub.ship import ship_generator

    path = ship_generator(args.training, args.out, trained_on=args.trained_on, licence=args.licence)
    return f"ship: {path.stat().st_size / 1e6:.1f} MB in {path}"


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
        "Reads a finished folder of generate train and writes generator.safetensors, with its matrices in float16 at "
        "half the size, and generator.json, which says what it was trained on. Needed before a benchmark uses the "
        "generator, or before it is given to others.",
        'generate ship runs/photographs --trained-on "LFW" --licence "non-commercial research" --out weights/mini',
        _ship_flags,
        _ship,
    ),
    Command(
        "push",
        "Upload a finished dataset to the Hugging Face Hub",
        "Reads the folder of a finished dataset and checks it against its card. Without --upload it only prints what "
        "would be uploaded. With it, it creates the repository and uploads the LMDB, the table, the grid and the card. "
        "Log in first with hf auth login.",
        "generate push runs/20k/faces/0123456789abcdef --repo somebody/hsface20k",
        _push_flags,
        _push,
    ),
)
