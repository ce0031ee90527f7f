"""The fields of a result card that state network, dataset and recipe, by kind of leaderboard row. Imports no torch."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bench.config.benchmarks import Benchmark
from bench.machine.facts import Cost
from bench.runs.card_parts.references import DatasetReference, ModelReference, RecipeReference
from bench.runs.cards import DatasetCard, ModelCard, card_sha256, read_card
from bench.runs.fingerprints import TestMode, changes_of, generator_sha256
from bench.runs.stage import Stages


@dataclass(frozen=True)
class ResultRow:
    """Network, dataset and recipe of a leaderboard row: the fields of the result card that are not measured."""

    kind: Literal["dataset", "floor", "model"]
    """A network trained here on a dataset, a network without training, or given weights."""
    name: str
    model: ModelReference
    dataset: DatasetReference | None = None
    recipe: RecipeReference | None = None
    stage_costs: dict[str, Cost] = field(default_factory=dict)
    """Costs of the stages before the evaluation, by name."""
    test_mode: TestMode = "norm_weighted"
    """How the mirrored image enters the embedding."""


def dataset_row(benchmark: Benchmark, stages: Stages) -> ResultRow:
    """The row that measures a dataset: a network trained on it here, by a recipe."""
    dataset = read_card(stages.generate.directory, DatasetCard)
    model = read_card(stages.train.directory, ModelCard)
    return ResultRow(
        "dataset",
        ", ".join([benchmark.name, *changes_of(benchmark, "generator", "recipe")]),
        ModelReference(
            sha256=card_sha256(stages.train.directory, ModelCard),
            weights_sha256=model.weights_sha256,
            num_parameters=model.num_parameters,
        ),
        dataset=DatasetReference(
            name=dataset.name,
            num_images=dataset.num_images,
            num_identities=dataset.num_identities,
            generator_sha256=generator_sha256(dataset.inputs["generator"]),
            composition=dataset.statistics.composition,
            sha256=card_sha256(stages.generate.directory, DatasetCard),
        ),
        recipe=RecipeReference(name=benchmark.recipe_name, sha256=model.recipe_sha256),
        stage_costs={"generate": dataset.cost, "train": model.cost},
    )


def floor_row(name: str) -> ResultRow:
    """A row without any training: raw pixels, or an untrained backbone."""
    return ResultRow("floor", name, ModelReference(name=name))


def model_row(path: Path, weights_sha256: str, test_mode: TestMode = "norm_weighted") -> ResultRow:
    """The row of a given file of weights, whose training data and recipe are unknown.

    The name states a mode other than that of benchmarks.
    """
    name = path.stem if test_mode == "norm_weighted" else f"{path.stem}, {test_mode.replace('_', ' ')}"
    model = ModelReference(name=path.name, weights_sha256=weights_sha256)
    return ResultRow("model", name, model, test_mode=test_mode)
