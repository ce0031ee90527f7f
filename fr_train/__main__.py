"""A face dataset -> a recognition network, by a recipe: ``python -m fr_train --scale smoke``.

A trained one for others: ``python -m fr_train export MODEL --out FOLDER``.
"""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bench.cli import run, stage_parser
from bench.config.benchmarks import Benchmark, load_benchmark
from bench.errors import InputError
from bench.files import sha256
from bench.machine.device import Stopwatch, choose_device, process_rank
from bench.runs.cards import DatasetCard, ModelCard, card_sha256, read_card, write_card
from bench.runs.inputs import find_protocol, is_rendered
from bench.runs.stage import Stages, plan_stages, recipe_sha256, stage_lock
from fr_train.commands import COMMANDS, add_commands
from fr_train.trainer.options import RunOptions, add_run_flags, run_options

if TYPE_CHECKING:
    from evaluate.measure.validate import Validation


def main() -> int:
    """Parse, train unless it is finished, write the card."""
    parser = stage_parser("fr_train", __doc__)
    add_run_flags(parser)
    add_commands(parser.add_subparsers(dest="command"))
    args = parser.parse_args()
    if args.command in COMMANDS:
        print(COMMANDS[args.command](args))
        return 0
    benchmark = load_benchmark(args.scale, args.config)
    stages = plan_stages(benchmark, seed=args.seed, runs=args.runs, test_sets=args.test_sets)
    if stages.train.is_finished:
        print(f"train: skip, unchanged ({stages.train.directory})")
        return 0
    if not stages.generate.is_finished:
        raise InputError(f"{stages.generate.directory} holds no face dataset; run make generate SCALE={args.scale}")
    options = run_options(args, choose_device(args.device))
    with stage_lock(stages.train.directory):
        _train(benchmark, stages, args.seed, options, _validation(benchmark, args, options.device))
    return 0


def _train(
    benchmark: Benchmark, stages: Stages, seed: int, options: RunOptions, validation: "Validation | None"
) -> None:
    from bench.faces.grid import open_dataset
    from fr_train.trainer.train import train

    stopwatch, directory = Stopwatch(), stages.train.directory
    with stopwatch.phase("read dataset"):
        dataset = read_card(stages.generate.directory, DatasetCard)
        faces = open_dataset(stages.generate.directory)
    with stopwatch.phase("train"):
        summary = train(faces, benchmark.recipe, directory, seed=seed, options=options, validate=validation)
    if process_rank()[0] != 0:
        return  # the first process writes the card
    stopwatch.carry("train", summary.earlier_seconds - summary.validation_seconds)
    stopwatch.carry("validate", summary.validation_seconds)
    card = ModelCard(
        **stages.train.card_header(scale=benchmark.name, seed=seed),
        cost=stopwatch.cost(images=summary.num_images_seen, phase="train", device=options.device),
        recipe=benchmark.recipe_name,
        recipe_sha256=recipe_sha256(benchmark.recipe),
        dataset={
            "name": dataset.name,
            "num_images": len(faces),
            "num_identities": faces.num_identities,
            "sha256": card_sha256(stages.generate.directory, DatasetCard),
            **summary.dataset_warnings,
        },
        weights_sha256=sha256(directory / "model.safetensors"),
        num_parameters=summary.num_parameters,
        num_images_seen=summary.num_images_seen,
        final_loss=summary.final_loss,
        final=summary.last_line,
        best=summary.best,
        options=asdict(options),
    )
    print(f"train: {write_card(directory, card)}", flush=True)


def _validation(benchmark: Benchmark, args: argparse.Namespace, device: str) -> "Validation | None":
    """Measures networks on those of the benchmark's protocols that are there or can be rendered."""
    from evaluate.measure.validate import Validation

    there = [name for name in benchmark.protocols if is_rendered(name) or find_protocol(name, args.test_sets)]
    if not there:
        return None

    def find() -> list[Path]:
        from generate.render.protocols import rendered_protocol

        found = [rendered_protocol(n, args.runs) if is_rendered(n) else find_protocol(n, args.test_sets) for n in there]
        return [path for path in found if path is not None]

    precision: Literal["float32", "bf16"] = "bf16" if benchmark.recipe.precision == "bf16" else "float32"
    return Validation(find, device=process_rank(device)[2], precision=precision)


if __name__ == "__main__":
    run(main)
