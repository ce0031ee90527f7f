"""Local results -> ``reports/results``, from which the committed leaderboard is rendered.

A result becomes NAME.json and NAME.npz. Its command loses the flags of folders on this machine. The sample grid is
copied as a small NAME.jpg if a generator drew every face of the dataset: photographs of people are never published.
"""

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from bench.config.generator import DRAWN_KINDS
from bench.errors import InputError
from bench.files import atomic_path
from bench.runs.cards import CARD_NAMES, ResultCard
from bench.runs.parents import parents_of_result
from evaluate.leaderboard.page import small_jpeg
from evaluate.leaderboard.read import read_checked
from evaluate.leaderboard.write import write_committed_leaderboard
from evaluate.measure.scores import scores_path_of

_FOLDER_FLAGS = re.compile(r" --(?:runs|weights|test-sets)[ =](?:'[^']*'|\S+)")
_MAX_NAME = 150
"""Characters of a name that states changed settings; file systems allow 255."""


def publish(results: Sequence[Path], reports: Path) -> list[Path]:
    """Copy results into ``reports/results`` and render ``reports/leaderboard.*``.

    Args:
        results: Folders of a result.json, or these files. A published result of the same name is replaced.
        reports: Folder of committed reports.

    Returns:
        The files written: a card per result, and the page.

    Raises:
        InputError: If no folder is given, one holds no result, two of them have the same name, or a result
            contradicts itself or its scores. Nothing is copied then.
    """
    if not results:
        raise InputError('no result was given; name folders, as in: make publish RESULTS="runs/smoke/results/..."')
    cards = [(folder, _read_complete(folder)) for folder in map(_result_folder, results)]
    names = [published_name(card) for _, card in cards]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"several results have the name {', '.join(repeated)}; publish one per name, scale and seed")
    for (folder, card), name in zip(cards, names, strict=True):
        _copy(folder, card.command, reports / "results" / name)
    written = [reports / "results" / f"{name}.json" for name in names]
    return [*written, write_committed_leaderboard(reports)]


def _result_folder(path: Path) -> Path:
    """The folder of a result, given by its folder or its result.json."""
    if path.is_file() and path.name != CARD_NAMES[ResultCard]:
        raise InputError(f"{path} is not the result of a run; give a folder that holds {CARD_NAMES[ResultCard]}")
    return path.parent if path.is_file() else path


def _read_complete(folder: Path) -> ResultCard:
    """The card in a folder, every number of which is checked against its scores."""
    card = read_checked(folder, resample=True)
    if card.protocols and not scores_path_of(folder).exists():
        raise InputError(f"{scores_path_of(folder)} is missing, so no number can be checked; run the evaluation again")
    return card


def published_name(card: ResultCard) -> str:
    """Name of the files of a published result.

    It is the benchmark for a dataset's row, with the settings that were changed; benchmark and floor for a floor, and
    the model's name for given weights. The seed follows unless it is 0.
    """
    name = {
        "dataset": card.name[:_MAX_NAME] if card.changes else card.scale,
        "floor": f"{card.scale}_{card.name}",
        "model": card.name,
    }[card.row]
    return re.sub(r"[^\w.-]+", "_", name).lstrip(".") + (f"_seed{card.seed}" if card.seed else "")


def _copy(folder: Path, command: str, target: Path) -> None:
    grid = _generated_grid(folder)
    if grid is not None:
        with atomic_path(target.with_suffix(".jpg")) as temporary:
            temporary.write_bytes(grid)
    if scores_path_of(folder).exists():
        with atomic_path(target.with_suffix(".npz")) as temporary:
            shutil.copyfile(scores_path_of(folder), temporary)
    text = (folder / CARD_NAMES[ResultCard]).read_text()
    with atomic_path(target.with_suffix(".json")) as temporary:
        temporary.write_text(text.replace(json.dumps(command), json.dumps(_FOLDER_FLAGS.sub("", command))))


def _generated_grid(folder: Path) -> bytes | None:
    """The sample grid of the result's dataset as a JPEG.

    None for a dataset of photographs, and if the grid or the card of the model or of the dataset is missing.
    """
    parents = parents_of_result(folder)
    if parents.dataset is None or parents.dataset_dir is None:
        return None
    grid = parents.dataset_dir / "grid.png"
    is_generated = parents.dataset.inputs["generator"].get("kind") in DRAWN_KINDS
    return small_jpeg(grid) if is_generated and grid.exists() else None
