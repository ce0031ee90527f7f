"""A finished dataset stage, or a path with a selection -> its faces, opened."""

from pathlib import Path

from bench.errors import InputError
from bench.faces.face import Faces
from bench.faces.open import open_faces
from bench.runs.cards import DatasetCard, read_card


def open_dataset(directory: str | Path) -> Faces:
    """Open the faces of a finished dataset stage.

    Args:
        directory: Folder of the stage, with its ``dataset.json``. The card names an LMDB in this folder or, for a
            ``files`` generator, the dataset that it was given.

    Raises:
        InputError: If the card or the faces are missing or broken.
    """
    card = read_card(directory, DatasetCard)
    generator = card.inputs["generator"]
    if generator["kind"] == "files":
        return open_files(generator["path"], generator["mask"], generator["leave_out"])
    return open_faces(Path(directory) / card.path)


def open_files(path: str | Path, mask: str | Path | None = None, leave_out: str | Path | None = None) -> Faces:
    """Open a face dataset, without the identities that a text file names.

    Args:
        path: Dataset in any layout that ``open_faces`` reads.
        mask: ``.npy`` file of the positions to use.
        leave_out: Text file of the identity names to leave out, separated by white space.

    Raises:
        InputError: If ``leave_out`` does not exist, or as ``open_faces``.
    """
    if not leave_out:
        return open_faces(path, mask)
    if not Path(leave_out).exists():
        raise InputError(f"leave_out={leave_out} does not exist; give a text file of identity names")
    return open_faces(path, mask, set(Path(leave_out).read_text().split()))
