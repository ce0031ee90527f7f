"""Faces with features -> the linear map from features to coarse faces that is nearest to them, by least squares.

What a small generator begins with where its recipe says ``coarse``: the numbers of appearance behind a feature
(generate/networks/appearance.py) are a linear map of the coarse face, so that most of the image is one matrix away.

Legend: B faces, D width of the features, P = 3 * 28 * 28 values of a coarse face.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.faces.lmdb_file import LmdbFaces
from bench.machine.progress import progress
from generate.networks.appearance import coarse_faces
from generate.training.data import load_faces

_BATCH = 256
_RIDGE = 1e-6
"""Share of the features' mean square that is added to their covariance, so that it can be inverted."""


def fit_coarse(faces: LmdbFaces, positions: NDArray[np.int64]) -> dict[str, Tensor]:
    """Weight (P, D) and bias (P,) of the map, float32; memory does not grow with the faces.

    Args:
        faces: A training set.
        positions: Of the faces that are looked at.

    Raises:
        InputError: If a face does not decode or has another size.
    """
    gram = products = np.zeros(())
    with progress(desc="coarse faces", total=len(positions)) as bar:
        for start in range(0, len(positions), _BATCH):
            images, features = load_faces(faces, positions[start : start + _BATCH])
            given = np.concatenate([features.numpy(), np.ones((len(features), 1))], axis=1, dtype=np.float64)
            gram = gram + given.T @ given  # (D + 1, D + 1)
            products = products + given.T @ coarse_faces(images.numpy())  # (D + 1, P)
            bar.update(len(images))
    ridge = _RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
    solution = torch.from_numpy(np.linalg.solve(gram + ridge, products)).float()
    return {"weight": solution[:-1].T.contiguous(), "bias": solution[-1].contiguous()}
