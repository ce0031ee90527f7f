"""The HSFace datasets as their authors publish them on the Hugging Face Hub (``source: hub`` in the settings)."""

from pathlib import Path
from typing import Any

from bench.config.generator import Vec2FaceGenerator
from bench.faces.grid import sample_grid, write_grid
from bench.faces.open import open_faces
from bench.machine.digests import remembered_sha256
from bench.runs.hub import fetch, fetched_from
from generate.hub.catalogue import find_file


def fetch_published(directory: Path, settings: Vec2FaceGenerator, weights: Path) -> dict[str, Any]:
    """Download the published dataset with the settings' number of identities, unless it is there already.

    Args:
        directory: Gets grid.png; the faces themselves stay in ``weights``.
        settings: Section ``generator`` of a benchmark, with ``source: hub``.
        weights: Folder of downloaded files.

    Returns:
        Fields of the dataset's card: path, counts, SHA-256, source.

    Raises:
        InputError: If no dataset of that size is published, or the download fails.
    """
    file = find_file(f"faces-hsface{settings.num_identities // 1000}k")
    path = fetch(file, weights, revision=settings.revision).resolve()
    digest = remembered_sha256(path)
    faces = open_faces(path)
    write_grid(directory / "grid.png", sample_grid(faces))
    return {
        "path": str(path),
        "num_images": len(faces),
        "num_identities": faces.num_identities,
        "content_sha256": digest,
        "statistics": {"source": fetched_from(path, digest) or "placed by hand"},
    }
