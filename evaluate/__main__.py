"""Evaluate a recognition network: accuracies on verification sets, scores of all pairs and a result card.

Without a sub-command, the trained network of --scale is evaluated on the benchmark's protocols, together with its
floors (raw pixels, and the untrained backbone). This reads runs/SCALE/models and --test-sets, and writes
runs/SCALE/results. With --model FILE, another network is evaluated on --protocols, and its result is written to
runs/models/results. A network whose result exists already is skipped.

Example: python -m evaluate --model weights/mobilefacenet_y1.onnx --protocols lfw cfp_fp
"""

from pathlib import Path
from typing import Any

from bench.cli import run, stage_parser
from bench.config.benchmarks import load_benchmark, protocol_names
from evaluate.commands import COMMANDS, add_commands
from evaluate.stage import Evaluation, evaluate_model, evaluate_scale


def main() -> int:
    """Run a sub-command, or evaluate the network of a benchmark or a given one, and print what came of it."""
    parser = stage_parser("evaluate", __doc__)
    parser.add_argument(
        "--model", type=Path, help=".safetensors, .pth or .onnx file to evaluate instead of the network of --scale"
    )
    parser.add_argument(
        "--protocols",
        nargs="+",
        default=["five"],
        metavar="NAME",
        help="protocols for --model: names of test sets, or the lists five, rfw and ijb (default: five)",
    )
    add_commands(parser)
    parser.set_defaults(load_estimator=_load_estimator)
    args = parser.parse_args()
    if args.command:
        print(COMMANDS[args.command].run(args))
        return 0
    evaluation = Evaluation(args.runs, args.test_sets, args.device, args.seed, _render_protocol, _build_backbone)
    if args.model:
        lines = evaluate_model(args.model, protocol_names(args.protocols, args.config), evaluation)
    else:
        lines = evaluate_scale(load_benchmark(args.scale, args.config), evaluation)
    for line in lines:
        print(line, flush=True)
    return 0


def _load_estimator(kind: str, path: Path, device: str) -> Any:
    """An estimator of quality or yaw: released weights (.pth), or any TorchScript or ONNX file."""
    from generate.networks.estimators import load_estimator, quality_estimator, yaw_estimator

    load_released = {"quality": quality_estimator, "yaw": yaw_estimator}[kind]
    return load_released(path, device) if path.suffix == ".pth" else load_estimator(path, device)


def _render_protocol(name: str, runs: Path) -> Path:
    from generate.render.protocols import rendered_protocol

    return rendered_protocol(name, runs)


def _build_backbone(settings: Any) -> Any:
    from fr_train.backbone import build_backbone

    return build_backbone(settings)


if __name__ == "__main__":
    run(main)
