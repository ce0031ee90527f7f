"""Aligned faces -> the five landmarks of each, for training a pose model: ``generate prepare --landmarks``.

| source | holds |
|---|---|
| text file | lines ``image x1 y1 ... x5 y5`` in pixels of the aligned face; for a folder of images |
| ``.npy`` | points, (N, 5, 2), in the order of the faces |
| ``.parquet`` | faces.parquet of rendered faces, whose true landmarks the renderer knows |
| ``.onnx`` | a network that finds landmarks in aligned faces |

A landmark network takes RGB, (B, 3, 112, 112), in [-1, 1] unless its graph normalises 0..255 itself, and gives x and y
of 5, 68 (iBUG 300-W) or 98 points (WFLW): in pixels, in [0, 1] or in [-1, 1]. The unit is the one that brings the mean
points of all faces nearest to the ArcFace template.

Shapes: ``N`` faces, ``K`` numbers that a network gives for a face.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.convert import known_landmarks
from bench.faces.face import ARCFACE_TEMPLATE, FACE_SIZE, Faces
from bench.files import read_array
from generate.networks.identity import load_onnx
from generate.networks.plus.pictures import draw_landmarks
from generate.render.dataset import read_jobs
from generate.render.face import face_landmarks
from generate.training.prepared.parts import outputs_in_parts

_FIVE_OF: dict[int, tuple[tuple[int, ...], ...]] = {
    5: ((0,), (1,), (2,), (3,), (4,)),
    68: (tuple(range(36, 42)), tuple(range(42, 48)), (30,), (48,), (54,)),
    98: ((96,), (97,), (54,), (76,), (82,)),
}
"""Number of points that a network finds -> the points whose mean is each of the five."""
_MAX_OFF_TEMPLATE_PIXELS = 15.0
"""Mean distance of the mean landmarks of aligned faces from the ArcFace template, above which they are no landmarks."""
_MIRRORED_ORDER = [1, 0, 2, 4, 3]


def landmarks_of_faces(faces: Faces, source: Path, parts: Path, device: str) -> NDArray[np.float64]:
    """The five landmarks of every face, x and y in its pixels, shape (N, 5, 2); NaN where the source has none.

    Args:
        faces: Aligned faces.
        source: File of the table above.
        parts: Folder for what a network has computed.
        device: Torch device of the network.

    Raises:
        InputError: If the file is missing or broken, does not fit the faces, holds landmarks of none of them, or a
            point lies outside the image.
    """
    if not source.is_file():
        raise InputError(f"{source} does not exist; give a text file of landmarks, a .npy, a faces.parquet or an .onnx")
    if source.suffix == ".onnx":
        return _by_network(faces, source, parts, device)
    readers = {".npy": _from_array, ".parquet": _from_renderer}
    points = readers.get(source.suffix, known_landmarks)(faces, source)
    is_known = np.isfinite(points).all(axis=(1, 2))
    if not is_known.any():
        raise InputError(f"{source} has landmarks of none of the {len(faces)} faces; give the landmarks of these faces")
    for index in np.flatnonzero(is_known & ~_lies_inside(points)):
        draw_landmarks(points[index], f"{source}: landmarks of {faces.name(int(index))}")  # raises InputError
    return points


def mirrored_landmarks(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Landmarks of the mirrored faces; both have shape (N, 5, 2)."""
    mirrored = points[:, _MIRRORED_ORDER].copy()
    mirrored[..., 0] = FACE_SIZE - 1 - mirrored[..., 0]
    return mirrored


def _lies_inside(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray(((points >= -0.5) & (points < FACE_SIZE - 0.5)).all(axis=(1, 2)))


def _from_array(faces: Faces, source: Path) -> NDArray[np.float64]:
    points = read_array(source)
    if points.shape != (len(faces), 5, 2) or points.dtype.kind not in "fiu":
        raise InputError(
            f"{source} has shape {points.shape} and type {points.dtype}; give five points x, y of each of the "
            f"{len(faces)} faces, shape ({len(faces)}, 5, 2)"
        )
    return points.astype(np.float64)


def _from_renderer(faces: Faces, source: Path) -> NDArray[np.float64]:
    try:
        table = pd.read_parquet(source)
    except Exception as error:  # pandas and pyarrow raise errors of many types
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{source} is not a Parquet file ({reason}); give faces.parquet of rendered faces") from None
    jobs = read_jobs(table, source)
    if len(jobs) != len(faces):
        raise InputError(
            f"{source} has {len(jobs)} rows, but there are {len(faces)} faces; give the table of the faces"
        )
    if not np.array_equal(table["identity_id"].to_numpy(), faces.identity_ids):
        raise InputError(f"{source} has other identities than {faces.path}; give the table of these faces")
    return np.stack([face_landmarks(*job) for job in jobs])


def _by_network(faces: Faces, source: Path, parts: Path, device: str) -> NDArray[np.float64]:
    """Landmarks that a network finds; faces where one lies outside the image count as not found."""
    outputs = outputs_in_parts(lambda: load_onnx(source).to(device), faces, parts, "landmarks", device)
    points = five_landmarks(outputs.reshape(len(outputs), -1), str(source))
    points[~_lies_inside(points)] = np.nan
    if not np.isfinite(points).any():
        raise InputError(f"{source} finds landmarks outside of every face; give a network for aligned faces")
    return points


def five_landmarks(outputs: NDArray[np.float32], name: str) -> NDArray[np.float64]:
    """Outputs of a landmark network -> five landmarks in pixels, shape (N, 5, 2).

    Args:
        outputs: x1, y1, x2, y2, ... of every face, shape (N, K).
        name: The network, for the message.

    Raises:
        InputError: If the network gives another number of points, or they do not lie where those of aligned faces do.
    """
    num_points = outputs.shape[1] / 2
    if num_points not in _FIVE_OF:
        raise InputError(f"{name} gives {outputs.shape[1]} numbers a face; give a network of 5, 68 or 98 points x, y")
    all_points = outputs.reshape(len(outputs), -1, 2).astype(np.float64)
    points = np.stack([all_points[:, list(group)].mean(axis=1) for group in _FIVE_OF[int(num_points)]], axis=1)
    candidates = (points, points * FACE_SIZE - 0.5, (points + 1) / 2 * FACE_SIZE - 0.5)
    off = [_off_template(candidate) for candidate in candidates]
    best = int(np.nanargmin(off)) if np.isfinite(off).any() else 0
    if not off[best] <= _MAX_OFF_TEMPLATE_PIXELS:
        raise InputError(
            f"{name} finds landmarks that are {off[best]:.0f} pixels from the ArcFace template in the mean; give a "
            "network that takes aligned faces in RGB, and faces aligned to 112 x 112"
        )
    return candidates[best]


def _off_template(points: NDArray[np.float64]) -> float:
    """Mean distance in pixels of the mean landmarks from the ArcFace template."""
    return float(np.linalg.norm(points.mean(axis=0) - ARCFACE_TEMPLATE, axis=1).mean())
