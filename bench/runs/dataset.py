"""The faces of a finished dataset stage, wherever they lie, checked against the digest in its card."""

from pathlib import Path

from bench.config.generator import FilesGenerator
from bench.config.mixture import MixtureGenerator, MixturePart
from bench.config.settings import GeneratorSettings
from bench.errors import InputError
from bench.faces.face import SelectedFaces
from bench.faces.mixture.mix import Part
from bench.faces.mixture.subset import Caps, choose_within
from bench.faces.open import open_faces, open_view, read_names
from bench.machine.device import process_rank
from bench.machine.digests import check_digest
from bench.runs.cards import DatasetCard, read_card
from bench.runs.fingerprints import part_stage, part_subset


def open_dataset(directory: str | Path, generator: GeneratorSettings | None = None) -> SelectedFaces:
    """Open the faces of a finished dataset stage.

    Args:
        directory: Folder of the stage, with its ``dataset.json``. The card names an LMDB in this folder or, for a
            ``files`` generator, the dataset that it was given.
        generator: Section ``generator`` of the benchmark. A ``files`` generator says where the dataset lies now, a
            ``mixture`` where its parts lie; by default they are searched where they lay when the card was written.

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
    if recorded.get("kind") == "mixture":
        check_digest(path, card.content_sha256 or "none", "make the mixture again")
        parts = generator.parts if isinstance(generator, MixtureGenerator) else ()
        return open_view(directory, {part.label: Path(part.path) for part in parts if part.path})
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
) -> SelectedFaces:
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
        faces.select(choose_within(faces.identity_ids, caps, seed=seed))
    return faces


def open_parts(mixture: MixtureGenerator, *, seed: int, runs: Path) -> list[Part]:
    """Open the parts of a mixture.

    Args:
        mixture: Section ``generator`` of its benchmark.
        seed: Seed of the run.
        runs: Folder of all runs, where the faces of benchmarks lie.

    Raises:
        InputError: If a part is missing, empty or broken, or the faces of its benchmark are not made yet. The message
            names the part.
    """
    return [_open_part(part, seed, runs) for part in mixture.parts]


def _open_part(part: MixturePart, seed: int, runs: Path) -> Part:
    try:
        if part.path is not None:
            faces = open_files(part.path, part.mask, part.leave_out)
        else:
            stage = part_stage(part, seed=seed, runs=runs)
            if not stage.is_finished:
                command = f"make generate SCALE={part.benchmark} SEED={stage.inputs['seed']}"
                raise InputError(f"{stage.directory} holds no faces; run {command}")
            faces = open_dataset(stage.directory, part.generator)
    except InputError as error:
        raise InputError(f"part {part.label}: {error}") from None
    return Part(part.label, faces, part_subset(part), part.share, part.real)
