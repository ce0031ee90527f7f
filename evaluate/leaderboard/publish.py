"""Chosen local results -> ``reports/results``, from which the committed leaderboard is rendered.

A result becomes NAME.json and NAME.npz; the sample grid goes along as a small NAME.jpg where every face of the dataset
was made by a generator: photographs of people are never published.
"""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from bench.errors import InputError
from bench.files import atomic_path
from bench.runs.cards import CARD_NAMES, DatasetCard, ModelCard, ResultCard, read_card
from evaluate.leaderboard.page import small_jpeg
from evaluate.leaderboard.rows import read_checked
from evaluate.leaderboard.write import write_committed_leaderboard


def publish(results: Sequence[Path], reports: Path) -> list[Path]:
    """Copy results into ``reports/results`` and render ``reports/leaderboard.*``.

    Args:
        results: Folders of a result.json; one of the same name that is there already is replaced.
        reports: The folder of committed reports.

    Returns:
        What was written: a card per result, and the page.

    Raises:
        InputError: If no folder is given, one holds no result, two of them would have one name, or a result
            contradicts itself. Nothing is copied then.
    """
    if not results:
        raise InputError('no result to publish; give folders, as in make publish RESULTS="runs/smoke/results/..."')
    cards = [(folder, read_checked(folder)) for folder in results]
    names = [published_name(card) for _, card in cards]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"two of the results are {' and '.join(twice)}; publish one of each name, scale and seed")
    for (folder, _), name in zip(cards, names, strict=True):
        _copy(folder, reports / "results" / name)
    written = [reports / "results" / f"{name}.json" for name in names]
    return [*written, write_committed_leaderboard(reports)]


def published_name(card: ResultCard) -> str:
    """Name of a published result: its benchmark, the floor's name behind it, and the seed where it is not 0."""
    name = {"dataset": card.scale, "floor": f"{card.scale}_{card.name}", "model": card.name}[card.row]
    return re.sub(r"[^\w.-]+", "_", name).lstrip(".") + (f"_seed{card.seed}" if card.seed else "")


def _copy(folder: Path, target: Path) -> None:
    grid = _generated_grid(folder)
    if grid is not None:
        with atomic_path(target.with_suffix(".jpg")) as temporary:
            temporary.write_bytes(grid)
    for source, suffix in (("scores.npz", ".npz"), (CARD_NAMES[ResultCard], ".json")):  # the card last
        if (folder / source).exists():
            with atomic_path(target.with_suffix(suffix)) as temporary:
                shutil.copyfile(folder / source, temporary)


def _generated_grid(folder: Path) -> bytes | None:
    """The sample grid of the result's dataset; None for photographs, and where the cards do not lead to it."""
    root = folder.parent.parent
    model_dir = root / "models" / str(read_card(folder, ResultCard).inputs.get("model"))
    if not (model_dir / CARD_NAMES[ModelCard]).exists():
        return None
    dataset_dir = root / "faces" / str(read_card(model_dir, ModelCard).inputs.get("dataset"))
    if not (dataset_dir / CARD_NAMES[DatasetCard]).exists() or not (dataset_dir / "grid.png").exists():
        return None
    is_generated = read_card(dataset_dir, DatasetCard).inputs["generator"].get("kind") in ("render", "vec2face")
    return small_jpeg(dataset_dir / "grid.png") if is_generated else None
