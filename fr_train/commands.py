"""The sub-commands of training: their flags, and the call behind each, which returns the text to print."""

import argparse
from pathlib import Path

from bench.errors import InputError
from bench.files import atomic_path, write_text


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parsers."""
    text = "a trained network as ONNX and safetensors, checked to be the same, with a model card for the Hub"
    exporting = commands.add_parser("export", help=text, description=text)
    exporting.add_argument("model", type=Path, help="model.safetensors, its folder, or a released IResNet .pth")
    exporting.add_argument("--out", type=Path, required=True, help="folder that shall appear")
    exporting.add_argument(
        "--formats", nargs="+", choices=("onnx", "safetensors"), default=["onnx", "safetensors"], help="default: both"
    )
    exporting.add_argument("--runs", type=Path, default=Path("runs"), help="where results lie (default: runs)")


def _export(args: argparse.Namespace) -> str:
    if args.out.exists():
        raise InputError(f"{args.out} exists already; delete it or name another")
    weights = args.model / "model.safetensors" if args.model.is_dir() else args.model
    from fr_train.export.files import export
    from fr_train.export.model_card import README_NAME, find_origin, render_model_card

    with atomic_path(args.out) as folder:
        distances = export(weights, folder, args.formats)
        write_text(folder / README_NAME, render_model_card(find_origin(weights, args.runs), distances))
    lines = [f"{args.out / name}: 1 - cosine at most {distance:.1e}" for name, distance in distances.items()]
    return "\n".join([*lines, f"{args.out / README_NAME}: model card for the Hub"])


COMMANDS = {"export": _export}
