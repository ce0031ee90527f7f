"""Settings of benchmarks.yaml -> a face dataset: ``python -m generate --scale smoke``."""

import argparse

from bench.cli import run, stage_parser
from bench.config.benchmarks import Benchmark, load_benchmark
from bench.config.generator import Vec2FaceGenerator
from bench.files import write_text
from bench.machine.device import Stopwatch
from bench.runs.cards import DatasetCard, write_card
from bench.runs.stage import Stage, check_weights, plan_stages, stage_lock
from generate.commands.faces import add_commands
from generate.commands.training import add_training_commands
from generate.hub.card import README_NAME, render_readme
from generate.stage import make_faces


def main() -> int:
    """Parse, make the dataset unless it is finished, write its card; or do a sub-command."""
    parser = stage_parser("generate", __doc__)
    commands = parser.add_subparsers(dest="command")
    add_commands(commands)
    add_training_commands(commands)
    args = parser.parse_args()
    if args.command:
        if told := args.run(args):
            print(told)
        return 0
    benchmark = load_benchmark(args.scale, args.config)
    stage = plan_stages(benchmark, seed=args.seed, runs=args.runs, test_sets=args.test_sets).generate
    check_weights(stage, args.weights)
    if stage.is_finished:
        print(f"generate: skip, unchanged ({stage.directory})")
        return 0
    with stage_lock(stage.directory):
        _generate(benchmark, stage, args)
    return 0


def _generate(benchmark: Benchmark, stage: Stage, args: argparse.Namespace) -> None:
    stopwatch = Stopwatch()
    with stopwatch.phase("faces"):
        made = make_faces(stage.directory, benchmark, seed=args.seed, weights=args.weights, device=args.device)
    if made is None:
        return  # another process writes the card
    cost = stopwatch.cost(images=made["num_images"], phase="faces", device=made.pop("device", "cpu"))
    card = DatasetCard(**stage.card_header(scale=args.scale, seed=args.seed), cost=cost, **made)
    if card.path == "faces.lmdb":
        write_text(stage.directory / README_NAME, render_readme(card))
    print(f"generate: {write_card(stage.directory, card)}")
    if isinstance(benchmark.generator, Vec2FaceGenerator):
        from generate.draw.engine import remove_parts

        remove_parts(stage.directory)


if __name__ == "__main__":
    run(main)
