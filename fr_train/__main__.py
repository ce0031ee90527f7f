"""A face dataset -> a recognition network, by a recipe: ``python -m fr_train --scale smoke``."""

from bench.cards import DatasetCard, ModelCard, card_sha256, read_card, write_card
from bench.cli import run, stage_parser
from bench.config import Benchmark, load_benchmark
from bench.errors import InputError
from bench.files import sha256
from bench.runtime import Stopwatch, choose_device, process_rank
from bench.stages import Stages, plan_stages, recipe_sha256, stage_lock


def main() -> int:
    """Parse, train unless it is finished, write the card."""
    args = stage_parser("fr_train", __doc__).parse_args()
    benchmark = load_benchmark(args.scale, args.config)
    stages = plan_stages(benchmark, seed=args.seed, runs=args.runs, test_sets=args.test_sets)
    if stages.train.is_finished:
        print(f"train: skip, unchanged ({stages.train.directory})")
        return 0
    if not stages.generate.is_finished:
        raise InputError(f"{stages.generate.directory} holds no face dataset; run make generate SCALE={args.scale}")
    with stage_lock(stages.train.directory):
        _train(benchmark, stages, args.seed, choose_device(args.device))
    return 0


def _train(benchmark: Benchmark, stages: Stages, seed: int, device: str) -> None:
    from bench.datasets import open_dataset
    from fr_train.train import train

    stopwatch, directory = Stopwatch(), stages.train.directory
    with stopwatch.phase("read dataset"):
        dataset = read_card(stages.generate.directory, DatasetCard)
        faces = open_dataset(stages.generate.directory)
    with stopwatch.phase("train"):
        summary = train(faces, benchmark.recipe, directory, seed=seed, device=device)
    if process_rank()[0] != 0:
        return  # the first process writes the card
    card = ModelCard(
        **stages.train.card_header(scale=benchmark.name, seed=seed),
        cost=stopwatch.cost(images=summary.num_images_seen, phase="train", device=device),
        recipe=benchmark.recipe_name,
        recipe_sha256=recipe_sha256(benchmark.recipe),
        dataset={
            "name": dataset.name,
            "num_images": len(faces),
            "num_identities": faces.num_identities,
            "sha256": card_sha256(stages.generate.directory, DatasetCard),
        },
        weights_sha256=sha256(directory / "model.safetensors"),
        num_parameters=summary.num_parameters,
        num_images_seen=summary.num_images_seen,
        final_loss=summary.final_loss,
    )
    print(f"train: {write_card(directory, card)}", flush=True)


if __name__ == "__main__":
    run(main)
