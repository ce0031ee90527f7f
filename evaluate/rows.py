"""Result cards -> the tables and rows of a leaderboard: what is compared with what. No rendering.

A table holds rows measured on the same protocols. Real and rendered protocols never share one: a result that has both
gives a row to each. Accuracies are fractions; the mean of a row is the plain mean of its table's columns.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean

import numpy as np

from bench.cards import DatasetCard, ModelCard, ResultCard, read_card
from bench.errors import InputError
from bench.inputs import RENDERED_PREFIX, is_rendered
from evaluate.registry import is_unknown, wrong_count

FIVE = ("lfw", "cfp_fp", "agedb_30", "calfw", "cplfw")
RENDERED_FIVE = tuple(RENDERED_PREFIX + name for name in FIVE)
_ORDER = {name: place for place, name in enumerate((*FIVE, "cfp_ff", *RENDERED_FIVE))}


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
    """A number with its uncertainty: the standard error over pairs, or the standard deviation over several seeds."""

    value: float
    spread: float


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

    @property
    def card(self) -> ResultCard:
        """The card of the first seed, for what all seeds share."""
        return self.results[0].card

    @property
    def is_floor(self) -> bool:
        """Whether the row shows what is reached without any training."""
        return self.card.row == "floor"

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
        results = [result.card.protocols[name] for result in self.results]
        return _estimate([one.accuracy for one in results], results[0].standard_error)

    @cached_property
    def mean(self) -> Estimate:
        """Mean over the core protocols, which are taken as independent."""
        means = [fmean(one.card.protocols[name].accuracy for name in self.core) for one in self.results]
        errors = np.array([self.card.protocols[name].standard_error for name in self.core])
        return _estimate(means, float(np.sqrt(np.sum(errors**2)) / len(errors)))

    @property
    def device_hours(self) -> float | None:
        """Hours times processes over all stages, mean over the seeds; None without stage costs."""
        totals = [sum(cost.device_hours for cost in one.card.stage_costs.values()) for one in self.results]
        return float(np.mean(totals)) if self.card.stage_costs else None

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


@dataclass(frozen=True)
class Table:
    """Rows that may be compared: best first, floors last."""

    core: tuple[str, ...]
    extras: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def is_rendered(self) -> bool:
        """Whether the protocols are rendered heads."""
        return is_rendered(self.core[0])

    @property
    def title(self) -> str:
        """What the rows are measured on."""
        if self.core == FIVE:
            return "Real faces: the five sets"
        if self.core == RENDERED_FIVE:
            return "Rendered heads: the five protocols"
        return f"{'Rendered heads' if self.is_rendered else 'Real faces'}: {', '.join(map(protocol_title, self.core))}"

    @property
    def key(self) -> str:
        """Short name for anchors and the CSV file."""
        named = {FIVE: "real_five", RENDERED_FIVE: "rendered_five"}
        return named.get(self.core) or ("rendered_" if self.is_rendered else "real_") + "_".join(self.core)

    @cached_property
    def best_floor(self) -> float | None:
        """Highest mean among the floors."""
        return max((row.mean.value for row in self.rows if row.is_floor), default=None)

    def gap_to_floor(self, row: Row) -> float | None:
        """Mean of the row less the best floor's; None without a floor, or for a floor."""
        return None if row.is_floor or self.best_floor is None else row.mean.value - self.best_floor

    @cached_property
    def borda_ranks(self) -> dict[int, int]:
        """Place of each row that is no floor, by position: a point per row beaten on a protocol, half on a tie."""
        ranked = [i for i, row in enumerate(self.rows) if not row.is_floor]
        if not ranked:
            return {}
        values = np.array([[self.rows[i].protocol(name).value for name in self.core] for i in ranked])  # (rows, sets)
        beaten = (values[:, None] > values[None]).sum(axis=(1, 2)) + (values[:, None] == values[None]).sum((1, 2)) / 2
        return {i: 1 + int((beaten > points).sum()) for i, points in zip(ranked, beaten, strict=True)}


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
        scores = path.with_suffix(".npz")
        results.append(Result(_read_checked(path), scores if scores.exists() else None))
    return results


def make_tables(results: Iterable[Result]) -> list[Table]:
    """Tables of results: the five real sets first, then other real sets, then rendered heads."""
    groups: dict[tuple[str, ...], dict[str, list[Result]]] = {}
    for result in results:
        names = sorted(result.card.protocols, key=_place)
        for rendered in (False, True):
            part = tuple(name for name in names if is_rendered(name) == rendered)
            if part:
                core = next((five for five in (FIVE, RENDERED_FIVE) if set(five) <= set(part)), part)
                groups.setdefault(core, {}).setdefault(_row_key(result, core), []).append(result)
    tables = [_make_table(core, list(rows.values())) for core, rows in groups.items()]
    return sorted(tables, key=lambda table: (table.is_rendered, table.core != FIVE, -len(table.core), table.core))


def protocol_title(name: str) -> str:
    """A protocol's name as papers print it; a rendered one keeps the word."""
    rendered = is_rendered(name)
    plain = name.removeprefix(RENDERED_PREFIX).upper().replace("_", "-")
    plain = {"AGEDB-30": "AgeDB-30"}.get(plain, plain)
    return f"render {plain}" if rendered else plain


def _make_table(core: tuple[str, ...], groups: Sequence[Sequence[Result]]) -> Table:
    rows = [_make_row(core, results) for results in groups]
    rows.sort(key=lambda row: (row.is_floor, -row.mean.value, row.label))
    extras = sorted({name for row in rows for name in row.extras}, key=_place)
    usual = {name: rows[0].card.protocols[name].sha256 for name in core}
    marked = []
    for row in rows:
        other = [protocol_title(name) for name in core if row.card.protocols[name].sha256 != usual[name]]
        note = f"measured on another copy of {', '.join(other)} than the first row"
        marked.append(Row(row.results, row.core, row.extras, (*row.notes, note)) if other else row)
    return Table(core, tuple(extras), tuple(marked))


def _make_row(core: tuple[str, ...], results: Sequence[Result]) -> Row:
    """One result per seed, the newest; several seeds in one row."""
    newest: dict[int, Result] = {}
    for result in sorted(results, key=lambda result: result.card.created_utc):
        newest[result.card.seed] = result
    kept = tuple(newest[seed] for seed in sorted(newest))
    notes = list(dict.fromkeys(note for result in kept for note in result.notes))
    if len(kept) < len(results):
        notes.append(f"{len(results) - len(kept)} older results of the same seeds left out")
    card = kept[0].card
    unknown = [protocol_title(name) for name in core if is_unknown(name, card.protocols[name])]
    if unknown:
        notes.append(f"copies of {', '.join(unknown)} that no registry knows")
    notes += [
        f"{protocol_title(name)} has {card.protocols[name].num_pairs:,} pairs, published are {published:,}"
        for name in core
        if (published := wrong_count(name, card.protocols[name]))
    ]
    shared = set.intersection(*(set(result.card.protocols) for result in kept))
    extras = [name for name in shared - set(core) if is_rendered(name) == is_rendered(core[0])]
    return Row(kept, core, tuple(sorted(extras, key=_place)), tuple(notes))


def _row_key(result: Result, core: tuple[str, ...]) -> str:
    """What results must share to stand in one row as seeds of each other."""
    card = result.card
    test_sets = [card.protocols[name].sha256 for name in core]
    if card.row == "floor":
        return json.dumps([card.row, card.name, card.inputs.get("floor"), test_sets])
    if card.row == "model":
        return json.dumps([card.row, card.model.get("weights_sha256"), test_sets])
    recipe, dataset = card.recipe or {}, card.dataset or {}
    names = [card.row, card.scale, card.name, recipe.get("sha256"), dataset.get("name"), result.generator_sha256]
    return json.dumps([*names, test_sets])


def _local_result(path: Path) -> Result:
    card = _read_checked(path)
    scores = path.parent / "scores.npz"
    found = scores if scores.exists() else None
    if card.row != "dataset":
        return Result(card, found)
    root = path.parent.parent.parent
    model_dir = root / "models" / str(card.inputs.get("model"))
    if not (model_dir / "model.json").exists():
        return Result(card, found, notes=("the model's card is gone",))
    dataset_dir = root / "faces" / str(read_card(model_dir, ModelCard).inputs.get("dataset"))
    if not (dataset_dir / "dataset.json").exists():
        return Result(card, found, notes=("the dataset's card is gone",))
    settings = json.dumps(read_card(dataset_dir, DatasetCard).inputs.get("generator"), sort_keys=True)
    grid = dataset_dir / "grid.png"
    digest = hashlib.sha256(settings.encode()).hexdigest()
    return Result(card, found, grid if grid.exists() else None, digest)


def _read_checked(path: Path) -> ResultCard:
    card = read_card(path, ResultCard)
    mean = fmean(result.accuracy for result in card.protocols.values()) if card.protocols else float("nan")
    if not abs(mean - card.mean_accuracy) < 1e-9:
        raise InputError(
            f"{path}: mean_accuracy is {card.mean_accuracy}, but its protocols average {mean:.6f}; "
            "run the evaluation again"
        )
    return card


def _estimate(values: Sequence[float], standard_error: float) -> Estimate:
    spread = standard_error if len(values) == 1 else float(np.std(values, ddof=1))
    return Estimate(float(np.mean(values)), spread)


def _place(name: str) -> tuple[int, str]:
    return _ORDER.get(name, len(_ORDER)), name
