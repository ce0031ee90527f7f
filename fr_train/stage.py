"""The training stage of a benchmark: the faces of its dataset stage in, a trained network and its card out.

The stage's folder, ``runs/<scale>/models/<fingerprint>``, receives what ``fr_train.trainer.train.train`` writes.
model.json is written last, so that a folder with a card is a finished stage.
"""

from dataclasses import asdict
from pathlib import Path

from bench.config.benchmarks import Benchmark
from bench.files import sha256
from bench.machine.device import process_rank
from bench.machine.stopwatch import Stopwatch
from bench.runs.card_parts.references import DatasetReference
from bench.runs.cards import DatasetCard, ModelCard, card_sha256, read_card, write_card
from bench.runs.dataset import open_dataset
from bench.runs.fingerprints import recipe_sha256
from bench.runs.stage import Stages
from fr_train.trainer.options import RunOptions
from fr_train.trainer.train import MODEL_NAME, Validate, train


def train_stage(
    benchmark: Benchmark, stages: Stages, *, seed: int, options: RunOptions, validate: Validate | None
) -> Path | None:
    """Train the network of a benchmark and write its card.

    Args:
        benchmark: The benchmark.
        stages: Its stages; the dataset must be finished.
        seed: Seed of the training.
        options: Options of the run.
        validate: Measures the network during training; None for no validation.

    Returns:
        Path of model.json; None in all processes but rank 0, which writes it.

    Raises:
        InputError: If the dataset is broken, or as ``train`` raises.
    """
    stopwatch, directory, dataset_dir = Stopwatch(), stages.train.directory, stages.generate.directory
    with stopwatch.phase("read dataset"):
        dataset = read_card(dataset_dir, DatasetCard)
        faces = open_dataset(dataset_dir, benchmark.generator)
    with stopwatch.phase("train"):
        summary = train(faces, benchmark.recipe, directory, seed=seed, options=options, validate=validate)
    if process_rank()[0] != 0:
        return None
    # Add the time of interrupted runs. The phase "train" held the validations too; they have a phase of their own.
    stopwatch.carry("train", summary.earlier_seconds - summary.validation_seconds)
    stopwatch.carry("validate", summary.validation_seconds)
    card = ModelCard(
        **stages.train.card_header(scale=benchmark.name, seed=seed),
        cost=stopwatch.cost(images=summary.num_images_seen, phase="train", device=options.device),
        recipe=benchmark.recipe_name,
        recipe_sha256=recipe_sha256(benchmark.recipe),
        dataset=DatasetReference(
            name=dataset.name,
            num_images=len(faces),
            num_identities=faces.num_identities,
            sha256=card_sha256(dataset_dir, DatasetCard),
            **asdict(summary.dataset_warnings),
        ),
        weights_sha256=sha256(directory / MODEL_NAME),
        num_parameters=summary.num_parameters,
        num_images_seen=summary.num_images_seen,
        final_loss=summary.final_loss,
        final=summary.last_line,
        best=summary.best,
        options=asdict(options),
    )
    return write_card(directory, card)
