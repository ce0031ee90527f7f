"""One identity vector -> the vectors of its images, and the yaws of those that are turned.

``x = f + sigma * noise``, rescaled to the norm of ``f`` (Vec2Face, image_generation.py; docs/field.md, section 1.6).
The reference draws isotropic noise. Settings may choose two other kinds: noise with the covariance of real faces around
the centre of their identity (``directions``), or differences of real faces from that centre (``differences``).

Random numbers come from (seed, identity, image), so the vectors do not depend on how the work is split. The reference
shuffles the noise strengths over all identities; here every identity has the exact shares.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError

_STRENGTH_STREAM, _NOISE_STREAM, _VIEW_STREAM = 1, 2, 4
"""Streams of random numbers below a dataset's seed. ``generate.identities`` uses 0, ``generate.networks.masks`` 3,
``generate.draw.pose.bank`` 5."""


def apportion(total: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers that add up to ``total`` and are nearest to the shares (largest-remainder method).

    Of equal remainders the earlier share is rounded up.

    Args:
        total: Number to divide.
        shares: Fractions that add up to 1.

    Raises:
        InputError: If the shares do not add up to 1, or one is negative.
    """
    if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise InputError(f"shares {tuple(shares)} add up to {sum(shares):g}; give shares of 0 or more that add up to 1")
    exact = [total * share for share in shares]
    counts = [int(value + 1e-9) for value in exact]
    order = sorted(range(len(shares)), key=lambda index: round(counts[index] - exact[index], 9))
    for index in order[: total - sum(counts)]:
        counts[index] += 1
    return counts


def strengths(
    seed: int, identity_id: int, num_images: int, sigmas: Sequence[float], shares: Sequence[float]
) -> NDArray[np.float32]:
    """Noise strength (sigma) per image of one identity, shape (num_images,): exact shares in a random order."""
    values = np.repeat(np.asarray(sigmas, np.float32), apportion(num_images, shares))
    return np.random.default_rng([seed, _STRENGTH_STREAM, identity_id]).permutation(values)


def perturb(
    vector: NDArray[np.float32],
    sigma: NDArray[np.float32],
    *,
    seed: int,
    identity_id: int,
    first_image: int = 0,
    directions: NDArray[np.floating] | None = None,
    differences: NDArray[np.floating] | None = None,
) -> NDArray[np.float32]:
    """The vectors of consecutive images of one identity.

    Vectors keep the norm of ``vector``, except with ``differences``: features of faces that are hard to recognise are
    shorter, and the differences keep this effect.

    Args:
        vector: Identity vector, shape (D,).
        sigma: Noise per dimension, one per image, shape (num_images,).
        seed: Seed of the dataset.
        identity_id: Number of the identity.
        first_image: Number of the first image.
        directions: Matrix that standard normal noise is multiplied by, shape (D, D); None for isotropic noise. See
            ``prepare.deviation_directions``.
        differences: Features of real faces minus their identity's centre, shape (M, D). One of them, drawn at random,
            is the noise of an image. See
            ``variation.centers_and_differences``.

    Returns:
        Vectors, shape (num_images, D).
    """
    images = range(first_image, first_image + len(sigma))
    if differences is not None:
        drawn = [int(noise_rng(seed, identity_id, image).integers(len(differences))) for image in images]
        return vector + sigma[:, None] * differences[drawn].astype(np.float32)
    noise = np.stack(
        [noise_rng(seed, identity_id, image).standard_normal(len(vector), dtype=np.float32) for image in images]
    )
    if directions is not None:
        noise = noise @ directions.astype(np.float32)
    moved = vector + sigma[:, None] * noise
    return moved * (np.linalg.norm(vector) / np.linalg.norm(moved, axis=1, keepdims=True))


def draw_views(
    seed: int, identity_id: int, num_images: int, share: float, degrees: tuple[float, float]
) -> NDArray[np.float32]:
    """Target yaw of the turned views among one identity's images, shape (num_images,); NaN where an image stays.

    Angles are uniform in ``degrees``, with either sign.

    Args:
        seed: Seed of the dataset.
        identity_id: Number of the identity.
        num_images: Images of the identity.
        share: Share of them that are turned, in exact number.
        degrees: Smallest and largest absolute yaw.
    """
    rng = np.random.default_rng([seed, _VIEW_STREAM, identity_id])
    (num_turned, _) = apportion(num_images, (share, 1 - share))
    yaw = rng.choice([-1, 1], num_images) * rng.uniform(*degrees, num_images)
    yaw[rng.permutation(num_images)[num_turned:]] = np.nan
    return yaw.astype(np.float32)


def noise_rng(seed: int, identity_id: int, image: int) -> np.random.Generator:
    """The random numbers that make the noise of one image."""
    return np.random.default_rng([seed, _NOISE_STREAM, identity_id, image])
