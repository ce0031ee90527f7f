"""One network on all its protocols -> scores.npz and result.json, and the fields of each kind of row."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bench.config.benchmarks import Benchmark
from bench.machine.device import Stopwatch
from bench.runs.cards import (
    DatasetCard,
    GroupSummary,
    ModelCard,
    ProtocolResult,
    ResultCard,
    TemplateResult,
    card_sha256,
    read_card,
    write_card,
)
from bench.runs.stage import Stage, Stages, generator_sha256, stage_lock
from evaluate.layouts.ijb import TemplateSet, is_template_set, load_templates
from evaluate.measure.embed import FaceNetwork, embed, feature_batches
from evaluate.measure.scores import write_scores
from evaluate.measure.templates import verify_templates
from evaluate.measure.verify import Verification, verify
from evaluate.protocol import load_protocol
from evaluate.test_sets.registry import RFW


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
        paths: Verification and template sets, in the order of the columns.
        device: Torch device.
        seed: Of the benchmark, for the card.
        row: The fields of the card that depend on the kind of row; ``stage_costs`` gains this stage's.
        precision: bf16 embeds under autocast, as a network was trained by a bf16 recipe.
    """
    stopwatch = Stopwatch()
    verifications: list[Verification] = []
    templates: dict[str, TemplateResult] = {}
    num_images = 0
    with stage_lock(stage.directory):
        network = load()
        for path in paths:
            with stopwatch.phase("load"):
                test_set = load_templates(path) if is_template_set(path) else load_protocol(path)
            with stopwatch.phase("verify"):
                if isinstance(test_set, TemplateSet):
                    batches = feature_batches(network, test_set.faces, device=device, precision=precision)
                    templates[test_set.name] = verify_templates(batches, test_set)
                else:
                    verifications.append(
                        verify(lambda images: embed(network, images, device=device, precision=precision), test_set)
                    )
            num_images += len(test_set.faces)
        write_scores(stage.directory / "scores.npz", {one.name: one.arrays for one in verifications})
        cost = stopwatch.cost(images=num_images, phase="verify", device=device)
        costs = row.get("stage_costs", {}) | {"evaluate": cost}
        header = stage.card_header(scale=stage.directory.parent.parent.name, seed=seed)
        fields = header | row | {"stage_costs": costs, "cost": cost, "templates": templates}
        card = make_result(verifications, **fields)
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
        groups=summarise_groups(results),
        mean_accuracy=float(np.mean([result.accuracy for result in results.values()])) if results else None,
        mean_standard_error=float(np.sqrt(np.sum(errors**2)) / len(errors)) if results else None,
        **fields,
    )


def summarise_groups(results: Mapping[str, ProtocolResult]) -> dict[str, GroupSummary]:
    """Mean and spread over RFW's groups of people, where all four were measured."""
    if not set(RFW) <= results.keys():
        return {}
    accuracies = [results[name].accuracy for name in RFW]
    summary = GroupSummary(
        protocols=RFW, mean_accuracy=float(np.mean(accuracies)), std=float(np.std(accuracies, ddof=1))
    )
    return {"rfw": summary}


def describe_result(card: ResultCard) -> str:
    """Accuracies and their mean, and rates of template protocols, in one line."""
    parts = [f"{name} {one.accuracy:.2%}" for name, one in card.protocols.items()]
    for name, one in card.templates.items():
        resolved = [(far, tar) for far, tar in one.tar_at_far.items() if tar is not None]
        parts += [f"{name} TAR {tar:.2%} at FAR {far}" for far, tar in resolved]
    return ", ".join(parts) + ("" if card.mean_accuracy is None else f"; mean {card.mean_accuracy:.2%}")


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
