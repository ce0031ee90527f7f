"""Train the recognition network of a benchmark: ``python -m fr_train --scale smoke``."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bench.cli import add_commands, parse_flags, run, run_command, stage_parser
from bench.config.benchmarks import Benchmark, load_benchmark
from bench.errors import InputError, how_to_make
from bench.machine.device import choose_device, process_rank
from bench.runs.fingerprints import plan_stages
from bench.runs.inputs import find_protocol, is_rendered_pairs, protocol_path
from bench.runs.stage import Stages, claim
from bench.runs.tracking.live import followed, live_run
from fr_train.commands import COMMANDS
from fr_train.trainer.options import add_run_flags, run_options

if TYPE_CHECKING:
    from evaluate.measure.validate import Validation


_DESCRIPTION = """Train the recognition network of a benchmark, or run a sub-command.

Without a sub-command, this reads the face dataset in RUNS/SCALE/faces, which `make generate` writes, and the recipe
of the benchmark. It writes a folder in RUNS/SCALE/models with model.safetensors, model.json (its card), train.jsonl
(losses, rates, accuracies), samples.png (augmented faces), checkpoint.pt (to resume) and best.safetensors (highest
accuracy on the test sets). A finished network is skipped, and an interrupted one is resumed.

The environment variable BENCH_PROGRESS=0 switches progress bars off."""


def main() -> int:
    """Run a sub-command, or train the network of a benchmark unless it is finished."""
    parser = stage_parser("fr_train", _DESCRIPTION, example="fr_train --scale smoke --seed 0 --device cpu")
    add_run_flags(parser)
    add_commands(parser, COMMANDS)
    args = parse_flags(parser)
    if args.command:
        return run_command(args)
    benchmark = load_benchmark(args.scale, args.config, args.set)
    stages = plan_stages(benchmark, seed=args.seed, runs=args.runs, test_sets=args.test_sets)
    if process_rank()[1] > 1:
        from bench.machine.agreement import refuse_different_processes

        # The test sets too: without them, a process would skip the validations, for which the others wait
        refuse_different_processes({"train": stages.train.inputs, "evaluate": stages.evaluate.inputs})
    if not stages.train.is_finished:
        if not stages.generate.is_finished:
            raise InputError(
                f"{stages.generate.directory} holds no face dataset; {how_to_make('generate', args.scale)}"
            )
        with claim(stages.train) as is_needed:
            if is_needed:
                _train(benchmark, stages, args)
                return 0
    if process_rank()[0] == 0:
        print(f"train: skip, unchanged ({stages.train.directory})")
    return 0


def _train(benchmark: Benchmark, stages: Stages, args: argparse.Namespace) -> None:
    options = run_options(args, choose_device(args.device))
    from fr_train.stage import train_stage

    validate = _validation(benchmark, args, options.device)
    with followed(live_run(stages.train, scale=benchmark.name, seed=args.seed, runs=args.runs)):
        card_path = train_stage(benchmark, stages, seed=args.seed, options=options, validate=validate)
    if card_path is not None:
        print(f"train: {card_path}", flush=True)


def _validation(benchmark: Benchmark, args: argparse.Namespace, device: str) -> "Validation | None":
    """Validation on those protocols of the benchmark that are present or can be rendered; None if there are none.

    Protocols of templates (IJB), of groups of people and of galleries are left out.
    """
    from evaluate.measure.validate import Validation
    from evaluate.test_sets.open import has_pairs

    paths = {name: find_protocol(name, args.test_sets) for name in benchmark.protocols}
    names = [name for name, path in paths.items() if is_rendered_pairs(name) or (path and has_pairs(path))]
    if not names:
        return None

    def find_paths() -> dict[str, Path]:
        return {name: protocol_path(name, test_sets=args.test_sets, runs=args.runs) for name in names}

    precision: Literal["float32", "bf16"] = "bf16" if benchmark.recipe.precision == "bf16" else "float32"
    return Validation(find_paths, device=process_rank(device)[2], precision=precision)


if __name__ == "__main__":
    run(main)
