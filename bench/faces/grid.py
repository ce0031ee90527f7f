"""Sample faces of a dataset as a grid with one row per identity (grid.png)."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.errors import InputError
from bench.faces.face import FACE_SIZE, Faces
from bench.files import atomic_path
from bench.machine.progress import note

_GAP = 2
"""White pixels between the faces of a grid."""


def sample_grid(
    faces: Faces, *, num_rows: int = 12, num_columns: int = 8, skip_corrupt: bool = False
) -> list[list[NDArray[np.uint8]]]:
    """The first faces of some identities, one row per identity; each face is uint8, shape (H, W, 3).

    The identities are evenly spaced among those with at least ``num_columns`` faces. Where no identity has that many,
    they are taken from those with the most faces.

    Args:
        faces: The dataset.
        num_rows: Largest number of identities.
        num_columns: Largest number of faces of each.
        skip_corrupt: Leave out faces that do not decode, and name them on stderr.

    Raises:
        InputError: If a face does not decode and is not skipped, or if none of the chosen faces decodes.
    """
    counts = np.bincount(faces.identity_ids)
    candidates = np.flatnonzero(counts >= min(num_columns, counts.max()))
    identities = candidates[np.linspace(0, len(candidates) - 1, min(num_rows, len(candidates))).astype(int)]
    rows = []
    for identity in identities:
        indices = np.flatnonzero(faces.identity_ids == identity)[:num_columns]
        images = [_decode(faces, int(index), skip_corrupt=skip_corrupt) for index in indices]
        if row := [image for image in images if image is not None]:
            rows.append(row)
    if not rows:
        raise InputError(f"none of the faces sampled from {faces.path} decodes; fetch or write the dataset again")
    return rows


def _decode(faces: Faces, index: int, *, skip_corrupt: bool) -> NDArray[np.uint8] | None:
    try:
        return faces.image(index)
    except InputError as error:
        if not skip_corrupt:
            raise
        note(f"sample left out of the grid: {error}")
        return None


def write_grid(path: str | Path, rows: list[list[NDArray[np.uint8]]]) -> None:
    """Write rows of faces as one PNG on white.

    Args:
        path: The PNG. It is replaced only when the new one is complete.
        rows: Faces, each uint8, shape (H, W, 3). Those of another size are resized to 112 x 112.
    """
    step = FACE_SIZE + _GAP
    canvas = Image.new("RGB", (step * max(map(len, rows)) + _GAP, step * len(rows) + _GAP), "white")
    for y, row in enumerate(rows):
        for x, face in enumerate(row):
            tile = Image.fromarray(face)
            if tile.size != (FACE_SIZE, FACE_SIZE):
                tile = tile.resize((FACE_SIZE, FACE_SIZE))
            canvas.paste(tile, (_GAP + x * step, _GAP + y * step))
    with atomic_path(path) as temporary:
        canvas.save(temporary, format="PNG")  # optimize=True would take a second for three percent
