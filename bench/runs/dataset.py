"""The faces of a finished dataset stage, wherever they lie, checked against the digest in its card."""

from pathlib import Path

from bench.config.generator import FilesGenerator, GeneratorSettings
from bench.errors import InputError
from bench.faces.caps import Caps, choose_within
from bench.faces.face import Faces
from bench.faces.open import open_faces, read_names
from bench.machine.device import process_rank
from bench.machine.digests import check_digest
from bench.runs.cards import DatasetCard, read_card


def open_dataset(directory: str | Path, generator: GeneratorSettings | None = None) -> Faces:
    """Open the faces of a finished dataset stage.

    Args:
        directory: Folder of the stage, with its ``dataset.json``. The card names an LMDB in this folder or, for a
            ``files`` generator, the dataset that it was given.
        generator: Section ``generator`` of the benchmark. A ``files`` generator says where the dataset lies now; by
            default it is searched where it lay when the card was written.

    Raises:
        InputError: If the card or the faces are missing or broken, or the faces were changed since the card was
            written.
    """
    card = read_card(directory, DatasetCard)
    recorded = card.inputs.get("generator")
    if not isinstance(recorded, dict):
        raise InputError(f"{directory}/dataset.json has no inputs.generator; delete it and make the faces again")
    if recorded.get("kind") == "files":
        files = (
            generator
            if isinstance(generator, FilesGenerator)
            else FilesGenerator.model_validate({name: recorded.get(name) for name in FilesGenerator.model_fields})
        )
        caps = card.inputs.get("caps")
        return open_files(files.path, files.mask, files.leave_out, caps=Caps(**caps) if caps else None, seed=card.seed)
    path = Path(directory) / card.path
    if card.content_sha256 is not None and process_rank()[0] == 0:
        check_digest(path, card.content_sha256, "make the faces again, or restore them from a copy")
    return open_faces(path)


def open_files(
    path: str | Path,
    mask: str | Path | None = None,
    leave_out: str | Path | None = None,
    *,
    caps: Caps | None = None,
    seed: int = 0,
) -> Faces:
    """Open a face dataset, without the identities that a text file names.

    Args:
        path: Dataset in any layout that ``open_faces`` reads.
        mask: ``.npy`` file of the positions to use.
        leave_out: Text file of the identity names to leave out, one a line.
        caps: Largest size; of a larger dataset, a seeded subset is opened. None opens all of it.
        seed: Seed of that subset.

    Raises:
        InputError: If ``leave_out`` is missing or no UTF-8 text, or as ``open_faces``.
    """
    if leave_out and not Path(leave_out).exists():
        raise InputError(f"leave_out={leave_out} does not exist; give a text file of identity names")
    faces = open_faces(path, mask, read_names(leave_out) if leave_out else None)
    if caps is not None:
        faces.select(choose_within(faces.identity_ids, caps, seed))
    return faces
