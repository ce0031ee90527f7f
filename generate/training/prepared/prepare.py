"""Aligned faces and an identity network -> the training set of a generator: ``generate prepare``.

| file | holds | for |
|---|---|---|
| faces.lmdb | every face with its feature, and with ``--landmarks`` a landmark picture | ``train``, ``train-pose`` |
| centers.npy | mean feature of every identity, (C, D) | ``identities: pca`` of a generator |
| deviations.npy | root of the covariance of faces around their centre, (D, D) | ``perturbation.directions`` |
| prepared.json | settings, counts and statistics | |

Features are un-normalised, as in Vec2Face's own training set (docs/field.md, section 1.1). They are computed in parts,
so that a killed command resumes. An LMDB that already holds features (WebFace4M's) keeps them.

Shapes: ``N`` faces, ``C`` identities, ``D`` width of the features.
"""

import hashlib
import shutil
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError, python_command
from bench.faces.alignment.mirror_axis import mirror_axis
from bench.faces.face import Faces, aligned_image, check_sizes, decode_image, encode_jpeg, encode_png
from bench.faces.lmdb_file import FaceWriter, LmdbFaces
from bench.files import read_array, read_json_object, refuse_overwriting, sha256, write_array, write_json
from bench.machine.digests import remembered_sha256
from bench.machine.progress import note, progress
from bench.runs.fingerprints import content_sha256
from bench.vectors.nearest import identity_centers
from generate.networks.identity import load_identity_network
from generate.networks.plus.pictures import draw_landmarks
from generate.training.prepared.landmarks import landmarks_of_faces, mirrored_landmarks
from generate.training.prepared.parts import outputs_in_parts

PREPARED_NAME, LMDB_NAME = "prepared.json", "faces.lmdb"
CENTERS_NAME, DEVIATIONS_NAME = "centers.npy", "deviations.npy"
_ROWS_PER_SUM = 2048
_MIN_SYMMETRY, _MAX_OFF_CENTRE_PIXELS = 0.95, 3
"""--mirror is refused when the mean face is symmetric (r > 0.95) about an axis more than 3 px off centre."""


@dataclass(frozen=True)
class Preparation:
    """Settings of a training set, besides the faces."""

    identity_weights: Path | None = None
    """Weights of the network that computes the features."""
    features: Path | None = None
    """``.npy`` of features, shape (N, D), instead of a network."""
    mirror: bool = False
    """Add every face mirrored, with its own feature."""
    mean_norm: float | None = None
    """Scale all features by one factor to this mean norm. None keeps their scale."""
    landmarks: Path | None = None
    """Landmarks of the faces (see ``landmarks.py``), for training a pose model. Faces without are left out."""


def prepare(faces: Faces, settings: Preparation, directory: str | Path, *, device: str = "cpu") -> dict[str, Any]:
    """Write a training set; resume where an interrupted command stopped.

    Args:
        faces: Aligned faces of at least two identities.
        settings: Source of the features, and what to do with them.
        directory: Gets the files of the table above.
        device: Torch device of the network.

    Returns:
        The content of prepared.json.

    Raises:
        InputError: If a face is not square, there are no features, two sources of them, or they do not fit the faces,
            the folder holds another training set or the faces themselves, or faces to be mirrored are off the centre of
            their images.
    """
    directory = Path(directory)
    refuse_overwriting(faces.path, directory / LMDB_NAME)
    if settings.features is not None and settings.identity_weights is not None:
        raise InputError(
            f"--features {settings.features} and --identity-model {settings.identity_weights} are both given; leave "
            "out --features to compute them, or --identity-model to take those of the file"
        )
    if (directory / PREPARED_NAME).exists():
        raise InputError(f"{directory} holds a finished training set; delete it, or choose another folder")
    check_sizes(faces)
    if settings.mirror:
        _refuse_off_centre(faces)
    inputs = _write_or_check_inputs(directory, faces, settings)
    points = _landmarks(faces, settings, directory / "parts", device)
    features = _features(faces, settings, directory / "parts", device)
    norms = np.linalg.norm(features, axis=1)
    _refuse_bad_norms(norms, faces)
    if settings.mean_norm is not None:
        features *= settings.mean_norm / norms.mean()
    source = _WithMirrored(faces) if settings.mirror else faces
    features, identity_ids = _write_faces(directory / LMDB_NAME, source, features, points)
    centers = identity_centers(features, identity_ids)
    write_array(directory / CENTERS_NAME, centers)
    write_array(directory / DEVIATIONS_NAME, deviation_directions(features, identity_ids, centers))
    prepared = inputs | {
        "num_images": len(features),
        "num_identities": len(centers),
        "feature_dim": features.shape[1],
        "mean_norm": round(float(np.linalg.norm(features, axis=1).mean()), 4),
        "std_per_dimension": round(float(features.std()), 5),
        "lmdb_sha256": sha256(directory / LMDB_NAME),
    }
    write_json(directory / PREPARED_NAME, prepared)
    shutil.rmtree(directory / "parts")
    return prepared


def _write_faces(
    path: Path, source: "Faces | _WithMirrored", features: NDArray[np.float32], points: NDArray[np.float64] | None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Write the LMDB. Faces without landmarks are left out where others have some.

    Returns:
        Features and identities of the written faces, numbered without gaps.
    """
    rows = np.arange(len(source)) if points is None else np.flatnonzero(np.isfinite(points).all(axis=(1, 2)))
    if len(rows) < len(source):
        note(f"note: left out {len(source) - len(rows)} of {len(source)} faces without landmarks")
    identity_ids = np.unique(source.identity_ids[rows], return_inverse=True)[1]
    with FaceWriter(path) as writer:
        for identity_id, index in zip(identity_ids, progress(rows, desc="write", total=len(rows)), strict=True):
            picture = None if points is None else encode_png(draw_landmarks(points[index], source.name(index)))
            writer.write(source.encoded(index), int(identity_id), features[index], picture)
    return features[rows], identity_ids


def _write_or_check_inputs(directory: Path, faces: Faces, settings: Preparation) -> dict[str, Any]:
    """Settings and source of a training set. Refuses a folder with parts of another one.

    The first call writes them beside the parts, a resumed one compares.
    """
    inputs = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(settings).items()}
    if settings.identity_weights is not None and settings.identity_weights.exists():
        inputs["identity_weights"] = settings.identity_weights.name
        inputs["identity_sha256"] = remembered_sha256(settings.identity_weights)
    if settings.features is not None and settings.features.is_file():
        inputs["features_sha256"] = remembered_sha256(settings.features)
    if settings.landmarks is not None and settings.landmarks.is_file():
        inputs["landmarks_sha256"] = remembered_sha256(settings.landmarks)
    inputs |= {"source": faces.path.name, "source_images": len(faces), "source_sha256": _faces_sha256(faces)}
    path = directory / "parts" / "settings.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, inputs)
        return inputs
    for name, value in read_json_object(path).items():
        if value != inputs.get(name):
            raise InputError(
                f"{directory} holds parts made with {name}={value}, this call has {inputs.get(name)}; delete it, "
                "or choose another folder"
            )
    return inputs


def _faces_sha256(faces: Faces) -> str:
    """SHA-256 of the content of a dataset and of the selection of its faces."""
    total = hashlib.sha256(content_sha256(faces.path).encode())
    total.update(np.ascontiguousarray(faces.identity_ids, dtype=np.int64).tobytes())
    for index in range(len(faces)):
        total.update(faces.name(index).removeprefix(str(faces.path)).encode(errors="surrogateescape"))
    return total.hexdigest()


def _features(faces: Faces, settings: Preparation, parts: Path, device: str) -> NDArray[np.float32]:
    """Features of all faces, (N, D), or of all faces and then the mirrored ones, (2 N, D)."""
    if settings.identity_weights is not None:
        source = _WithMirrored(faces) if settings.mirror else faces
        load = partial(load_identity_network, settings.identity_weights, device)
        return outputs_in_parts(load, source, parts, "features", device)
    if settings.mirror:
        raise InputError("--mirror needs features of the mirrored faces; give --identity-model to compute them")
    if settings.features is not None:
        return read_features(settings.features, len(faces))
    if isinstance(faces, LmdbFaces):
        rows = progress(range(len(faces)), desc="read features", total=len(faces))
        return np.stack([faces.features(index).astype(np.float32).reshape(-1) for index in rows])
    raise InputError(f"{faces.path} holds no features; give --identity-model, or --features of these faces")


def _landmarks(faces: Faces, settings: Preparation, parts: Path, device: str) -> NDArray[np.float64] | None:
    """Landmarks of all faces, and then of the mirrored ones, (N or 2 N, 5, 2); None without landmarks."""
    if settings.landmarks is None:
        return None
    points = landmarks_of_faces(faces, settings.landmarks, parts, device)
    return np.concatenate([points, mirrored_landmarks(points)]) if settings.mirror else points


def _refuse_bad_norms(norms: NDArray[np.floating], faces: Faces) -> None:
    is_good = np.isfinite(norms) & (norms > 0)
    if not is_good.all():
        row = int(np.argmin(is_good))
        raise InputError(
            f"feature of face {row} ({faces.name(row % len(faces))}) is zero or not finite; leave out that face"
        )


def read_features(path: str | Path, num_faces: int) -> NDArray[np.float32]:
    """Features of a ``.npy`` file, float32, shape (num_faces, D).

    Raises:
        InputError: If the file is missing or no array of numbers, or has not one row per face.
    """
    features = read_array(path)
    if features.dtype.kind not in "fiu":
        raise InputError(f"{path} is an array of {features.dtype}; give numbers")
    if features.ndim != 2 or len(features) != num_faces:
        raise InputError(
            f"{path} has shape {features.shape}, but there are {num_faces} faces; give one row per face, in their order"
        )
    return features.astype(np.float32)


def deviation_directions(
    features: NDArray[np.floating], identity_ids: NDArray[np.integer], centers: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Matrix (D, D) that gives isotropic noise the covariance of faces around the centre of their identity.

    It is the symmetric root of that covariance, scaled to a mean variance of 1, so that a strength of noise means
    the same with it and without. It is the identity matrix if no identity has two different faces.

    Args:
        features: Un-normalised feature per face, shape (N, D).
        identity_ids: Identity per face, shape (N,).
        centers: Centre per identity, shape (C, D).
    """
    covariance = np.zeros((features.shape[1],) * 2)
    for start in range(0, len(features), _ROWS_PER_SUM):
        rows = slice(start, start + _ROWS_PER_SUM)
        deviations = features[rows].astype(np.float64) - centers[identity_ids[rows]]
        covariance += deviations.T @ deviations
    variances, directions = np.linalg.eigh(covariance)
    if variances[-1] < 1e-9 * len(features):
        return np.eye(len(covariance), dtype=np.float32)
    scales = np.sqrt(np.maximum(variances, 0) / variances.mean())
    return (directions * scales @ directions.T).astype(np.float32)


def _refuse_off_centre(faces: Faces) -> None:
    """Refuse faces whose mirror images would be aligned differently from the faces themselves."""
    axis = mirror_axis(lambda index: aligned_image(faces, index), np.arange(len(faces)))
    if axis and axis.symmetry > _MIN_SYMMETRY and abs(axis.pixels_left) > _MAX_OFF_CENTRE_PIXELS:
        raise InputError(
            f"faces in {faces.path} lie {axis.pixels_left:g} pixels left of the middle, and their mirror images as far "
            f"right; move them first: {python_command(f'bench convert {faces.path} OUT --to folder')} "
            f"--shift-right {axis.pixels_left:.0f}"
        )


class _WithMirrored:
    """Faces, followed by all of them mirrored."""

    def __init__(self, faces: Faces) -> None:
        self._faces = faces
        self.path, self.identity_names, self.num_identities = faces.path, faces.identity_names, faces.num_identities
        self.identity_ids = np.concatenate([faces.identity_ids, faces.identity_ids])

    def __len__(self) -> int:
        return 2 * len(self._faces)

    def encoded(self, index: int) -> bytes:
        if index < len(self._faces):
            return self._faces.encoded(index)
        return encode_jpeg(np.ascontiguousarray(self._faces.image(index - len(self._faces))[:, ::-1]))

    def image(self, index: int) -> NDArray[np.uint8]:
        return decode_image(self.encoded(index), self.name(index))

    def name(self, index: int) -> str:
        return self._faces.name(index % len(self._faces))
