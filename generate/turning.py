"""Directions of noise, widened where heads turn: ``python -m generate widen``.

Photographs for the press show people from the front, so that a generator that varies its images as these vary
(``deviations.npy`` of ``generate prepare``) makes hardly a turned head, and networks trained on them fail on profiles.
How features change with the yaw is a direction that a linear regression finds; along it the noise gets wider. All heads
of a person turn, without a step of AttrOP.

Shapes: ``N`` faces, ``D`` width of the features.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bench.errors import InputError
from bench.files import atomic_path
from bench.progress import progress
from bench.records import LmdbFaces
from generate.estimators import yaw_estimator
from generate.train_data import load_faces

_BATCH = 128


def measure_yaw(faces: LmdbFaces, yaw_model: str | Path) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Features (N, D) of faces, and their yaw in degrees (N,) by the weights of a yaw network.

    Raises:
        InputError: If a face cannot be read, or the weights cannot.
    """
    network, features, yaw = yaw_estimator(yaw_model), [], []
    with progress(desc="yaw", total=len(faces)) as bar:
        for start in range(0, len(faces), _BATCH):
            images, given = load_faces(faces, np.arange(start, min(start + _BATCH, len(faces))))
            with torch.inference_mode():
                yaw.append(network(images.permute(0, 3, 1, 2).float() / 127.5 - 1).double().numpy())
            features.append(given.numpy())
            bar.update(len(images))
    return np.concatenate(features), np.concatenate(yaw)


def turning_direction(features: NDArray[np.floating], yaw: NDArray[np.floating]) -> NDArray[np.float64]:
    """How features change per degree of yaw, shape (D,): the slopes of their linear regressions on the yaw.

    Args:
        features: Shape (N, D).
        yaw: In degrees, shape (N,).

    Raises:
        InputError: If all faces have one yaw.
    """
    turned = yaw - yaw.mean()
    if not (spread := np.square(turned).sum()) > 0:
        raise InputError(f"all {len(yaw)} faces have a yaw of {yaw.mean():.1f} degrees; give faces that differ")
    return turned @ (features - features.mean(axis=0)) / spread


def widen(directions: NDArray[np.floating], turning: NDArray[np.floating], degrees: float) -> NDArray[np.float32]:
    """Directions of noise (D, D) whose covariance has ``degrees ** 2 * turning turning^T`` more.

    Noise of strength 1 then also moves features as a turn of so many degrees (standard deviation) moves them on
    average, independent of all else that it does. Faces turn less: vectors are brought back to their norm, and no
    generator turns heads further than it has seen. On LFW, a move of 60 degrees gave an estimated yaw of 20 to 27.

    Args:
        directions: As of ``prepare.deviation_directions``, shape (D, D).
        turning: As of ``turning_direction``, shape (D,).
        degrees: Of the turn.
    """
    matrix = directions.astype(np.float64)
    variances, axes = np.linalg.eigh(matrix.T @ matrix + degrees**2 * np.outer(turning, turning))
    return (axes * np.sqrt(np.maximum(variances, 0)) @ axes.T).astype(np.float32)


def widen_file(
    deviations: str | Path, faces: LmdbFaces, yaw_model: str | Path, out: str | Path, *, degrees: float
) -> float:
    """Write widened directions of noise.

    Args:
        deviations: ``deviations.npy`` of ``generate prepare``.
        faces: The training set beside it.
        yaw_model: Weights of a yaw network: 6DRepNet's, or our own.
        out: The ``.npy`` that appears.
        degrees: As of ``widen``.

    Returns:
        Standard deviation of the faces' own yaw, in degrees.

    Raises:
        InputError: If the directions do not fit the features, or a file cannot be read.
    """
    directions, width = np.load(deviations, allow_pickle=False), faces.features(0).size
    if directions.shape != (width, width):
        raise InputError(
            f"{deviations} has shape {directions.shape}, features in {faces.path} have {width} numbers; give two files "
            "of one generate prepare"
        )
    features, yaw = measure_yaw(faces, yaw_model)
    with atomic_path(Path(out)) as temporary, temporary.open("wb") as file:
        np.save(file, widen(directions, turning_direction(features, yaw), degrees))
    return float(yaw.std())
