"""Identity vectors of a generator that takes circumstances -> the vectors of an identity's images.

A row of the file ``perturbation.differences`` then holds what one rendered image adds to its person: a deviation of the
identity features, and the image's circumstances (``generate/networks/circumstances.py``). An image gets a whole row, so
that its light, pose and expression go together as in the renderer. An image with a target yaw gets a row of about that
yaw, and the yaw of the row is set to the target: nothing has to be searched.

Shapes: ``N`` images, ``D`` width of the vectors, ``C`` of them circumstances, ``M`` rows.
"""

import numpy as np
from numpy.typing import NDArray

from generate.draw.perturbation import noise_rng
from generate.networks.circumstances import NUM_CIRCUMSTANCES, neutral_circumstances, with_yaw, yaw_of

_NEAREST_ROWS = 32
"""A target yaw is given one of the rows whose yaw is nearest to it, at random."""


def vectors_with_circumstances(
    vector: NDArray[np.float32],
    sigma: NDArray[np.float32],
    yaw: NDArray[np.floating],
    rows: NDArray[np.float32],
    *,
    seed: int,
    identity_id: int,
) -> NDArray[np.float32]:
    """The vectors of one identity's images, shape (N, D).

    Args:
        vector: Identity vector, shape (D,). Its circumstances, zeros as a rule, are added to those of every row.
        sigma: Strength of the deviation of the identity features per image, shape (N,). Circumstances are not scaled.
        yaw: Target yaw per image in degrees, shape (N,); NaN where the yaw is that of the row.
        rows: Deviations of identity features, then circumstances, shape (M, D).
        seed: Seed of the dataset.
        identity_id: Number of the identity.
    """
    person, own_circumstances = np.split(vector, [-NUM_CIRCUMSTANCES])
    of_rows = yaw_of(rows[:, -NUM_CIRCUMSTANCES:])
    vectors = np.empty((len(sigma), len(vector)), np.float32)
    for image, (strength, target) in enumerate(zip(sigma, yaw, strict=True)):
        rng = noise_rng(seed, identity_id, image)
        if np.isnan(target):
            row = rows[rng.integers(len(rows))]
            circumstances = row[-NUM_CIRCUMSTANCES:]
        else:
            nearest = np.argsort(np.abs(of_rows - target), kind="stable")[:_NEAREST_ROWS]
            row = rows[nearest[rng.integers(len(nearest))]]
            circumstances = with_yaw(row[-NUM_CIRCUMSTANCES:], float(target))
        features = person + strength * row[:-NUM_CIRCUMSTANCES]
        vectors[image] = np.concatenate([features, circumstances + own_circumstances])
    return vectors


def with_neutral_circumstances(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vectors (N, D) of images from the front, in even light, without glasses and expression."""
    neutral = np.broadcast_to(neutral_circumstances(), (len(vectors), NUM_CIRCUMSTANCES))
    return np.concatenate([vectors[:, :-NUM_CIRCUMSTANCES], neutral], axis=1)


def without_circumstances(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vectors, (N, D) or (D,), with zeros as their circumstances, as features of identities have them."""
    identity = vectors.copy()
    identity[..., -NUM_CIRCUMSTANCES:] = 0
    return identity
