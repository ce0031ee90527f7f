"""A prepared training set -> what differs between people, and what between the faces of one: ``generate variation``.

Of most people a training set may hold a single photograph, whose light, colour and background then count as theirs:
people drawn from such centres have a tint of their own. So both are taken from the people who are seen often:
``seen_often.npy``, their centres (for ``identities: pca``), and ``differences.npy``, one row per face, its feature less
its identity's centre (for ``perturbation.differences``). A difference is added to an invented person as it is, turned
head and lamp and all: noise of the same covariance would mix several poses in one image.

Shapes: ``N`` faces, ``C`` identities, ``M`` of the faces, ``D`` width of the features.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.files import write_array
from bench.machine.progress import progress
from bench.vectors.nearest import identity_centers
from generate.training.data import open_training_set
from generate.training.prepare import LMDB_NAME

SEEN_OFTEN_NAME, DIFFERENCES_NAME = "seen_often.npy", "differences.npy"


def variation(
    features: NDArray[np.floating], identity_ids: NDArray[np.integer], min_faces: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Centres (C, D) of the identities with ``min_faces`` faces or more, and differences (M, D) of their faces.

    A centre lies nearer to the faces that it is the mean of than to others of that person; differences are scaled by
    ``sqrt(n / (n - 1))`` for that.

    Args:
        features: Un-normalised, shape (N, D).
        identity_ids: Identity per face, shape (N,).
        min_faces: At least 2.

    Raises:
        InputError: If fewer than two identities have so many faces.
    """
    counts = np.bincount(identity_ids)
    often = counts >= max(2, min_faces)
    if often.sum() < 2:
        raise InputError(
            f"--min-faces {min_faces}: {often.sum()} identities have as many faces (the most: {counts.max()}); "
            "at least two are needed, lower it"
        )
    chosen = often[identity_ids]
    number = np.cumsum(often) - 1
    labels = number[identity_ids[chosen]]
    centers = identity_centers(features[chosen], labels)
    kept = counts[often].astype(np.float32)
    scale = np.sqrt(kept / (kept - 1))[labels, None]
    return centers, ((features[chosen] - centers[labels]) * scale).astype(np.float32)


def write_variation(prepared: str | Path, *, min_faces: int, views: int = 0) -> tuple[int, int]:
    """Write seen_often.npy and differences.npy into the folder of a training set.

    Args:
        prepared: Folder of ``generate prepare``.
        min_faces: See ``variation``; views do not count.
        views: How many turned views follow every photograph (``generate turn``). They are left out: a person added to
            a pose is not that person in that pose, and images are better turned when they are drawn.

    Returns:
        Number of identities and of differences.

    Raises:
        InputError: If the folder holds no training set, or too few identities have so many faces.
    """
    faces = open_training_set(Path(prepared) / LMDB_NAME)
    if views < 0 or len(faces) % (views + 1):
        raise InputError(f"--views {views}: {len(faces)} faces are no photographs with so many views each")
    rows = range(0, len(faces), views + 1)
    features = np.stack([faces.features(index).reshape(-1) for index in progress(rows, desc="read features")])
    centers, differences = variation(features.astype(np.float32), faces.identity_ids[rows], min_faces)
    write_array(Path(prepared) / SEEN_OFTEN_NAME, centers)
    write_array(Path(prepared) / DIFFERENCES_NAME, differences)
    return len(centers), len(differences)
