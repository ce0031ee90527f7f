"""Cards on disk -> results: of the local runs in ``runs/``, or the committed ones in ``reports/results``.

Every card is checked against itself and against its scores, so that no table shows a card that was edited by hand.
"""

from dataclasses import dataclass
from pathlib import Path

from bench.errors import InputError
from bench.runs.cards import ResultCard, read_card
from bench.runs.fingerprints import generator_sha256
from bench.runs.parents import parents_of_result
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


def read_local(runs: Path) -> list[Result]:
    """Every result of ``runs``, with scores, sample grid and generator where they exist.

    Raises:
        InputError: If a card does not fit the schema, or contradicts itself.
    """
    return [_read_local_result(path) for path in sorted(runs.glob("*/results/*/result.json"))]


def read_committed(reports: Path) -> list[Result]:
    """Every result of ``reports/results``: NAME.json with its scores NAME.npz and its sample grid NAME.jpg, if any.

    Raises:
        InputError: If a card does not fit the schema, or contradicts itself.
    """
    results = []
    for path in sorted((reports / "results").glob("*.json")):
        scores, grid = (_if_exists(path.with_suffix(suffix)) for suffix in (".npz", ".jpg"))
        results.append(Result(read_checked(path), scores, grid))
    return results


def read_checked(path: Path) -> ResultCard:
    """A result card, checked against itself and against the scores beside it.

    Args:
        path: Folder of a result.json, that file, or a committed card NAME.json.

    Raises:
        InputError: If the card does not fit the schema, or contradicts itself.
    """
    card = read_card(path, ResultCard)
    scores = scores_path_of(path)
    problems = contradictions(card, read_scores(scores) if scores.exists() else None)
    if problems:
        raise InputError(f"{path} contradicts itself: {'; '.join(problems)}; run the evaluation again")
    return card


def _read_local_result(path: Path) -> Result:
    card = read_checked(path)
    scores = _if_exists(scores_path_of(path))
    if card.row != "dataset":
        return Result(card, scores)
    parents = parents_of_result(path.parent, card)
    if parents.model is None:
        return Result(card, scores, notes=("the model's card is missing",))
    if parents.dataset is None or parents.dataset_dir is None:
        return Result(card, scores, notes=("the dataset's card is missing",))
    digest = generator_sha256(parents.dataset.inputs.get("generator", {}))
    return Result(card, scores, _if_exists(parents.dataset_dir / "grid.png"), digest)


def _if_exists(path: Path) -> Path | None:
    return path if path.exists() else None
