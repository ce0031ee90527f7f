"""The sub-command of ``python -m fr_train``: its flags, its help, and the call behind it."""

import argparse
from pathlib import Path

from bench.cli import Command, add_stage_flags


def _add_export_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="model.safetensors, its folder, or a released network (.pth, .ckpt)")
    parser.add_argument("--out", type=Path, required=True, help="folder to create; it must not exist")
    parser.add_argument(
        "--formats",
        nargs="+",
        choices=("onnx", "safetensors"),
        default=["onnx", "safetensors"],
        help="formats to write (default: both)",
    )
    add_stage_flags(parser, "--runs")


def _export(args: argparse.Namespace) -> str:
    from fr_train.export.folder import export_folder

    return export_folder(args.model, args.out, args.formats, args.runs)


COMMANDS = {
    "publish": (
        Command(
            "export",
            "Export a trained network as ONNX and safetensors, with a model card",
            "Reads a network, and its cards and results in RUNS if they exist. Writes model.onnx, "
            "model.safetensors and README.md, a model card for the Hugging Face Hub, into a new folder, and checks on "
            "random faces that both files give the embeddings of the source. Use it to publish a network, or to run it "
            "without this project.",
            "fr_train export runs/smoke/models/FINGERPRINT --out exported",
            _add_export_flags,
            _export,
        ),
    ),
}
