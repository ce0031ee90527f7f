"""The scores of a result on disk, from which every figure can be drawn again."""

import zlib
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.files import atomic_path

FIELDS = ("scores", "is_genuine", "fold", "is_correct")
IDENTITIES = "identities"
"""A further array, shape (num_pairs, 2), where the test set tells who is on each image."""

Scores = dict[str, dict[str, NDArray]]
"""Protocol name -> arrays of FIELDS, each of shape (num_pairs,), and IDENTITIES where they are known."""


def write_scores(path: str | Path, scores: Scores) -> None:
    """Write ``scores.npz`` with the arrays NAME/scores, NAME/is_genuine, ...; it appears whole."""
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
        InputError: If the file is not whole.
    """
    scores: Scores = {}
    try:
        with np.load(path, allow_pickle=False) as file:
            for key in file.files:
                name, _, field = key.rpartition("/")
                scores.setdefault(name, {})[field] = file[key]
    except (OSError, ValueError, EOFError, BadZipFile, zlib.error) as error:
        raise InputError(f"{path} is not a whole scores.npz ({error}); run the evaluation again") from None
    for name, arrays in scores.items():
        missing = [field for field in FIELDS if field not in arrays]
        if missing:
            raise InputError(f"{path}: {name} lacks {', '.join(missing)}; run the evaluation again")
    return scores
