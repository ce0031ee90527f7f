"""A card as MLflow shows it: the name of its run, tags, metrics and flat settings, as plain values.

Names of metrics begin with what is measured, then the test set: ``accuracy/lfw``. MLflow draws one group of charts for
each beginning.
"""

import math
import re
from datetime import datetime
from typing import Any

from bench.config.released import RELEASED_RECIPES
from bench.files import flatten
from bench.runs.cards import AuditCard, Card, DatasetCard, GeneratorCard, ModelCard, ResultCard


def run_name(stage: str, card: Card) -> str:
    """Name of a card's run, such as ``train smoke seed 0 1f3a9c``: stage, benchmark, seed, start of the fingerprint.

    Args:
        stage: The stage; empty for a result.
        card: The card. Audits and given weights are called by their name and have no seed.
    """
    if isinstance(card, ResultCard) and card.row == "floor":
        return name_run(stage, f"{card.scale}: {card.name}", None, card.fingerprint)
    name = card.name if isinstance(card, ResultCard | AuditCard) else card.scale
    has_seed = not isinstance(card, AuditCard) and not (isinstance(card, ResultCard) and card.row == "model")
    return name_run(stage, name, card.seed if has_seed else None, card.fingerprint)


def name_run(stage: str, name: str, seed: int | None, fingerprint: str) -> str:
    """Name of a run, as of ``run_name``, before there is a card."""
    return " ".join(filter(None, (stage, name, "" if seed is None else f"seed {seed}", fingerprint[:6])))


def end_ms(card: Card) -> int:
    """When the stage of a card ended: Unix time, ms."""
    return int(datetime.fromisoformat(card.created_utc).timestamp() * 1000)


def start_ms(card: Card) -> int:
    """When the stage of a card started: Unix time, ms."""
    return end_ms(card) - int(card.cost.seconds * 1000)


def card_metrics(card: Card) -> dict[str, float]:
    """Time, rate and peak memory of the stage that wrote a card, named ``cost/...``."""
    own = card.cost.model_dump(include={"seconds", "images_per_second", "peak_memory_mb"}, exclude_none=True)
    return {f"cost/{key}": value for key, value in own.items()}


def dataset_metrics(card: DatasetCard) -> dict[str, float]:
    """Size and statistics of a face dataset."""
    statistics = flatten(card.statistics.model_dump())
    values = {f"statistics/{key}": value for key, value in statistics.items() if is_number(value)}
    return {"statistics/num_images": card.num_images, "statistics/num_identities": card.num_identities} | values


def tags_of(card: Card) -> dict[str, str]:
    """Tags by which users find runs: scale, seed, division, code version, machine, and the digests of parents."""
    tags = {
        "suite.scale": card.scale,
        "suite.seed": str(card.seed),
        "suite.fingerprint": card.fingerprint,
        "git.commit": card.git.commit or "unknown",
        "git.dirty": str(card.git.dirty),
        "torch": card.environment.versions.get("torch", "unknown"),
        "gpu": card.environment.gpu or "none",
        "mlflow.source.name": card.command,
    }
    more: dict[str, str | None] = {}
    if isinstance(card, ModelCard | GeneratorCard):
        more["suite.recipe_sha256"] = card.recipe_sha256
    if isinstance(card, ModelCard):
        more["suite.dataset_sha256"] = card.dataset.sha256
    if isinstance(card, ResultCard):
        recipe = card.recipe
        is_closed = recipe and RELEASED_RECIPES.get(recipe.name) == recipe.sha256
        more["suite.division"] = {"floor": "floor", "model": "given"}.get(card.row, "closed" if is_closed else "open")
        more["suite.recipe_sha256"] = recipe.sha256 if recipe else None
        more["suite.model_sha256"] = card.model.sha256
        more["suite.dataset_sha256"] = card.dataset.sha256 if card.dataset else None
    return tags | {key: value for key, value in more.items() if value}


def _people_metrics(result: ResultCard) -> dict[str, float | None]:
    """Identification rates, and the inequality of groups by attribute and false match rate."""
    metrics: dict[str, float | None] = {}
    for name, searched in result.identification.items():
        metrics |= {f"rank_{rank}/{name}": share for rank, share in searched.rank.items()}
        metrics |= {f"tpir_at_fpir_{fpir}/{name}": rate for fpir, rate in searched.tpir_at_fpir.items()}
    for name, grouped in result.group_errors.items():
        for attribute, by_fmr in grouped.attributes.items():
            for fmr, errors in by_fmr.items():
                if errors is not None:
                    metrics[f"garbe_at_fmr_{fmr}/{name}_{attribute}"] = errors.measures["garbe"].value
    return metrics


def result_metrics(result: ResultCard) -> dict[str, float]:
    """Metrics of a result, such as ``accuracy/mean``, ``accuracy/lfw`` and ``cost/gpu_hours``; no undefined ones."""
    mean = {"accuracy/mean": result.mean_accuracy, "standard_error/mean": result.mean_standard_error}
    metrics = {key: value for key, value in mean.items() if value is not None}
    for name, protocol in result.protocols.items():
        values = protocol.model_dump(exclude={"tar_at_far", "folds", "interval"})
        if protocol.interval:
            values |= {"interval_low": protocol.interval[0], "interval_high": protocol.interval[1]}
        values |= {f"tar_at_far_{far}": tar for far, tar in protocol.tar_at_far.items()}
        metrics |= {f"{key}/{name}": value for key, value in values.items() if is_number(value)}
    for name, templates in result.templates.items():
        values = templates.model_dump(exclude={"tar_at_far"})
        values |= {f"tar_at_far_{far}": tar for far, tar in templates.tar_at_far.items()}
        metrics |= {f"{key}/{name}": value for key, value in values.items() if is_number(value)}
    metrics |= {key: value for key, value in _people_metrics(result).items() if value is not None}
    for name, group in result.groups.items():
        metrics |= {f"accuracy/{name}_mean": group.mean_accuracy, f"accuracy_std/{name}": group.std}
    for stage, cost in result.stage_costs.items():
        metrics[f"cost/{stage}_seconds"] = cost.seconds
        if cost.images_per_second:
            metrics[f"cost/{stage}_images_per_second"] = cost.images_per_second
    prices = [cost.price for cost in result.stage_costs.values()]
    if prices and None not in prices:
        metrics["cost/price"] = sum(price for price in prices if price is not None)
    on_gpu = [cost.device_hours for cost in result.stage_costs.values() if cost.device.startswith("cuda")]
    metrics["cost/gpu_hours"] = sum(on_gpu)
    metrics["cost/hours"] = sum(cost.seconds for cost in result.stage_costs.values()) / 3600
    return metrics


def settings_of(result: ResultCard, cards: list[Card]) -> dict[str, Any]:
    """Generator and recipe settings behind a result, flat, so that MLflow's compare view shows what differs."""
    further = dict.fromkeys((*result.templates, *result.group_errors, *result.identification))
    settings: dict[str, Any] = {"test sets": ", ".join((*result.protocols, *further))}
    for card in cards:
        if isinstance(card, DatasetCard):
            settings |= flatten({"generator": card.inputs.get("generator", {})})
        if isinstance(card, ModelCard):
            settings |= flatten({"recipe": card.inputs.get("recipe", {})})
    if result.dataset:
        dataset = result.dataset.model_dump(include={"name", "num_images", "num_identities"})
        settings |= {f"dataset.{key}": value for key, value in dataset.items()}
    return settings


def audit_metrics(card: AuditCard) -> dict[str, float]:
    """Metrics of an audit, named ``audit/...``: distributions by their mean, and no sections that were not measured."""
    exact, near = card.duplicates.exact, card.duplicates.near
    metrics: dict[str, float | None] = {
        "num_images": card.num_images,
        "num_identities": card.num_identities,
        "num_broken": card.images.num_broken,
        "exact_duplicates": exact.num_images,
        "exact_duplicates_across_identities": exact.num_images_across_identities,
        "near_duplicate_pairs": near.num_pairs,
        "near_duplicate_pairs_across_identities": near.num_pairs_across_identities,
    }
    if card.separation:
        for threshold, unique in card.separation.unique.items():
            metrics |= {f"unique_at_{threshold}/kept": unique.kept, f"unique_at_{threshold}/earlier": unique.earlier}
    if card.consistency:
        metrics["consistency"] = card.consistency.to_others.mean
        metrics |= {f"consistency_below_{t}": share for t, share in card.consistency.share_below.items()}
    for name, distribution in (card.diversity or {}).items():
        metrics[f"diversity/{name}"] = distribution.mean
    if card.pairs:
        metrics |= {"fisher_ratio": card.pairs.fisher_ratio, "d_prime": card.pairs.d_prime}
        metrics |= {"genuine_mean": card.pairs.genuine.mean, "impostor_mean": card.pairs.impostor.mean}
    for leakage in card.leakage:
        prefix = f"leakage/{re.sub(r'[^a-zA-Z0-9_.-]+', '_', leakage.reference)}"  # one part of the name
        metrics[f"{prefix}/identities_shared"] = leakage.num_identities_above
        metrics[f"{prefix}/images_with_same_pixels"] = leakage.num_images_with_same_pixels
        metrics |= {f"{prefix}/images_above_{t}": share for t, share in leakage.share_of_images_above.items()}
    metrics |= _quality_metrics(card)
    return {f"audit/{name}": value for name, value in metrics.items() if value is not None and not math.isnan(value)}


def _quality_metrics(card: AuditCard) -> dict[str, float | None]:
    """Sharpness, diversity, distances to real faces, and privacy by each judge."""
    metrics: dict[str, float | None] = {}
    if card.detail:
        metrics["sharpness"] = card.detail.sharpness
    if card.diversity_scores:
        scores = card.diversity_scores.model_dump(exclude={"radius"})
        metrics |= {f"diversity/{name}": value for name, value in scores.items()}
    if card.quality:
        metrics |= {f"quality/{name}": value for name, value in card.quality.ours.model_dump().items()}
        metrics["quality/sharpness_ratio"] = card.quality.sharpness_ratio
    for number, judge in enumerate(card.privacy.judges if card.privacy else [], start=1):
        prefix = f"privacy/judge{number}"
        metrics |= {f"{prefix}/auc_by_{kind}": figures.auc for kind, figures in judge.membership.items()}
        metrics[f"{prefix}/images_above"] = judge.num_images_above
        metrics[f"{prefix}/match_median"] = judge.matches.median
    return metrics


def is_number(value: Any) -> bool:
    """Whether MLflow can store a value as a metric."""
    return isinstance(value, int | float) and not isinstance(value, bool)
