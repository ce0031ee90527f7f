"""The faces of a finished dataset stage, wherever they lie."""

from pathlib import Path

from bench.errors import InputError
from bench.faces.face import Faces
from bench.faces.open import open_faces, read_names
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


def open_files(path: str, mask: str | None, leave_out: str | None) -> Faces:
    """Open the faces of a ``files`` generator (see ``bench.config.generator.FilesGenerator``).

    Args:
        path: Dataset in any layout that ``open_faces`` reads.
        mask: ``.npy`` file of the positions to use.
        leave_out: Text file of the identity names to leave out, one a line.

    Raises:
        InputError: If ``leave_out`` is missing or no UTF-8 text, or as ``open_faces``.
    """
    names = None
    if leave_out:
        if not Path(leave_out).exists():
            raise InputError(f"generator.leave_out={leave_out} does not exist; give a text file of identity names")
        names = read_names(leave_out)
    return open_faces(path, mask, names)
