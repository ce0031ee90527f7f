"""A recognition network -> accuracies, scores and a result card: ``python -m evaluate --scale smoke``.

Any other network: ``python -m evaluate --model FILE --protocols lfw cfp_fp``.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from bench.cli import run, stage_parser
from bench.config.benchmarks import Benchmark, load_benchmark, protocol_names
from bench.errors import InputError
from bench.machine.device import choose_device
from bench.runs.inputs import find_protocol, is_rendered
from bench.runs.stage import Stage, floor_stages, model_stage, plan_stages
from evaluate.commands import COMMANDS, add_commands


def main() -> int:
    """Parse, evaluate what is not finished, say the accuracies."""
    parser = stage_parser("evaluate", __doc__)
    parser.add_argument("--model", type=Path, help="evaluate this .safetensors, .pth or .onnx file instead of a scale")
    parser.add_argument("--protocols", nargs="+", default=["five"], help="test sets, or five, rfw, ijb (default: five)")
    commands = parser.add_subparsers(dest="command")
    add_commands(commands)
    args = parser.parse_args(namespace=argparse.Namespace(load_estimator=_load_estimator))
    if args.command in COMMANDS:
        print(COMMANDS[args.command](args))
        return 0
    return _evaluate_model(args) if args.model else _evaluate_scale(args)


def _load_estimator(kind: str, path: Path, device: str) -> Any:
    """Quality or yaw of faces: the released weights, or any TorchScript or ONNX file."""
    from generate.networks.estimators import load_estimator, quality_estimator, yaw_estimator

    released = {"quality": quality_estimator, "yaw": yaw_estimator}
    return (released[kind] if path.suffix == ".pth" else load_estimator)(path, device)


def _evaluate_scale(args: argparse.Namespace) -> int:
    benchmark = load_benchmark(args.scale, args.config)
    where = {"runs": args.runs, "test_sets": args.test_sets}
    stages = plan_stages(benchmark, seed=args.seed, **where)
    if not stages.train.is_finished:
        raise InputError(f"{stages.train.directory} holds no trained network; run make train SCALE={args.scale} first")
    from evaluate.measure.embed import load_network, raw_pixels
    from evaluate.measure.result import dataset_row, floor_row

    device = choose_device(args.device)
    floors = {
        "raw pixels": lambda: raw_pixels,
        "untrained backbone": lambda: _untrained(benchmark).to(device),
    }
    precision: Literal["float32", "bf16"] = "bf16" if benchmark.recipe.precision == "bf16" else "float32"
    for name, stage in floor_stages(benchmark, **where).items():
        _evaluate(stage, floors[name], benchmark.protocols, floor_row(name), args, precision)
    load = partial(load_network, stages.train.directory / "model.safetensors", device)
    _evaluate(stages.evaluate, load, benchmark.protocols, dataset_row(benchmark, stages), args, precision)
    return 0


def _untrained(benchmark: Benchmark) -> Any:
    import torch

    from fr_train.backbone import build_backbone

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_backbone(benchmark.recipe.backbone)


def _evaluate_model(args: argparse.Namespace) -> int:
    if not args.model.exists():
        raise InputError(f"--model {args.model} does not exist; give a .safetensors, .pth or .onnx file")
    from evaluate.measure.embed import load_network
    from evaluate.measure.result import model_row

    protocols = protocol_names(args.protocols, args.config)
    stage = model_stage(args.model, protocols, runs=args.runs, test_sets=args.test_sets)
    load = partial(load_network, args.model, choose_device(args.device))
    _evaluate(stage, load, protocols, model_row(args.model, stage.inputs["model"]), args)
    return 0


def _evaluate(
    stage: Stage,
    load: Callable[[], Any],
    protocols: Sequence[str],
    row: dict[str, Any],
    args: argparse.Namespace,
    precision: Literal["float32", "bf16"] = "float32",
) -> None:
    if stage.is_finished:
        print(f"evaluate: skip {row['name']}, unchanged ({stage.directory})")
        return
    from evaluate.measure.result import describe_result, evaluate_network

    paths = [_protocol_path(name, args) for name in protocols]
    device = choose_device(args.device)
    card = evaluate_network(stage, load, paths, device=device, seed=args.seed, row=row, precision=precision)
    print(f"evaluate: {card.name}: {describe_result(card)} ({stage.directory})", flush=True)


def _protocol_path(name: str, args: argparse.Namespace) -> Path:
    if is_rendered(name):
        from generate.render.protocols import rendered_protocol

        return rendered_protocol(name, args.runs)
    path = find_protocol(name, args.test_sets)
    if path is None:
        raise InputError(
            f"no {name} in {args.test_sets}; python -m evaluate fetch {name}, put {name}.bin there, or set TEST_SETS"
        )
    return path


if __name__ == "__main__":
    run(main)
