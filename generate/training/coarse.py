"""Faces with features -> the linear map from features to low-resolution faces, fitted by least squares.

A small generator starts from this map if its recipe says ``coarse: true``. Its features end with principal components
of the low-resolution face (generate/networks/appearance.py), so that a linear map restores most of the image.

Shapes: ``N`` faces, ``D`` width of the features, ``P`` = 3 * 28 * 28 values of a low-resolution face.
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
"""Ridge penalty, as a share of the mean diagonal of the Gram matrix. It makes the matrix invertible."""


def fit_coarse(faces: LmdbFaces, positions: NDArray[np.int64]) -> dict[str, Tensor]:
    """Weight (P, D) and bias (P,) of the map, float32. Memory does not grow with the number of faces.

    Args:
        faces: Faces with features.
        positions: Positions of the faces to fit, shape (N,).

    Raises:
        InputError: If a face cannot be decoded or is not square.
    """
    gram = products = np.zeros(())
    with progress(desc="coarse faces", total=len(positions)) as bar:
        for start in range(0, len(positions), _BATCH):
            images, features = load_faces(faces, positions[start : start + _BATCH])
            inputs = np.concatenate([features.numpy(), np.ones((len(features), 1))], axis=1, dtype=np.float64)
            gram = gram + inputs.T @ inputs  # (D + 1, D + 1)
            products = products + inputs.T @ coarse_faces(images.numpy())  # (D + 1, P)
            bar.update(len(images))
    ridge = _RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
    solution = torch.from_numpy(np.linalg.solve(gram + ridge, products)).float()
    return {"weight": solution[:-1].T.contiguous(), "bias": solution[-1].contiguous()}
