"""Features and landmark pictures -> features that state the pose of another face.

Features of small generators hold components of the low-resolution image, which show the pose. A pose model trained on
them would take the pose from the features and ignore the landmark picture. Therefore the part of a feature that the
landmarks of its face predict (least squares) is replaced by the part that the landmarks of another face predict. The
picture alone then tells the true pose.

Shapes: ``N`` faces, ``D`` width of the features, ``Q`` quadratic terms of the landmarks.
"""

import numpy as np
from numpy.typing import NDArray

from bench.faces.face import FACE_SIZE
from bench.faces.lmdb_file import LmdbFaces

_MAX_FACES = 20_000
"""Faces that the prediction is fitted to."""
_BATCH = 512


class PoseExchange:
    """Replaces the pose in the features of a face by the pose of another face.

    Args:
        effect: Change of the features per quadratic term of the landmarks, shape (Q, D).
    """

    def __init__(self, effect: NDArray[np.float32]) -> None:
        self.effect = effect

    def __call__(
        self, features: NDArray[np.float32], own: NDArray[np.uint8], other: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        """Features with the pose of other faces, shape (N, D).

        Args:
            features: Features of the faces, shape (N, D).
            own: Their landmark pictures, uint8, shape (N, 112, 112, 3).
            other: Landmark pictures of the other faces.
        """
        return features + (quadratic_terms(other) - quadratic_terms(own)).astype(np.float32) @ self.effect


def fit_exchange(faces: LmdbFaces, positions: NDArray[np.int64]) -> PoseExchange:
    """Fit what landmarks predict of the features, by least squares on up to 20,000 faces spread over ``positions``.

    Args:
        faces: Faces with features and landmark pictures.
        positions: Positions of the faces to train on.
    """
    chosen = positions[np.linspace(0, len(positions) - 1, min(len(positions), _MAX_FACES)).astype(int)]
    terms, features = [], []
    for start in range(0, len(chosen), _BATCH):
        rows = chosen[start : start + _BATCH].tolist()
        terms.append(quadratic_terms(np.stack([faces.landmark_picture(row) for row in rows])))
        features.append(np.stack([faces.features(row).reshape(-1) for row in rows]))
    effect = np.linalg.lstsq(np.concatenate(terms), np.concatenate(features).astype(np.float64))[0]
    return PoseExchange(effect.astype(np.float32))


def quadratic_terms(pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    """1, the centres of the red, green and blue discs, and all products of two of their coordinates, shape (N, Q).

    Args:
        pictures: Landmark pictures, uint8 RGB, shape (N, 112, 112, 3).
    """
    weights = pictures.astype(np.float64)
    mass = np.maximum(weights.sum(axis=(1, 2)), 1e-9)  # (N, 3)
    scale = (np.arange(FACE_SIZE) - (FACE_SIZE - 1) / 2) / FACE_SIZE
    across = np.einsum("nyxc,x->nc", weights, scale) / mass
    down = np.einsum("nyxc,y->nc", weights, scale) / mass
    centers = np.concatenate([across, down], axis=1)  # (N, 6)
    first, second = np.triu_indices(centers.shape[1])
    return np.concatenate([np.ones((len(centers), 1)), centers, centers[:, first] * centers[:, second]], axis=1)
