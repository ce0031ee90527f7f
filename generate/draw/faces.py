"""A range of identities -> a folder of images or an LMDB, and a grid: ``python -m generate faces``.

There are five uses:

- As the official ``image_generation.py``: identity vectors are optimised for quality, then perturbed and drawn.
- As ``pose_image_generation.py``: every image is optimised for a target yaw; identity vectors stay as they are.
- As Vec2Face+'s ``pose_control.py``: every image is drawn at the pose of a landmark picture.
- From photographs: images of the people in them.
- From one identity vector, as the demo page copies it: images of that person; the vector stays as it is.

An identity's random numbers come from its row in the file of centres. Two parts of a range, generated separately,
therefore hold the same images as the whole range, under the same names: an image is named after its person and its
number among the images of that person.
"""

import base64
import binascii
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.config.generator import Vec2FaceGenerator, weight_path
from bench.config.poses import LandmarkPoses
from bench.errors import InputError
from bench.faces.folders import FolderWriter
from bench.faces.lmdb_file import LmdbFaces
from bench.files import remove_parts, sha256, write_array
from bench.runs.fingerprints import content_sha256
from generate.draw.centers import face_centers, open_people
from generate.draw.dataset import load_networks, weight_digests
from generate.draw.dataset_run import Networks
from generate.draw.engine import generate_dataset
from generate.draw.plan import Plan
from generate.draw.shards import DrawnFaces, read_labels
from generate.identities import check_vectors, read_vectors

_REFERENCE_SIGMA = 0.2
"""Noise of the official script that starts from reference photographs (docs/field.md, section 1.6)."""
_ANY_COSINE = 2.0
"""Higher than any cosine, so that no identity of the range is dropped."""


@dataclass(frozen=True)
class Request:
    """What to make; everything else comes from the settings of a benchmark."""

    images_per_identity: int = 50
    identities: tuple[int, int] | None = None
    """First number, and one past the last; None for all centres."""
    centers: Path | None = None
    """``.npy`` of identity vectors; None takes those that the settings describe."""
    people: Path | None = None
    """Photographs of the real people to draw: LMDB or folder."""
    vector: NDArray[np.float32] | None = None
    """Identity vector of one person, shape (D,), to draw without optimising it."""
    noise: float | None = None
    """Noise per dimension of every image; None for that of the settings."""
    yaw_degrees: tuple[float, ...] = ()
    """Target yaws, used in turn; empty for none."""
    by_landmarks: bool = False
    """Draw every image by a landmark picture (Vec2Face+), of the target yaws or of ``landmarks``."""
    landmarks: Path | None = None
    """The user's landmark pictures or points, in equal shares."""
    quality: float | None = None
    """Target MagFace norm; None for that of the settings."""
    as_lmdb: bool = False

    @property
    def has_vectors(self) -> bool:
        """Whether the identity vectors are given, in any form."""
        return any(given is not None for given in (self.centers, self.people, self.vector))


def parse_range(text: str) -> tuple[int, int]:
    """``FIRST:END`` as two numbers.

    Raises:
        InputError: If the text has another form, or the range is empty.
    """
    first, _, last = text.partition(":")
    if not (first.isdecimal() and last.isdecimal()) or int(first) >= int(last):
        raise InputError(f"range {text!r} is not FIRST:END with FIRST < END; give one such as 0:100 (100 identities)")
    return int(first), int(last)


def parse_vector(text: str) -> NDArray[np.float32]:
    """The identity vector in a text of ``vector_text``, shape (D,).

    Raises:
        InputError: If the text is not base64 of whole float32 numbers.
    """
    try:
        content = base64.b64decode(text, validate=True)
        return np.frombuffer(content, "<f4").astype(np.float32)
    except (binascii.Error, ValueError):
        raise InputError(
            f"vector {text[:24]!r} ({len(text)} characters) is not base64 of float32 numbers; copy it whole from the "
            "demo page"
        ) from None


def vector_text(vector: NDArray[np.floating]) -> str:
    """Base64 of a vector's numbers as float32, little-endian; the demo page writes the same text."""
    return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode("ascii")


def make_faces(
    directory: Path, settings: Vec2FaceGenerator, request: Request, *, seed: int, weights: Path, device: str
) -> DrawnFaces:
    """Make images of a range of identities, or finish them after an interruption.

    Args:
        directory: Gets ``images`` (one folder per identity) or ``faces.lmdb``, and ``faces.parquet``, ``grid.png``.
        settings: Section ``generator`` of a benchmark: weights, perturbation, AttrOP.
        request: What to make.
        seed: Seed of the random numbers.
        weights: Folder of downloaded weights.
        device: Where the networks run.

    Returns:
        Counts and statistics.

    Raises:
        InputError: If the folder holds other files, the range lies outside the centres, or weights or vectors are
            invalid.
    """
    if directory.exists() and any(directory.iterdir()) and not (directory / "parts").exists():
        raise InputError(f"{directory} holds other files; give an empty or new folder")
    settings = _adapt_settings(settings, request)
    digests = weight_digests(settings, weights)
    networks = load_networks(settings, weights, device=device)
    names, centers = None, request.centers
    feature_dim = networks.generator.architecture.feature_dim
    if request.people is not None:
        names, centers = _people_centers(request.people, networks, directory / "parts" / "people.npy")
    if request.vector is not None:
        centers = directory / "parts" / "person.npy"
        check_vectors(request.vector[None], "the vector", feature_dim)
        write_array(centers, request.vector[None])
    if centers is not None and centers.is_file():
        digests |= {centers.name: sha256(centers)}
    listed = weight_path(settings.centers, weights) if settings.identities == "file" and settings.centers else None
    first, end = _identity_range(request, centers or listed, feature_dim)
    if request.landmarks is not None:
        if not request.landmarks.exists():
            raise InputError(f"{request.landmarks} does not exist; give landmark pictures, a .npy or a text file")
        digests |= {request.landmarks.name: content_sha256(request.landmarks)}
    is_given = request.people is not None or request.vector is not None
    vectors_stay = bool(request.yaw_degrees) or request.by_landmarks or is_given
    plan = Plan(
        settings.model_copy(update={"num_identities": end - first}),
        seed=seed,
        weights=weights,
        digests=digests,
        vectors=centers,
        first_candidate=first,
        center_steps=0 if vectors_stay else None,
        landmarks=request.landmarks,
    )
    drawn = generate_dataset(directory, plan, networks)
    if drawn is None:
        raise RuntimeError("process 0 of a dataset got no faces, which only the other processes do")
    if not request.as_lmdb:
        _write_folder(directory, names)
    remove_parts(directory)
    return drawn


def _adapt_settings(settings: Vec2FaceGenerator, request: Request) -> Vec2FaceGenerator:
    """The benchmark's settings with the changes of a request, except the number of identities."""
    by_attrop = bool(request.yaw_degrees) and not request.by_landmarks
    attributes: dict[str, Any] = {"pose_share": 1.0 if by_attrop else 0.0}
    attributes["yaw_degrees"] = request.yaw_degrees if by_attrop else ()
    if request.quality:
        attributes["quality"] = request.quality
    changes: dict[str, Any] = {
        "images_per_identity": request.images_per_identity,
        "max_cosine": _ANY_COSINE,
        "spare_share": 0.0,
        "quota": None,
        "attributes": settings.attributes.model_copy(update=attributes),
        "pose": _adapt_poses(settings, request) if request.by_landmarks else None,
    }
    sigma = request.noise
    if sigma is None and request.people is not None:
        sigma = 0.0 if request.by_landmarks else _REFERENCE_SIGMA  # pose_control.py draws the people as they are
    if request.has_vectors:  # they replace those of the settings, whose file is then not needed
        changes |= {"identities": "gaussian", "centers": None}
    if sigma is not None:
        noise = {"sigmas": (sigma,), "shares": (1.0,)}
        changes["perturbation"] = settings.perturbation.model_copy(update=noise)
    return settings.model_copy(update=changes)  # without validation, which would refuse _ANY_COSINE


def _adapt_poses(settings: Vec2FaceGenerator, request: Request) -> LandmarkPoses:
    """The benchmark's settings of poses, for every image and the target yaws of a request.

    Raises:
        InputError: If the settings name no pose model, or the request neither yaws nor landmarks, or both.
    """
    if settings.pose is None:
        raise InputError(
            f"{settings.generator_weights} has no pose model, which drawing by landmarks needs; give the --scale of a "
            "benchmark with a section pose, such as v10k"
        )
    if bool(request.yaw_degrees) == (request.landmarks is not None):
        given = f"yaws {request.yaw_degrees} and landmarks {request.landmarks}"
        raise InputError(f"drawing by landmarks got {given}; give either yaws or a file of landmarks")
    angles = {"yaw_degrees": request.yaw_degrees, "yaw_shares": None} if request.yaw_degrees else {}
    return settings.pose.model_copy(update={"share": 1.0, "landmarks": None, **angles})


def _people_centers(source: Path, networks: Networks, path: Path) -> tuple[list[str], Path]:
    """Names and centres of real people; the centres are written to a file, which a plan needs."""
    faces = open_people(source)
    write_array(path, face_centers(faces, networks.identity, device=networks.device))
    return faces.identity_names, path


def _identity_range(request: Request, centers: Path | None, feature_dim: int) -> tuple[int, int]:
    if centers is None:
        if request.identities is None:
            raise InputError(
                "the number of identities is not given; give --range FIRST:END to sample their vectors, or "
                "--centers FILE.npy to read them"
            )
        return request.identities
    num = len(read_vectors(centers, feature_dim))
    first, end = request.identities or (0, num)
    if end > num:
        raise InputError(f"range {first}:{end} ends beyond the {num} identities of {centers}; give one within 0:{num}")
    return first, end


def _write_folder(directory: Path, names: list[str] | None) -> None:
    """Replace the LMDB by a folder of its image files, one sub-folder per identity, named by person or by number."""
    faces = LmdbFaces(directory / "faces.lmdb", read_labels(directory / "faces.parquet"))
    table = pd.read_parquet(directory / "faces.parquet", columns=["candidate", "image"])
    numbers = table["candidate"].to_numpy()
    _, first_rows = np.unique(faces.identity_ids, return_index=True)
    folders = [names[numbers[row]] if names else f"{numbers[row]:06d}" for row in first_rows]
    shutil.rmtree(directory / "images", ignore_errors=True)  # of a call that was killed before it removed its shards
    with FolderWriter(directory / "images", folders) as writer:
        for index, number in enumerate(table["image"]):
            writer.write(faces.encoded(index), int(faces.identity_ids[index]), number=number)
    (directory / "faces.lmdb").unlink()
