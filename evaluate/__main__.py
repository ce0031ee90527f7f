"""Evaluate a recognition network on test sets: ``python -m evaluate --scale smoke``."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from bench.cli import add_commands, parse_flags, run, run_command, stage_parser
from bench.config.benchmarks import load_benchmark, protocol_names
from bench.errors import InputError
from bench.machine.device import choose_device, process_rank
from bench.runs.fingerprints import TestMode
from evaluate.commands import challenge, face_datasets, people, results, test_sets
from evaluate.stage import Evaluation, evaluate_model, evaluate_scale

_DESCRIPTION = """Evaluate a recognition network: accuracies on test sets, scores of all pairs, a result card.

Without a sub-command, this evaluates the trained network of --scale on the benchmark's protocols, together with its
floors (raw pixels, and the untrained backbone). It reads RUNS/SCALE/models and --test-sets, and writes
RUNS/SCALE/results. With --model FILE it evaluates another network on --protocols, and writes RUNS/models/results. A
network whose result exists already is skipped.

With --released it evaluates all released networks that lie in --weights, known by the names of their files, on all
test sets that lie in --test-sets, and compares them with what their authors print."""
COMMANDS = {
    "results": results.COMMANDS,
    "test sets": test_sets.COMMANDS,
    "face datasets": face_datasets.COMMANDS,
    "people": people.COMMANDS,
    "challenges": challenge.COMMANDS,
}
_EXAMPLE = "evaluate --model weights/mobilefacenet_y1.onnx --protocols lfw cfp_fp"


def main() -> int:
    """Run a sub-command, or evaluate the network of a benchmark or a given one."""
    args = parse_flags(make_parser())
    if args.command:
        return run_command(args)
    rank, world_size, _ = process_rank()
    if world_size == 1:
        _evaluate(args)
        return 0
    from bench.machine.agreement import refuse_different_processes
    from bench.machine.processes import process_group

    with process_group(choose_device(args.device)):
        flags = ("scale", "set", "seed", "model", "protocols", "released", "test_sets", "runs", "weights", "test_mode")
        refuse_different_processes({name: str(getattr(args, name)) for name in flags})
        _evaluate(args, is_printing=rank == 0)
    return 0


def _evaluate(args: argparse.Namespace, *, is_printing: bool = True) -> None:
    """Evaluate what the flags name, and print a line per network. All processes of a group must call this."""
    _refuse_ignored_flags(args)
    mode: TestMode = args.test_mode or "norm_weighted"
    evaluation = Evaluation(args.runs, args.test_sets, args.device, args.seed, mode)
    if args.released:
        from evaluate.challenge.released import evaluate_released

        lines = evaluate_released(args.weights, evaluation)
    elif args.model:
        lines = evaluate_model(args.model, protocol_names(args.protocols or ["five"], args.config), evaluation)
    else:
        lines = evaluate_scale(load_benchmark(args.scale, args.config, args.set), evaluation)
    for line in lines:
        if is_printing:
            print(line, flush=True)


def _refuse_ignored_flags(args: argparse.Namespace) -> None:
    """Refuse flags that say something only of --model where none is given, and --model where --released is."""
    if args.released and args.model:
        raise InputError(f"--released and --model {args.model} were given; give one of them")
    for flag, value in (("--test-mode", args.test_mode), ("--protocols", " ".join(args.protocols or []))):
        if value and not args.model:
            raise InputError(f"{flag} {value} was given without --model; give both, or neither")


def make_parser() -> argparse.ArgumentParser:
    """The parser of the stage and of its sub-commands."""
    parser = stage_parser("evaluate", _DESCRIPTION, example=_EXAMPLE)
    parser.add_argument(
        "--model",
        type=Path,
        help=".safetensors, .pth, .ckpt or .onnx file to evaluate instead of the network of --scale",
    )
    parser.add_argument(
        "--protocols",
        nargs="+",
        metavar="NAME",
        help="protocols for --model: names of test sets, or the lists five, rfw, ijb and rendered (default: five)",
    )
    parser.add_argument(
        "--test-mode",
        choices=get_args(TestMode),
        help="how the mirror image enters the embeddings of --model: norm_weighted adds its features, flip_sum adds "
        "them at length 1, no_flip leaves it out (default: norm_weighted, as benchmarks do)",
    )
    parser.add_argument(
        "--released",
        action="store_true",
        help="evaluate every released network in --weights on every set in --test-sets, and state the difference to "
        "the accuracies that its authors print (default: the network of --scale)",
    )
    add_commands(parser, COMMANDS)
    parser.set_defaults(load_estimator=_load_estimator, rendered_groups=_rendered_groups)
    return parser


def _load_estimator(kind: str, path: Path, device: str) -> Any:
    """An estimator of quality or yaw for audits: released weights (.pth), or any TorchScript or ONNX file."""
    from generate.networks.estimators import load_estimator, quality_estimator, yaw_estimator

    load_released = {"quality": quality_estimator, "yaw": yaw_estimator}[kind]
    return load_released(path, device) if path.suffix == ".pth" else load_estimator(path, device)


def _rendered_groups(people: Sequence[int], ages: Sequence[float]) -> dict[str, list[str]]:
    """Groups of rendered images for audits, by the renderer's own numbers."""
    from generate.render.protocols.people import rendered_groups

    return rendered_groups(people, ages)


if __name__ == "__main__":
    run(main)
