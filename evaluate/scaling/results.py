"""The plan of a sweep -> the results of its settings, with their seeds; and resampled errors of several settings."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.config.overrides import describe_change
from bench.errors import InputError
from bench.runs.cards import CARD_NAMES, ResultCard, read_card
from bench.runs.sweeps.plan_file import PlannedPoint, SweepPlan
from bench.runs.sweeps.points import short_names
from evaluate.measure.scores import IDENTITIES, Scores, read_scores

NUM_DRAWS = 400
"""Draws of the bootstrap over seeds and pairs."""
_SIZE_FIELDS = ("num_identities", "images_per_identity", "identities", "images", "total_images")
"""Last names of fields that say how large a dataset is."""


@dataclass(frozen=True)
class Setting:
    """One setting of a sweep: a base with values of the varied fields, and its finished seeds."""

    base: str
    values: dict[str, Any]
    points: tuple[PlannedPoint, ...]
    """The finished points, one per seed, in the order of ``cards``."""
    cards: tuple[ResultCard, ...]
    folders: tuple[Path, ...]

    def of_seeds(self, seeds: Collection[int]) -> "Setting":
        """The setting with some of its seeds."""
        positions = [i for i, point in enumerate(self.points) if point.seed in seeds]
        return replace(
            self,
            points=tuple(self.points[i] for i in positions),
            cards=tuple(self.cards[i] for i in positions),
            folders=tuple(self.folders[i] for i in positions),
        )

    @property
    def mean_accuracy(self) -> float:
        """Mean over seeds and protocols, a fraction."""
        return float(np.mean([card.mean_accuracy or 0.0 for card in self.cards]))

    @property
    def seed_std(self) -> float | None:
        """Sample standard deviation of the mean accuracy over the seeds; None for one seed."""
        accuracies = [card.mean_accuracy or 0.0 for card in self.cards]  # cards of a setting have a mean
        return float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else None

    @property
    def num_identities(self) -> int:
        """Identities of the dataset, mean over the seeds."""
        return round(float(np.mean([card.dataset.num_identities or 0 for card in self.cards if card.dataset])))

    @property
    def num_images(self) -> int:
        """Images of the dataset, mean over the seeds."""
        return round(float(np.mean([card.dataset.num_images or 0 for card in self.cards if card.dataset])))

    def accuracy(self, protocol: str) -> float:
        """Accuracy on one protocol, mean over the seeds."""
        return float(np.mean([card.protocols[protocol].accuracy for card in self.cards]))


def read_settings_of_sweep(plan: SweepPlan, runs: Path) -> list[Setting]:
    """The settings of a sweep that have a finished seed with a mean accuracy, in the order of the plan.

    Args:
        plan: The plan.
        runs: Folder that the plan's paths start from.
    """
    by_setting: dict[str, list[PlannedPoint]] = {}
    for point in plan.points:
        if (runs / point.result / CARD_NAMES[ResultCard]).exists():
            key = " ".join([point.base, *(describe_change(*item) for item in point.values.items())])
            by_setting.setdefault(key, []).append(point)
    settings = []
    for points in by_setting.values():
        cards = {point.label: read_card(runs / point.result, ResultCard) for point in points}
        finished = tuple(point for point in points if cards[point.label].mean_accuracy is not None)
        if finished:
            folders = tuple(runs / point.result for point in finished)
            in_order = tuple(cards[point.label] for point in finished)
            settings.append(Setting(finished[0].base, dict(finished[0].values), finished, in_order, folders))
    return settings


def group_by_size(settings: Sequence[Setting], fields: Sequence[str]) -> dict[str, list[Setting]]:
    """Settings that differ in the size of their dataset alone: title -> settings, the smallest first.

    Args:
        settings: Settings of a sweep.
        fields: Its varied fields, dotted.
    """
    titles = short_names(fields)
    groups: dict[str, list[Setting]] = {}
    for setting in settings:
        others = {field: value for field, value in setting.values.items() if field.split(".")[-1] not in _SIZE_FIELDS}
        title = " ".join([setting.base, *(describe_change(titles[field], value) for field, value in others.items())])
        groups.setdefault(title, []).append(setting)
    return {title: sorted(members, key=lambda member: member.num_images) for title, members in groups.items()}


def resampled_errors(settings: Sequence[Setting], *, seed: int = 0, num_draws: int = NUM_DRAWS) -> NDArray:
    """Errors of settings when seeds and test pairs are drawn anew, shape (R, P).

    All settings get the same pairs, or identities where the test set names them, and the same positions of seeds. With
    S seeds, deviations of drawn seeds are widened by sqrt(S / (S - 1)), since S draws of S seeds vary too little.

    Args:
        settings: P settings with equally many seeds and equal test sets.
        seed: Seed of the draws.
        num_draws: R.

    Raises:
        InputError: If scores are missing or broken, or were measured on other pairs.
    """
    scores = [[read_scores(folder / "scores.npz") for folder in setting.folders] for setting in settings]
    num_seeds = len(scores[0])
    rng = np.random.default_rng(seed)
    names = [name for name in scores[0][0] if all(name in each for seeds in scores for each in seeds)]
    if not names:
        raise InputError(f"the results of {settings[0].base} share no protocol; evaluate all of them on the same sets")
    errors = np.mean([_resample_pairs(name, scores, num_seeds, num_draws, rng) for name in names], axis=0)  # (R, P, S)
    means = errors.mean(axis=2)
    if num_seeds == 1:
        return means
    drawn = rng.integers(0, num_seeds, size=(num_draws, 1, num_seeds))
    deviation = np.take_along_axis(errors, drawn, axis=2).mean(axis=2) - means
    return means + np.sqrt(num_seeds / (num_seeds - 1)) * deviation


def _resample_pairs(
    name: str, scores: Sequence[Sequence[Scores]], num_seeds: int, num_draws: int, rng: np.random.Generator
) -> NDArray:
    """Error of every setting and seed on resampled pairs of one protocol, shape (R, P, S)."""
    first = scores[0][0][name]
    rows = [each[name] for seeds in scores for each in seeds]
    if any(not np.array_equal(row["is_genuine"], first["is_genuine"]) for row in rows):
        raise InputError(f"{name} differs in its pairs between results of the sweep; evaluate all on the same file")
    weights = pair_weights(first["is_genuine"], first.get(IDENTITIES), num_draws, rng)
    wrong = np.stack([~row["is_correct"] for row in rows]).astype(np.float64)  # (P * S, pairs)
    return (weights @ wrong.T).reshape(num_draws, len(scores), num_seeds)


def pair_weights(is_genuine: NDArray, identities: NDArray | None, num_draws: int, rng: np.random.Generator) -> NDArray:
    """Weight of each pair in each draw, shape (R, pairs); each row adds up to 1.

    Pairs are drawn with replacement. Where identities are known, these are drawn: a genuine pair counts as often as its
    identity, an impostor pair as the product of its two, and the shares of both kinds stay fixed, as in
    ``evaluate.measure.uncertainty.bootstrap``.

    Args:
        is_genuine: Shape (pairs,).
        identities: Identities on both images of a pair, shape (pairs, 2); None draws pairs.
        num_draws: R.
        rng: Source of the draws.
    """
    num_pairs = len(is_genuine)
    if identities is None:
        return rng.multinomial(num_pairs, np.full(num_pairs, 1 / num_pairs), num_draws).astype(np.float64) / num_pairs
    distinct, indices = np.unique(identities, return_inverse=True)
    first, second = indices.reshape(-1, 2).T
    counts = rng.multinomial(len(distinct), np.full(len(distinct), 1 / len(distinct)), num_draws)  # (R, identities)
    weights = counts[:, first] * np.where(is_genuine, 1, counts[:, second]).astype(np.float64)
    for kind in (is_genuine, ~is_genuine):
        totals = weights[:, kind].sum(axis=1, keepdims=True)
        weights[:, kind] *= kind.mean() / np.maximum(totals, 1)
    return weights
