"""The help of ``python -m fr_train``, and its sub-commands: their flags, and the function that each calls."""

import argparse
from pathlib import Path

from bench.errors import InputError
from bench.files import atomic_path, write_text

HELP = """\
Train the recognition network of a benchmark.

Reads the face dataset in RUNS/SCALE/faces, which `python -m generate` writes, and the recipe of the benchmark.
Writes a folder in RUNS/SCALE/models with model.safetensors, model.json (its card), train.jsonl (losses, rates,
accuracies), samples.png (augmented faces), checkpoint.pt (to resume) and best.safetensors (highest accuracy on
the test sets). Skips a network that is finished, and resumes one that was interrupted."""
EPILOG = """\
Set the environment variable BENCH_PROGRESS=0 to switch progress bars off.

example: python -m fr_train --scale smoke --seed 0 --device cpu"""
_EXPORT = """\
Export a trained network as ONNX and safetensors, with a model card for the Hugging Face Hub.

Reads a network, and its cards and results in RUNS as far as they exist. Writes model.onnx, model.safetensors and
README.md into a new folder, and checks on random faces that both files give the embeddings of the source. Use it to
publish a network, or to run it without this project."""
_EXPORT_EXAMPLE = "example: python -m fr_train export runs/smoke/models/FINGERPRINT --out exported"


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of every sub-command."""
    export = commands.add_parser(
        "export",
        help="export a trained network as ONNX and safetensors, with a model card",
        description=_EXPORT,
        epilog=_EXPORT_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    export.add_argument("model", type=Path, help="model.safetensors, its folder, or a released IResNet .pth")
    export.add_argument("--out", type=Path, required=True, help="folder to create; it must not exist")
    export.add_argument(
        "--formats",
        nargs="+",
        choices=("onnx", "safetensors"),
        default=["onnx", "safetensors"],
        help="formats to write (default: both)",
    )
    # No default of its own: it would overwrite a --runs that stands before the sub-command.
    export.add_argument(
        "--runs", type=Path, default=argparse.SUPPRESS, help="folder of cards and results (default: runs)"
    )


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
"""Sub-command -> function that runs it and returns the text to print."""
