"""A range of identities -> a folder of images or an LMDB, and a grid: Vec2Face's scripts in one command.

Equal in effect to the official ``image_generation.py`` (identity vectors optimised for quality, then perturbed and
drawn), ``pose_image_generation.py`` (every image optimised for a target yaw, identity vectors as they are) and to
generation from reference images. The numbers of identities stay those of the file of centres, and so do the random
numbers: slices of one range, made apart, give the images of the whole range and never overwrite each other.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.config.generator import Vec2FaceGenerator
from bench.errors import InputError
from bench.faces.folders import FolderWriter
from bench.faces.lmdb_file import LmdbFaces
from bench.files import sha256, write_array
from generate.draw.centers import face_centers, open_people
from generate.draw.dataset import load_networks, make_plan, weight_digests
from generate.draw.engine import Networks, generate_dataset, remove_parts
from generate.draw.plan import Plan
from generate.draw.shards import read_labels
from generate.identities import read_vectors

_REFERENCE_SIGMA = 0.2
"""Noise of the official script that starts from reference images."""
_ANY_COSINE = 2.0
"""No two identities are too near: every one that was asked for is made."""


@dataclass(frozen=True)
class Request:
    """What to make; everything else comes from the settings of a benchmark."""

    images_per_identity: int = 50
    identities: tuple[int, int] | None = None
    """First and one past the last number; None for all centres."""
    centers: Path | None = None
    """``.npy`` of identity vectors; None draws them (Gaussian)."""
    people: Path | None = None
    """Faces of people who exist, whose images shall be made: LMDB or folder."""
    yaw_degrees: tuple[float, ...] = ()
    quality: float | None = None
    """Target MagFace norm; None for that of the settings."""
    as_lmdb: bool = False


def parse_range(text: str) -> tuple[int, int]:
    """``a:b`` as two numbers.

    Raises:
        InputError: If the text is another, or the range is empty.
    """
    first, _, last = text.partition(":")
    if not (first.isdigit() and last.isdigit()) or int(first) >= int(last):
        raise InputError(f"range {text!r} is not FIRST:END with FIRST < END; give one such as 0:100 (100 identities)")
    return int(first), int(last)


def make_faces(
    directory: Path, settings: Vec2FaceGenerator, request: Request, *, seed: int, weights: Path, device: str
) -> dict[str, Any]:
    """Make images of a range of identities, or what is left of them after an interruption.

    Args:
        directory: Where ``images`` (one folder per identity) or ``faces.lmdb`` appear, ``faces.parquet``, ``grid.png``.
        settings: Section ``generator`` of a benchmark: weights, perturbation, AttrOP.
        request: What to make.
        seed: Seed.
        weights: Folder of weights.
        device: Where the networks run.

    Returns:
        Statistics, see ``generate_dataset``.

    Raises:
        InputError: If the folder holds other files, the range lies outside the centres, or weights or vectors are bad.
    """
    if directory.exists() and any(directory.iterdir()) and not (directory / "parts").exists():
        raise InputError(f"{directory} holds other files; give an empty or new folder")
    attributes = settings.attributes.model_copy(update={"pose_share": 1.0 if request.yaw_degrees else 0.0})
    settings = settings.model_copy(update={"attributes": attributes, "identities": "gaussian", "centers": None})
    digests = weight_digests(settings, weights)
    networks = load_networks(settings, weights, device=device)
    names, centers = None, request.centers
    if request.people is not None:
        names, centers = _people(request.people, networks, directory / "parts" / "people.npy")
    if centers is not None:
        digests |= {centers.name: sha256(centers)} if centers.is_file() else {}
    plan = _plan(make_plan(settings, seed=seed, weights=weights, digests=digests), request, centers, networks)
    statistics = generate_dataset(directory, plan, networks)
    if not request.as_lmdb:
        _write_folder(directory, names)
    remove_parts(directory)
    return statistics or {}


def _people(source: Path, networks: Networks, path: Path) -> tuple[list[str], Path]:
    """Names and centres of people who exist; the centres are written, because the plan names a file."""
    faces = open_people(source)
    write_array(path, face_centers(faces, networks.identity, device=networks.device))
    return faces.identity_names, path


def _plan(plan: Plan, request: Request, centers: Path | None, networks: Networks) -> Plan:
    first, end = _range(request, centers, networks.generator.architecture.feature_dim)
    as_given = bool(request.yaw_degrees) or request.people is not None
    plan = replace(
        plan,
        num_identities=end - first,
        first_candidate=first,
        images_per_identity=request.images_per_identity,
        identities="file" if centers else "gaussian",
        centers=str(centers) if centers else None,
        max_cosine=_ANY_COSINE,
        spare_share=0.0,
        center_steps=0 if as_given else None,
        yaw_degrees=request.yaw_degrees,
        quality=request.quality or plan.quality,
    )
    return replace(plan, sigmas=(_REFERENCE_SIGMA,), shares=(1.0,)) if request.people else plan


def _range(request: Request, centers: Path | None, feature_dim: int) -> tuple[int, int]:
    if centers is None:
        if request.identities is None:
            raise InputError("which identities? give --range FIRST:END, with --centers FILE.npy or without (Gaussian)")
        return request.identities
    num = len(read_vectors(centers, feature_dim))
    first, end = request.identities or (0, num)
    if end > num:
        raise InputError(f"range {first}:{end} ends beyond the {num} identities of {centers}; give one within 0:{num}")
    return first, end


def _write_folder(directory: Path, names: list[str] | None) -> None:
    """The LMDB's images as they are, in one folder per identity, named by person or by number."""
    faces = LmdbFaces(directory / "faces.lmdb", read_labels(directory / "faces.parquet"))
    numbers = pd.read_parquet(directory / "faces.parquet", columns=["candidate"])["candidate"].to_numpy()
    _, first = np.unique(faces.identity_ids, return_index=True)
    folders = [names[numbers[row]] if names else f"{numbers[row]:06d}" for row in first]
    with FolderWriter(directory / "images", folders) as writer:
        for index in range(len(faces)):
            writer.write(faces.encoded(index), int(faces.identity_ids[index]))
    (directory / "faces.lmdb").unlink()
