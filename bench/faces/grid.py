"""A finished dataset stage -> its faces, wherever they lie."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.errors import InputError
from bench.faces.lmdb_file import FACE_SIZE, Faces, decode_image, open_faces
from bench.files import atomic_path
from bench.runs.cards import DatasetCard, read_card

_GAP = 2


def open_dataset(directory: str | Path) -> Faces:
    """The faces of a dataset card: its own LMDB, or the files that it points to.

    Raises:
        InputError: If the card or the faces are missing or broken.
    """
    card = read_card(directory, DatasetCard)
    generator = card.inputs["generator"]
    if generator["kind"] == "files":
        return open_files(generator["path"], generator["mask"], generator["leave_out"])
    return open_faces(Path(directory) / card.path)


def open_files(path: str, mask: str | None, leave_out: str | None) -> Faces:
    """The faces of a ``files`` generator; ``leave_out`` is a text file with one identity name a line."""
    names = None
    if leave_out:
        if not Path(leave_out).exists():
            raise InputError(f"generator.leave_out={leave_out} does not exist; give a text file of identity names")
        names = set(Path(leave_out).read_text().split())
    return open_faces(path, mask, names)


def sample_grid(faces: Faces, *, num_rows: int = 12, num_columns: int = 8) -> list[list[NDArray[np.uint8]]]:
    """One row of faces per identity, evenly spread over the identities that have enough faces."""
    counts = np.bincount(faces.identity_ids)
    enough = np.flatnonzero(counts >= min(num_columns, counts.max()))
    chosen = enough[np.linspace(0, len(enough) - 1, min(num_rows, len(enough))).astype(int)]
    rows = [np.flatnonzero(faces.identity_ids == identity)[:num_columns] for identity in chosen]
    return [[decode_image(faces.encoded(index)) for index in row] for row in rows]


def write_grid(path: str | Path, rows: list[list[NDArray[np.uint8]]]) -> None:
    """Draw faces, each uint8 (H, W, 3), in rows on white; the PNG appears whole."""
    step = FACE_SIZE + _GAP
    canvas = Image.new("RGB", (step * max(map(len, rows)) + _GAP, step * len(rows) + _GAP), "white")
    for y, row in enumerate(rows):
        for x, face in enumerate(row):
            tile = Image.fromarray(face)
            tile = tile if tile.size == (FACE_SIZE, FACE_SIZE) else tile.resize((FACE_SIZE, FACE_SIZE))
            canvas.paste(tile, (_GAP + x * step, _GAP + y * step))
    with atomic_path(path) as temporary:
        canvas.save(temporary, format="PNG", optimize=True)
