"""One network on all its protocols -> scores.npz and result.json, and the fields of each kind of row."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bench.cards import DatasetCard, ModelCard, ResultCard, card_sha256, read_card, write_card
from bench.config import Benchmark
from bench.runtime import Stopwatch
from bench.stages import Stage, Stages, generator_sha256, stage_lock
from evaluate.embed import FaceNetwork, embed
from evaluate.protocol import load_protocol
from evaluate.scores import write_scores
from evaluate.verify import Verification, verify


def evaluate_network(
    stage: Stage,
    load: Callable[[], FaceNetwork],
    paths: Iterable[Path],
    *,
    device: str,
    seed: int,
    row: dict[str, Any],
    precision: Literal["float32", "bf16"] = "float32",
) -> ResultCard:
    """Verify a network on every protocol; scores are written first, the card last.

    Args:
        stage: Where the result goes.
        load: Makes the network, on ``device``.
        paths: Verification sets, in the order of the columns.
        device: Torch device.
        seed: Of the benchmark, for the card.
        row: The fields of the card that depend on the kind of row; ``stage_costs`` gains this stage's.
        precision: bf16 embeds under autocast, as a network was trained by a bf16 recipe.
    """
    stopwatch = Stopwatch()
    verifications: list[Verification] = []
    num_images = 0
    with stage_lock(stage.directory):
        network = load()
        for path in paths:
            with stopwatch.phase("load"):
                protocol = load_protocol(path)
            with stopwatch.phase("verify"):
                verifications.append(
                    verify(lambda images: embed(network, images, device=device, precision=precision), protocol)
                )
            num_images += len(protocol.faces)
        write_scores(stage.directory / "scores.npz", {one.name: one.arrays for one in verifications})
        cost = stopwatch.cost(images=num_images, phase="verify", device=device)
        costs = row.get("stage_costs", {}) | {"evaluate": cost}
        header = stage.card_header(scale=stage.directory.parent.parent.name, seed=seed)
        card = make_result(verifications, **header | row | {"stage_costs": costs, "cost": cost})
        write_card(stage.directory, card)
    return card


def make_result(verifications: list[Verification], **fields: Any) -> ResultCard:
    """The card of a network's verifications.

    Args:
        verifications: One per protocol, in the order of the columns.
        **fields: The other fields of ResultCard.
    """
    results = {one.name: one.result for one in verifications}
    errors = np.array([result.standard_error for result in results.values()])
    return ResultCard(
        protocols=results,
        mean_accuracy=float(np.mean([result.accuracy for result in results.values()])),
        mean_standard_error=float(np.sqrt(np.sum(errors**2)) / len(errors)),
        **fields,
    )


def dataset_row(benchmark: Benchmark, stages: Stages) -> dict[str, Any]:
    """Fields of a row that says what a dataset is worth: trained here, by a recipe."""
    dataset = read_card(stages.generate.directory, DatasetCard)
    model = read_card(stages.train.directory, ModelCard)
    counts = {"name": dataset.name, "num_images": dataset.num_images, "num_identities": dataset.num_identities}
    counts["generator_sha256"] = generator_sha256(dataset.inputs["generator"])
    return {
        "name": benchmark.name,
        "dataset": counts | {"sha256": card_sha256(stages.generate.directory, DatasetCard)},
        "model": {
            "sha256": card_sha256(stages.train.directory, ModelCard),
            "weights_sha256": model.weights_sha256,
            "num_parameters": model.num_parameters,
        },
        "recipe": {"name": benchmark.recipe_name, "sha256": model.recipe_sha256},
        "stage_costs": {"generate": dataset.cost, "train": model.cost},
    }


def floor_row(name: str) -> dict[str, Any]:
    """Fields of a row without any training."""
    return {"row": "floor", "name": name, "dataset": None, "recipe": None, "model": {"name": name}}


def model_row(path: Path, weights_sha256: str) -> dict[str, Any]:
    """Fields of a row for given weights, whose dataset and recipe are not known here."""
    model = {"name": path.name, "weights_sha256": weights_sha256}
    return {"row": "model", "name": path.stem, "dataset": None, "recipe": None, "model": model}
