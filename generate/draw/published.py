"""The HSFace and VFace datasets as their authors publish them on the Hub (``source: hub`` in the settings)."""

from pathlib import Path

from bench.config.generator import Vec2FaceGenerator, check_is_published
from bench.faces.grid import sample_grid, write_grid
from bench.faces.open import open_faces
from bench.machine.digests import remembered_sha256
from bench.machine.progress import note
from bench.runs.card_parts.statistics import DatasetStatistics
from bench.runs.cards import MadeFaces
from bench.runs.hub import fetch, fetched_from
from generate.hub.catalogue import find_file


def fetch_published(directory: Path, settings: Vec2FaceGenerator, weights: Path) -> MadeFaces:
    """Download the published dataset with the settings' number of identities, unless it is there already.

    Args:
        directory: Gets grid.png; the faces themselves stay in ``weights``.
        settings: Section ``generator`` of a benchmark, with ``source: hub``.
        weights: Folder of downloaded files.

    Raises:
        InputError: If no dataset of that size is published on the Hub, or the download fails.
    """
    family = settings.dataset_family
    check_is_published(settings.num_identities, family)
    file = find_file(f"faces-{family.lower()}{settings.num_identities // 1000}k")
    path = fetch(file, weights, revision=settings.revision).resolve()
    digest = remembered_sha256(path)
    faces = open_faces(path)
    expected = settings.num_identities * settings.images_per_identity
    if (faces.num_identities, len(faces)) != (settings.num_identities, expected):
        note(
            f"note: {path} holds {len(faces):,} images of {faces.num_identities:,} identities, not {expected:,} of "
            f"{settings.num_identities:,}; its card states what it holds"
        )
    write_grid(directory / "grid.png", sample_grid(faces))
    return MadeFaces(
        str(path),
        len(faces),
        faces.num_identities,
        content_sha256=digest,
        statistics=DatasetStatistics(source=fetched_from(path, digest) or "placed by hand"),
    )
