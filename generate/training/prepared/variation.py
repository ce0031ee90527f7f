"""A prepared training set -> centres of people, and differences of their images from them: ``generate variation``.

| file | holds | for |
|---|---|---|
| seen_often.npy | centres of the identities with many faces, (C, D) | ``identities: pca`` of a generator |
| differences.npy | feature less centre, per face of these identities, (M, D) | ``perturbation.differences`` |

``--min-faces`` counts faces: after ``prepare --mirror``, each photograph counts with its mirror image, as two.
Identities with a single photograph should be left out. Their centre holds the light, colour and background of that
photograph, and invented people drawn from such centres have a tint of their own. The generator adds whole differences
to an invented identity, with their pose and light. Gaussian noise of the same covariance would mix several poses in
one image.

Shapes: ``N`` faces, ``C`` identities with many faces, ``M`` their faces, ``D`` width of the features.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.files import write_array
from bench.machine.progress import progress
from bench.vectors.nearest import identity_centers
from generate.training.data import open_training_set
from generate.training.prepared.prepare import LMDB_NAME

SEEN_OFTEN_NAME, DIFFERENCES_NAME = "seen_often.npy", "differences.npy"


def centers_and_differences(
    features: NDArray[np.floating], identity_ids: NDArray[np.integer], min_faces: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Centres (C, D) of the identities with at least ``min_faces`` faces, and differences (M, D) of their faces.

    The mean of n faces is nearer to them than to other faces of the person, so that plain differences are too small.
    They are scaled by ``sqrt(n / (n - 1))``.

    Args:
        features: Un-normalised feature per face, shape (N, D).
        identity_ids: Identity per face, shape (N,).
        min_faces: Least number of faces of an identity, at least 2.

    Raises:
        InputError: If fewer than two identities have ``min_faces`` faces.
    """
    counts = np.bincount(identity_ids)
    is_often = counts >= max(2, min_faces)
    if is_often.sum() < 2:
        raise InputError(
            f"--min-faces {min_faces}: {is_often.sum()} identities have so many faces (the most is "
            f"{counts.max()}), at least two are needed; lower it"
        )
    is_used = is_often[identity_ids]
    new_ids = np.cumsum(is_often) - 1
    labels = new_ids[identity_ids[is_used]]
    centers = identity_centers(features[is_used], labels)
    num_faces = counts[is_often].astype(np.float32)
    scale = np.sqrt(num_faces / (num_faces - 1))[labels, None]
    return centers, ((features[is_used] - centers[labels]) * scale).astype(np.float32)


def write_variation(prepared: str | Path, *, min_faces: int, views: int = 0) -> tuple[int, int]:
    """Write seen_often.npy and differences.npy into the folder of a training set.

    Args:
        prepared: Folder of ``generate prepare``.
        min_faces: Least number of faces of an identity, at least 2. After ``prepare --mirror``, each photograph counts
            with its mirror image, as two.
        views: Number of turned views behind every photograph (``--views`` of ``generate turn``). They are left out:
            adding the difference of a profile to another identity does not give that person's profile. The generator's
            setting ``turned`` rotates the drawn image instead.

    Returns:
        Number of identities and of differences.

    Raises:
        InputError: If the folder holds no training set, the number of faces does not fit ``views``, or fewer than two
            identities have ``min_faces`` faces.
    """
    faces = open_training_set(Path(prepared) / LMDB_NAME)
    if views < 0 or len(faces) % (views + 1):
        raise InputError(
            f"--views {views}: {len(faces)} faces are not a multiple of {views + 1}; "
            "give the --views of generate turn, or 0"
        )
    rows = range(0, len(faces), views + 1)
    features = np.stack([faces.features(index).reshape(-1) for index in progress(rows, desc="read features")])
    centers, differences = centers_and_differences(features.astype(np.float32), faces.identity_ids[rows], min_faces)
    write_array(Path(prepared) / SEEN_OFTEN_NAME, centers)
    write_array(Path(prepared) / DIFFERENCES_NAME, differences)
    return len(centers), len(differences)
