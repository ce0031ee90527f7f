"""Result cards -> rows of a leaderboard: one network, or the same benchmark with several seeds. No rendering.

Accuracies are fractions; the mean of a row is the plain mean over its core protocols, the columns of its table.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Literal

import numpy as np

from bench.errors import InputError
from bench.runs.cards import DatasetCard, ModelCard, ProtocolResult, ResultCard, TemplateResult, read_card
from bench.runs.inputs import RENDERED_PREFIX, is_rendered
from bench.runs.stage import generator_sha256
from evaluate.measure.checks import contradictions, grid_misleads
from evaluate.measure.scores import read_scores, scores_path_of
from evaluate.test_sets.registry import RFW, is_unregistered, unexpected_num_pairs

FIVE = ("lfw", "cfp_fp", "agedb_30", "calfw", "cplfw")
RENDERED_FIVE = tuple(RENDERED_PREFIX + name for name in FIVE)
_ORDER = {name: place for place, name in enumerate((*FIVE, "cfp_ff", *RENDERED_FIVE))}
_TITLES = {"agedb_30": "AgeDB-30", "ijbb": "IJB-B", "ijbc": "IJB-C"}

Family = Literal["real", "rfw", "rendered"]
"""Protocols that may stand in one table and share a mean: real sets, RFW's groups, rendered heads."""
FAMILIES: tuple[Family, ...] = ("real", "rfw", "rendered")

Division = Literal["closed", "open", "given", "floor"]
"""closed: a recipe of benchmarks.yaml, by hash; open: any other; given: weights from elsewhere; floor: no training."""


@dataclass(frozen=True)
class Result:
    """A result card with what lies beside it."""

    card: ResultCard
    scores_path: Path | None = None
    grid_path: Path | None = None
    generator_sha256: str = ""
    """Of the generator's settings without the seed, where the dataset's card is there."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Estimate:
    """A number with its uncertainty."""

    value: float
    spread: float
    """Standard error over pairs, or the standard deviation over several seeds."""
    low: float
    high: float
    """95 % interval over the test pairs: the bootstrap's, or 1.96 standard errors each way in cards of schema 1."""
    seeds: tuple[float, ...]
    """The number of each seed."""


@dataclass(frozen=True)
class Row:
    """One line of a table: one network, or the same benchmark with several seeds."""

    results: tuple[Result, ...]
    """By seed; one result for each."""
    core: tuple[str, ...]
    """Protocols that enter the mean."""
    extras: tuple[str, ...]
    """Protocols that the row has beyond those."""
    notes: tuple[str, ...]
    division: Division
    is_reference: bool = False
    """Whether the training faces are the photographs that rows of the same recipe state their gap to."""

    @property
    def card(self) -> ResultCard:
        """The card of the first seed, for what all seeds share."""
        return self.results[0].card

    @property
    def is_floor(self) -> bool:
        """Whether the row shows what is reached without any training."""
        return self.division == "floor"

    @property
    def recipe(self) -> str:
        """Name of the recipe; empty where there is none."""
        return str((self.card.recipe or {}).get("name", ""))

    @property
    def recipe_sha256(self) -> str | None:
        """What makes two recipes the same."""
        return (self.card.recipe or {}).get("sha256")

    @property
    def label(self) -> str:
        """Name, with the scale where the name does not say it."""
        card = self.card
        if card.row == "floor" and isinstance(card.inputs.get("floor"), dict):
            backbone = card.inputs["floor"]
            return f"{card.name} ({backbone['kind']}-{backbone['depth']}, width {backbone['width']})"
        return card.name

    def protocol(self, name: str) -> Estimate:
        """Accuracy on one protocol."""
        return self._estimate((name,))

    @cached_property
    def mean(self) -> Estimate:
        """Mean over the core protocols, which are taken as independent."""
        return self._estimate(self.core)

    def _estimate(self, names: Sequence[str]) -> Estimate:
        """Mean over protocols: spreads of independent sets add in squares, and so do both ends of their intervals."""
        seeds, errors, lows, highs = [], [], [], []
        for result in self.results:
            parts = [result.card.protocols[name] for name in names]
            accuracies = np.array([one.accuracy for one in parts])
            margins = [(1.96 * one.standard_error,) * 2 for one in parts]
            ends = np.array(
                [one.interval or (a - m, a + n) for one, a, (m, n) in zip(parts, accuracies, margins, strict=True)]
            )
            below, above = np.sqrt(np.sum((ends - accuracies[:, None]) ** 2, axis=0)) / len(parts)
            seeds.append(float(accuracies.mean()))
            errors.append(float(np.sqrt(np.sum([one.standard_error**2 for one in parts])) / len(parts)))
            lows.append(below)
            highs.append(above)
        value = fmean(seeds)
        spread = errors[0] if len(seeds) == 1 else float(np.std(seeds, ddof=1))
        return Estimate(value, spread, value - float(np.mean(lows)), value + float(np.mean(highs)), tuple(seeds))

    @property
    def group_spread(self) -> tuple[float, float | None] | None:
        """Sample standard deviation over RFW's groups: mean over the seeds, and deviation where there are several.

        None unless the core protocols are those groups.
        """
        if self.core != RFW:
            return None
        seeds = [np.std([one.card.protocols[name].accuracy for name in RFW], ddof=1) for one in self.results]
        return float(np.mean(seeds)), float(np.std(seeds, ddof=1)) if len(seeds) > 1 else None

    @property
    def device_hours(self) -> float | None:
        """Hours times processes over all stages, mean over the seeds; None without stage costs."""
        totals = [sum(cost.device_hours for cost in one.card.stage_costs.values()) for one in self.results]
        return float(np.mean(totals)) if self.card.stage_costs else None

    @property
    def price(self) -> float | None:
        """Price of all stages, mean over the seeds; None unless every stage of every seed knows its price."""
        stages = [cost.price for one in self.results for cost in one.card.stage_costs.values()]
        prices = [price for price in stages if price is not None]
        return sum(prices) / len(self.results) if prices and len(prices) == len(stages) else None

    @property
    def device(self) -> str:
        """GPU or CPU: what the hours are of."""
        return "GPU" if any(cost.device.startswith("cuda") for cost in self.card.stage_costs.values()) else "CPU"

    def rate(self, stage: str) -> float | None:
        """Images per second of a stage, mean over the seeds."""
        costs = [one.card.stage_costs.get(stage) for one in self.results]
        rates = [cost.images_per_second for cost in costs if cost is not None and cost.images_per_second]
        return float(np.mean(rates)) if rates else None

    @property
    def commit(self) -> str:
        """Short commit, with a star where tracked files were changed."""
        git = self.card.git
        return (git.commit[:7] if git.commit else "none") + ("*" if git.dirty else "")


def read_local(runs: Path) -> list[Result]:
    """Every result of ``runs``, with scores, sample grid and parents where they are there.

    Raises:
        InputError: If a card does not fit the schema, or contradicts itself.
    """
    return [_local_result(path) for path in sorted(runs.glob("*/results/*/result.json"))]


def read_committed(reports: Path) -> list[Result]:
    """Every result of ``reports/results``: NAME.json, with the scores NAME.npz where they are there."""
    results = []
    for path in sorted((reports / "results").glob("*.json")):
        scores, grid = (_existing(path.with_suffix(suffix)) for suffix in (".npz", ".jpg"))
        results.append(Result(read_checked(path), scores, grid))
    return results


def protocol_title(name: str) -> str:
    """A protocol's name as papers print it; a rendered one keeps the word."""
    if name in RFW:
        return f"RFW {name.removeprefix('rfw_').title()}"
    plain = name.removeprefix(RENDERED_PREFIX)
    title = _TITLES.get(plain, plain.upper().replace("_", "-"))
    return f"render {title}" if is_rendered(name) else title


def family(name: str) -> Family:
    """Which protocols a protocol may stand beside."""
    return "rendered" if is_rendered(name) else "rfw" if name in RFW else "real"


def measured(card: ResultCard, name: str) -> ProtocolResult | TemplateResult:
    """What a card says of a protocol, be it of pairs of faces or of templates."""
    return card.protocols[name] if name in card.protocols else card.templates[name]


def read_checked(path: Path) -> ResultCard:
    """The result card of a folder, or a committed card, checked against itself and against the scores beside it.

    Raises:
        InputError: If the card does not fit the schema, or contradicts itself.
    """
    card = read_card(path, ResultCard)
    scores = scores_path_of(path)
    wrong = contradictions(card, read_scores(scores) if scores.exists() else None)
    if wrong:
        raise InputError(f"{path}: {'; '.join(wrong)}; run the evaluation again")
    return card


def place(name: str) -> tuple[int, str]:
    """Where a protocol stands among columns."""
    return _ORDER.get(name, len(_ORDER)), name


def make_row(
    core: tuple[str, ...], results: Sequence[Result], *, closed: set[tuple[str, str]], references: set[str]
) -> Row:
    """One result per seed, the newest; several seeds in one row.

    Args:
        core: The columns of the table.
        results: Results that are seeds of each other.
        closed: Names and hashes of the recipes of benchmarks.yaml.
        references: Names of the benchmarks of benchmarks.yaml that train on the real reference.
    """
    newest: dict[int, Result] = {}
    for result in sorted(results, key=lambda result: result.card.created_utc):
        newest[result.card.seed] = result
    kept = tuple(newest[seed] for seed in sorted(newest))
    card = kept[0].card
    shared = set.intersection(*(set(result.card.protocols) for result in kept))
    extras = [name for name in shared - set(core) if core[0] in shared and family(name) == family(core[0])]
    division: Division = "floor"
    if card.row != "floor":
        recipe = card.recipe or {}
        is_closed = (recipe.get("name"), recipe.get("sha256")) in closed
        division = "given" if card.row == "model" else "closed" if is_closed else "open"
    notes = _notes(core, kept, len(results) - len(kept))
    is_reference = card.row == "dataset" and card.scale in references
    return Row(kept, core, tuple(sorted(extras, key=place)), tuple(notes), division, is_reference)


def _notes(core: tuple[str, ...], results: Sequence[Result], num_older: int) -> list[str]:
    """What a reader must know of a row beside its numbers."""
    notes = list(dict.fromkeys(note for result in results for note in result.notes))
    if num_older:
        notes.append(f"{num_older} older results of the same seeds left out")
    first = {name: measured(results[0].card, name) for name in core}
    unknown = [protocol_title(name) for name, one in first.items() if is_unregistered(name, one)]
    if unknown:
        notes.append(f"copies of {', '.join(unknown)} that no registry knows")
    notes += [
        f"{protocol_title(name)} has {one.num_pairs:,} pairs, published are {published:,}"
        for name, one in first.items()
        if (published := unexpected_num_pairs(name, one))
    ]
    for result in results:
        found = result.card.protocols
        misled = [
            f"{protocol_title(name)} {100 * (found[name].exact_accuracy or 0):.2f}"
            for name in core
            if name in found and grid_misleads(found[name])
        ]
        if misled:
            notes.append(
                f"the published grid misleads: exact thresholds give {', '.join(misled)} (seed {result.card.seed})"
            )
    return notes


def row_key(result: Result, core: tuple[str, ...]) -> str:
    """What results must share to stand in one row of a table as seeds of each other."""
    card = result.card
    test_sets = [measured(card, name).sha256 for name in core]
    if card.row == "floor":
        return json.dumps([card.row, card.name, card.inputs.get("floor"), test_sets])
    if card.row == "model":
        return json.dumps([card.row, card.model.get("weights_sha256"), test_sets])
    recipe, dataset = card.recipe or {}, card.dataset or {}
    generator = dataset.get("generator_sha256") or result.generator_sha256
    names = [card.row, card.scale, card.name, recipe.get("sha256"), dataset.get("name"), generator]
    return json.dumps([*names, test_sets])


def _local_result(path: Path) -> Result:
    card = read_checked(path)
    found = _existing(scores_path_of(path))
    if card.row != "dataset":
        return Result(card, found)
    root = path.parent.parent.parent
    model_dir = root / "models" / str(card.inputs.get("model"))
    if not (model_dir / "model.json").exists():
        return Result(card, found, notes=("the model's card is gone",))
    dataset_dir = root / "faces" / str(read_card(model_dir, ModelCard).inputs.get("dataset"))
    if not (dataset_dir / "dataset.json").exists():
        return Result(card, found, notes=("the dataset's card is gone",))
    digest = generator_sha256(read_card(dataset_dir, DatasetCard).inputs.get("generator", {}))
    return Result(card, found, _existing(dataset_dir / "grid.png"), digest)


def _existing(path: Path) -> Path | None:
    return path if path.exists() else None
