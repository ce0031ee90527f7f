"""Aligned faces and an identity network in, the generator's training set out: ``faces.lmdb`` with a feature per face.

Out besides: ``centers.npy``, the mean feature of every identity (identity vectors for ``identities: pca``, and what the
leakage check compares with), ``deviations.npy``, how faces differ from it (noise for ``perturbation.directions``), and
``prepared.json``. Features are un-normalised; they are computed in parts that stay
when the command is killed. An LMDB that holds features already (WebFace4M's) keeps them.

Shapes: ``N`` faces, ``D`` width of the features.
"""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.alignment import mirror_axis
from bench.faces.face import Faces, aligned_image, decode_image, encode_jpeg
from bench.faces.lmdb_file import FaceWriter, LmdbFaces
from bench.files import read_json, sha256, write_array, write_json
from bench.machine.progress import progress
from bench.vectors.nearest import identity_centers
from generate.networks.identity import load_identity_network
from generate.networks.over_faces import outputs_over_faces

PREPARED_NAME, LMDB_NAME, CENTERS_NAME, DEVIATIONS_NAME = "prepared.json", "faces.lmdb", "centers.npy", "deviations.npy"
_PART_FACES = 2048
_BATCH = 32
_IS_FACE, _MAX_OFF_AXIS = 0.95, 3
"""Faces whose mean is so much its own mirror image lie so many pixels off the middle at most, if they are mirrored."""


@dataclass(frozen=True)
class Preparation:
    """What a training set depends on, besides the faces."""

    identity_weights: Path | None = None
    """Weights of the network that gives the features."""
    features: Path | None = None
    """``.npy`` of features, shape (N, D), in place of a network."""
    mirror: bool = False
    """Every face a second time, mirrored, with its own feature."""
    mean_norm: float | None = None
    """All features are multiplied by one number, so that their mean norm is this. None keeps their scale."""


def prepare(faces: Faces, settings: Preparation, directory: str | Path, *, device: str = "cpu") -> dict[str, Any]:
    """Write the training set, or go on with it where an interrupted command stopped.

    Args:
        faces: Aligned faces of at least two identities.
        settings: Where the features come from.
        directory: Gets faces.lmdb, centers.npy and prepared.json.
        device: Torch device of the network.

    Returns:
        The content of prepared.json.

    Raises:
        InputError: If a face is not 112 x 112, the features do not fit the faces, there are none, the folder holds
            parts of another training set, or faces to be mirrored do not lie in the middle of their images.
    """
    directory = Path(directory)
    if (directory / PREPARED_NAME).exists():
        raise InputError(f"{directory} holds a finished training set; delete it, or choose another folder")
    if settings.mirror:
        _check_axis(faces)
    claimed = _claim(directory, faces, settings)
    features = _features(faces, settings, directory / "parts", device)
    norms = np.linalg.norm(features, axis=1)
    if not np.isfinite(norms).all() or not norms.all():
        row = int(np.argmin(np.isfinite(norms) & (norms > 0)))
        raise InputError(
            f"feature of face {row} ({faces.name(row % len(faces))}) is zero or not finite; drop that face"
        )
    if settings.mean_norm is not None:
        features *= settings.mean_norm / norms.mean()
    source = _Mirrored(faces) if settings.mirror else faces
    with FaceWriter(directory / LMDB_NAME) as writer:
        for index in progress(range(len(source)), desc="write", total=len(source)):
            writer.write(source.encoded(index), int(source.identity_ids[index]), features[index])
    centers = identity_centers(features, source.identity_ids)
    write_array(directory / CENTERS_NAME, centers)
    write_array(directory / DEVIATIONS_NAME, deviation_directions(features, source.identity_ids, centers))
    prepared = claimed | {
        "num_images": len(source),
        "num_identities": faces.num_identities,
        "feature_dim": features.shape[1],
        "mean_norm": round(float(np.linalg.norm(features, axis=1).mean()), 4),
        "std_per_dimension": round(float(features.std()), 5),
        "lmdb_sha256": sha256(directory / LMDB_NAME),
    }
    write_json(directory / PREPARED_NAME, prepared)
    shutil.rmtree(directory / "parts")
    return prepared


def _claim(directory: Path, faces: Faces, settings: Preparation) -> dict[str, Any]:
    """What the set is made of; refuses a folder that holds parts of another one."""
    wanted = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(settings).items()}
    if settings.identity_weights is not None and settings.identity_weights.exists():
        wanted["identity_weights"] = settings.identity_weights.name
        wanted["identity_sha256"] = sha256(settings.identity_weights)
    wanted |= {"source": faces.path.name, "source_images": len(faces)}
    path = directory / "parts" / "settings.json"
    if path.exists():
        for name, value in read_json(path).items():
            if value != wanted.get(name):
                raise InputError(
                    f"{directory} holds parts made with {name}={value}, this call has {wanted.get(name)}; delete it, "
                    "or choose another folder"
                )
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, wanted)
    return wanted


def _features(faces: Faces, settings: Preparation, parts: Path, device: str) -> NDArray[np.float32]:
    """Features of all faces, and of the mirrored ones after them, shape (N, D) or (2 N, D)."""
    if settings.identity_weights is not None:
        source = _Mirrored(faces) if settings.mirror else faces
        return _extract(source, settings.identity_weights, parts, device)
    if settings.mirror:
        raise InputError("mirrored faces need their own features; give --identity-model")
    if settings.features is not None:
        return read_features(settings.features, len(faces))
    if isinstance(faces, LmdbFaces):
        rows = progress(range(len(faces)), desc="read features", total=len(faces))
        return np.stack([faces.features(index).astype(np.float32).reshape(-1) for index in rows])
    raise InputError(f"{faces.path} holds no features; give --identity-model, or --features of these faces")


def read_features(path: str | Path, num_faces: int) -> NDArray[np.float32]:
    """Features of a ``.npy`` file, float32, shape (num_faces, D).

    Raises:
        InputError: If the file is missing or no array of numbers, or holds another number of rows than there are faces.
    """
    try:
        features = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; give a .npy with one row per face") from None
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{path} is not a .npy of numbers ({error}); save it with numpy.save") from None
    if features.ndim != 2 or len(features) != num_faces:
        raise InputError(
            f"{path} has shape {features.shape}, but there are {num_faces} faces; give one row per face, in their order"
        )
    return features.astype(np.float32)


def _extract(source: Faces, weights: Path, parts: Path, device: str) -> NDArray[np.float32]:
    """Features by the network, part after part; parts that are there are kept."""
    starts = range(0, len(source), _PART_FACES)
    paths = [parts / f"features-{start:09d}.npy" for start in starts]
    missing = [start for start, path in zip(starts, paths, strict=True) if not path.exists()]
    network = load_identity_network(weights, device) if missing else None
    done = len(source) - sum(min(_PART_FACES, len(source) - start) for start in missing)
    with progress(desc="features", total=len(source), initial=done) as bar:
        for start in missing:
            stop = min(start + _PART_FACES, len(source))
            features = outputs_over_faces(
                network,  # type: ignore[arg-type]
                source,
                batch_size=_BATCH,
                device=device,
                rows=range(start, stop),
                on_done=bar.update,
            )
            write_array(parts / f"features-{start:09d}.npy", features)
    return np.concatenate([np.load(path) for path in paths])


def deviation_directions(
    features: NDArray[np.floating], identity_ids: NDArray[np.integer], centers: NDArray[np.floating]
) -> NDArray[np.float32]:
    """How faces of one identity differ from its centre: what turns isotropic noise into such differences, (D, D).

    The symmetric root of their covariance, scaled to a mean variance of 1, so that a strength keeps its unit. Isotropic
    itself, the identity matrix, where no identity has two different faces.

    Args:
        features: One row per face, shape (N, D).
        identity_ids: Identity per face, shape (N,).
        centers: Centre per identity, shape (C, D).
    """
    covariance = np.zeros((features.shape[1],) * 2)
    for start in range(0, len(features), _PART_FACES):
        rows = slice(start, start + _PART_FACES)
        deviations = features[rows].astype(np.float64) - centers[identity_ids[rows]]
        covariance += deviations.T @ deviations
    variances, directions = np.linalg.eigh(covariance)
    if variances[-1] < 1e-9 * len(features):
        return np.eye(len(covariance), dtype=np.float32)
    scales = np.sqrt(np.maximum(variances, 0) / variances.mean())
    return (directions * scales @ directions.T).astype(np.float32)


def _check_axis(faces: Faces) -> None:
    axis = mirror_axis(lambda index: aligned_image(faces, index), np.arange(len(faces)))
    if axis and axis.symmetry > _IS_FACE and abs(axis.pixels_left) > _MAX_OFF_AXIS:
        raise InputError(
            f"faces in {faces.path} lie {axis.pixels_left:g} pixels left of the middle, and their mirror images as far "
            f"right; move them first: python -m bench convert {faces.path} OUT --to folder "
            f"--shift-right {axis.pixels_left:.0f}"
        )


class _Mirrored:
    """Faces, and all of them again as in a mirror."""

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
