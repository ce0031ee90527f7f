"""Settings of benchmarks.yaml -> a face dataset: ``python -m generate --scale smoke``."""

import argparse
from pathlib import Path
from typing import Any

from bench.cards import DatasetCard, write_card
from bench.cli import run, stage_parser
from bench.config import Benchmark, FilesGenerator, RenderGenerator, Vec2FaceGenerator, load_benchmark
from bench.files import write_text
from bench.runtime import Stopwatch, choose_device, process_rank
from bench.stages import Stage, plan_stages, stage_lock
from generate.commands import add_commands
from generate.dataset_card import README_NAME, render_readme
from generate.training_commands import add_training_commands


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
    if stage.is_finished:
        print(f"generate: skip, unchanged ({stage.directory})")
        return 0
    with stage_lock(stage.directory):
        _generate(benchmark, stage, args)
    return 0


def _generate(benchmark: Benchmark, stage: Stage, args: argparse.Namespace) -> None:
    stopwatch = Stopwatch()
    with stopwatch.phase("faces"):
        made = _make_faces(benchmark, stage.directory, args)
    if made is None:
        return  # another process writes the card
    cost = stopwatch.cost(images=made["num_images"], phase="faces", device=made.pop("device", "cpu"))
    card = DatasetCard(**stage.card_header(scale=args.scale, seed=args.seed), cost=cost, **made)
    if card.path == "faces.lmdb":
        write_text(stage.directory / README_NAME, render_readme(card))
    print(f"generate: {write_card(stage.directory, card)}")
    if isinstance(benchmark.generator, Vec2FaceGenerator):
        from generate.engine import remove_parts

        remove_parts(stage.directory)


def _make_faces(benchmark: Benchmark, directory: Path, args: argparse.Namespace) -> dict[str, Any] | None:
    """Make the faces of one kind of generator; the fields of the card that depend on them, on the first process."""
    generator = benchmark.generator
    if isinstance(generator, RenderGenerator):
        return _render(generator, directory, args.seed)
    if isinstance(generator, FilesGenerator):
        return _describe_files(generator, directory)
    return _hsface(generator, directory, args)


def _describe_files(generator: FilesGenerator, directory: Path) -> dict[str, Any]:
    from bench.datasets import open_files, sample_grid, write_grid

    faces = open_files(generator.path, generator.mask, generator.leave_out)
    write_grid(directory / "grid.png", sample_grid(faces))
    path = str(Path(generator.path).resolve())
    return {"name": Path(path).stem, "path": path, "num_images": len(faces), "num_identities": faces.num_identities}


def _render(generator: RenderGenerator, directory: Path, seed: int) -> dict[str, Any]:
    from bench.files import sha256
    from generate.render_dataset import render_dataset

    statistics = render_dataset(
        directory,
        num_identities=generator.num_identities,
        images_per_identity=generator.images_per_identity,
        seed=seed,
        jpeg_quality=generator.jpeg_quality,
    )
    return {
        "name": "rendered heads",
        "path": "faces.lmdb",
        "num_images": generator.num_identities * generator.images_per_identity,
        "num_identities": generator.num_identities,
        "content_sha256": sha256(directory / "faces.lmdb"),
        "statistics": statistics,
    }


def _hsface(generator: Vec2FaceGenerator, directory: Path, args: argparse.Namespace) -> dict[str, Any] | None:
    from generate.hsface import make_dataset

    rank, world, device = process_rank(choose_device(args.device))
    where = {"seed": args.seed, "weights": args.weights, "device": device}
    made = make_dataset(directory, generator, **where, rank=rank, world=world)
    return None if made is None else made | {"name": f"HSFace {args.scale}", "device": device}


if __name__ == "__main__":
    run(main)
