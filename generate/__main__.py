"""Settings of benchmarks.yaml -> a face dataset: ``python -m generate --scale smoke``."""

import argparse

from bench.cli import add_commands, parse_flags, run, run_command, stage_parser
from bench.config.benchmarks import Benchmark, load_benchmark
from bench.config.generator import FilesGenerator
from bench.files import remove_parts, write_text
from bench.machine.device import process_rank
from bench.machine.stopwatch import Stopwatch
from bench.runs.cards import DatasetCard, write_card
from bench.runs.fingerprints import plan_stages
from bench.runs.stage import Stage, check_weights, claim
from bench.runs.tracking.live import followed, live_run
from generate.commands import faces, publish, training, training_sets
from generate.hub.card import README_NAME, render_readme
from generate.hub.croissant import write_croissant
from generate.stage import is_shared_work, make_faces

COMMANDS = {
    "make faces": faces.COMMANDS,
    "train a generator": (*training_sets.COMMANDS, *training.COMMANDS),
    "publish": publish.COMMANDS,
}
_DESCRIPTION = """Make the face dataset of a benchmark, or run a sub-command.

Without a sub-command, this reads an entry of benchmarks.yaml and the weights that the entry names, and writes
faces.lmdb, faces.parquet, grid.png, dataset.json and croissant.json into RUNS/SCALE/faces/FINGERPRINT. A finished
dataset is skipped, and an interrupted one is resumed."""


def main() -> int:
    """Run a sub-command; without one, make the dataset of a benchmark unless it is finished, and write its card."""
    args = parse_flags(make_parser())
    if args.command:
        return run_command(args)
    benchmark = load_benchmark(args.scale, args.config, args.set)
    stage = plan_stages(benchmark, seed=args.seed, runs=args.runs, test_sets=args.test_sets).generate
    is_rank0 = process_rank()[0] == 0
    if not is_rank0 and not is_shared_work(benchmark):
        return 0
    if process_rank()[1] > 1 and is_shared_work(benchmark):
        from bench.machine.agreement import refuse_different_processes

        refuse_different_processes(stage.inputs)
    check_weights(stage, args.weights)
    if not stage.is_finished:
        with claim(stage) as is_needed:
            if is_needed:
                _generate(benchmark, stage, args)
                return 0
    if is_rank0:
        print(f"generate: skip, unchanged ({stage.directory})")
    return 0


def make_parser() -> argparse.ArgumentParser:
    """The parser of the stage and of its sub-commands."""
    parser = stage_parser("generate", _DESCRIPTION, example="generate --scale smoke")
    add_commands(parser, COMMANDS)
    return parser


def _generate(benchmark: Benchmark, stage: Stage, args: argparse.Namespace) -> None:
    stopwatch = Stopwatch()
    with followed(live_run(stage, scale=benchmark.name, seed=args.seed, runs=args.runs)), stopwatch.phase("faces"):
        faces = make_faces(stage.directory, benchmark, seed=args.seed, weights=args.weights, device=args.device)
    if faces is None:
        return  # the first process writes the card
    num_processes = None if is_shared_work(benchmark) else 1
    cost = stopwatch.cost(images=faces.num_images, phase="faces", device=faces.device, num_processes=num_processes)
    header = stage.card_header(scale=benchmark.name, seed=args.seed)
    card = DatasetCard(
        **header,
        cost=cost,
        name=faces.name,
        path=faces.path,
        num_images=faces.num_images,
        num_identities=faces.num_identities,
        content_sha256=faces.content_sha256,
        statistics=faces.statistics,
    )
    if card.path == "faces.lmdb":
        write_text(stage.directory / README_NAME, render_readme(card))
    if not isinstance(benchmark.generator, FilesGenerator):  # their authors describe them
        write_croissant(stage.directory, card)
    print(f"generate: {write_card(stage.directory, card)}")
    remove_parts(stage.directory)


if __name__ == "__main__":
    run(main)
