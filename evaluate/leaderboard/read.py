"""Cards on disk -> results: of the local runs in ``runs/``, or the committed ones in ``reports/results``.

Every card is checked against itself and against its scores, so that no table shows a card that was edited by hand.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.errors import InputError
from bench.files import is_hidden
from bench.runs.cards import ResultCard, read_card
from bench.runs.fingerprints import generator_sha256
from bench.runs.parents import parents_of_result
from bench.runs.sweeps.plan_file import PLAN_NAME, read_plan
from evaluate.measure.checks import contradictions
from evaluate.measure.scores import read_scores, scores_path_of


@dataclass(frozen=True)
class Result:
    """A result card and the files beside it."""

    card: ResultCard
    scores_path: Path | None = None
    grid_path: Path | None = None
    """Sample grid of the faces of the dataset."""
    generator_sha256: str = ""
    """Hash of the generator's settings without the seed; empty where the dataset's card is missing."""
    notes: tuple[str, ...] = ()
    """Remarks for the footnotes of a table."""
    sweep: str = ""
    """Name of the sweep that it is a point of, if its settings are not those of benchmarks.yaml."""


def read_local(runs: Path, broken: dict[Path, str] | None = None) -> list[Result]:
    """Every result of ``runs``, with scores, sample grid and generator where they exist.

    Args:
        runs: Folder of all runs.
        broken: Gets the path and the problem of each result that cannot be shown. None raises at the first.

    Raises:
        InputError: If a card does not fit the schema, or contradicts itself or its scores.
    """
    results = _read_all(sorted(runs.glob("*/results/*/result.json")), _read_local_result, broken)
    return _name_sweeps(results, runs, broken)


def read_committed(reports: Path, broken: dict[Path, str] | None = None) -> list[Result]:
    """Every result of ``reports/results``: NAME.json with its scores NAME.npz and its sample grid NAME.jpg, if any.

    Arguments and errors are those of ``read_local``.
    """
    results = _read_all(sorted((reports / "results").glob("*.json")), _read_committed_result, broken)
    return _name_sweeps(results, reports, broken)


def _name_sweeps(results: Sequence[Result], root: Path, broken: dict[Path, str] | None) -> list[Result]:
    """The results, those with changed settings with the name of the first sweep of ``root``/sweeps that holds them."""
    names: dict[tuple[str, str], str] = {}
    for path in sorted((root / "sweeps").glob(f"*/{PLAN_NAME}")):
        try:
            plan = read_plan(path.parent)
        except InputError as error:
            if broken is None:
                raise
            broken[path] = str(error).removeprefix(str(path)).lstrip(": ")
            continue
        for point in plan.points:
            names.setdefault((point.base, Path(point.result).name), plan.name)
    return [
        replace(result, sweep=names.get((result.card.scale, result.card.fingerprint), ""))
        if result.card.changes
        else result
        for result in results
    ]


def _read_all(paths: Sequence[Path], read: Callable[[Path], Result], broken: dict[Path, str] | None) -> list[Result]:
    results = []
    for path in paths:
        if is_hidden(path.name):
            continue
        try:
            results.append(read(path))
        except InputError as error:
            if broken is None:
                raise
            broken[path] = str(error).removeprefix(str(path)).lstrip(": ")
    return results


def _read_committed_result(path: Path) -> Result:
    scores, grid = (_if_exists(path.with_suffix(suffix)) for suffix in (".npz", ".jpg"))
    return Result(read_checked(path), scores, grid)


def read_checked(path: Path, *, resample: bool = False) -> ResultCard:
    """A result card, checked against itself and against the scores beside it.

    Args:
        path: Folder of a result.json, that file, or a committed card NAME.json.
        resample: Whether to draw intervals over identities again too, which takes seconds per protocol.

    Raises:
        InputError: If the card does not fit the schema, or contradicts itself.
    """
    card = read_card(path, ResultCard)
    scores = scores_path_of(path)
    problems = contradictions(card, read_scores(scores) if scores.exists() else None, resample=resample)
    if problems:
        raise InputError(f"{path} contradicts itself: {'; '.join(problems)}; run the evaluation again")
    return card


def _read_local_result(path: Path) -> Result:
    card = read_checked(path)
    scores = _if_exists(scores_path_of(path))
    if card.row != "dataset":
        return Result(card, scores)
    try:
        parents = parents_of_result(path.parent, card)
    except InputError as error:
        return Result(card, scores, notes=(f"the card of its model or its dataset is broken: {error}",))
    if parents.model is None:
        return Result(card, scores, notes=("the model's card is missing",))
    if parents.dataset is None or parents.dataset_dir is None:
        return Result(card, scores, notes=("the dataset's card is missing",))
    digest = generator_sha256(parents.dataset.inputs.get("generator", {}))
    return Result(card, scores, _if_exists(parents.dataset_dir / "grid.png"), digest)


def _if_exists(path: Path) -> Path | None:
    return path if path.exists() else None
