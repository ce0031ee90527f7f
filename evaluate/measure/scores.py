"""scores.npz: the score and the decision of every pair of a result, from which its numbers and plots follow."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.files import atomic_path, read_arrays
from bench.runs.cards import CARD_NAMES, ResultCard

FIELDS = ("scores", "is_genuine", "fold", "is_correct")
IDENTITIES = "identities"
"""A further array, shape (P, 2): the identities on both images of a pair, where the test set states them."""

_EVALUATE_AGAIN = "run the evaluation again"
Scores = dict[str, dict[str, NDArray]]
"""Protocol name -> arrays of FIELDS, each of shape (P,) for P pairs, and IDENTITIES where they are known."""


def scores_path_of(result: str | Path) -> Path:
    """Where the scores of a result lie, whether they exist or not.

    Args:
        result: Folder of a result, its result.json, or a committed card NAME.json, whose scores are NAME.npz.
    """
    result = Path(result)
    if result.is_dir():
        return result / "scores.npz"
    if result.name == CARD_NAMES[ResultCard]:
        return result.parent / "scores.npz"
    return result.with_suffix(".npz")


def write_scores(path: str | Path, scores: Scores) -> None:
    """Write ``scores.npz`` with the arrays NAME/scores, NAME/is_genuine, ..., atomically."""
    arrays = {
        f"{name}/{field}": fields[field]
        for name, fields in scores.items()
        for field in (*FIELDS, IDENTITIES)
        if field in FIELDS or field in fields
    }
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # its stub forgets **kwds of arrays


def read_scores(path: str | Path) -> Scores:
    """Read ``scores.npz``.

    Raises:
        InputError: If the file is missing or damaged, a protocol lacks a field, or its arrays have wrong shapes, types
            or values.
    """
    scores: Scores = {}
    for key, array in read_arrays(path, fix=_EVALUATE_AGAIN).items():
        name, _, field = key.rpartition("/")
        scores.setdefault(name, {})[field] = array
    for name, arrays in scores.items():
        missing = [field for field in FIELDS if field not in arrays]
        if missing:
            raise InputError(f"{path}: {name} lacks {', '.join(missing)}; {_EVALUATE_AGAIN}")
        if not _are_scores(arrays):
            raise InputError(f"{path}: {name} holds arrays that are no scores of pairs; {_EVALUATE_AGAIN}")
    return scores


def _are_scores(arrays: dict[str, NDArray]) -> bool:
    """Whether all arrays of a protocol have the shape (P,), P above 0, and their types, and all scores are finite."""
    scores = arrays["scores"]
    kinds = {field: arrays[field].dtype.kind for field in FIELDS}
    has_types = kinds["scores"] == "f" and kinds["fold"] in "iu" and kinds["is_genuine"] == kinds["is_correct"] == "b"
    has_shapes = scores.ndim == 1 and scores.size > 0 and all(arrays[field].shape == scores.shape for field in FIELDS)
    identities = arrays.get(IDENTITIES, np.empty((scores.size, 2), dtype=int))
    is_whole = identities.dtype.kind in "iu" and identities.shape == (scores.size, 2)
    return has_types and has_shapes and is_whole and bool(np.isfinite(scores).all())
