"""One identity vector -> the vectors of its images: noise of a few strengths, norm restored.

``x = f + sigma * noise``, rescaled to the norm of ``f`` (Vec2Face, image_generation.py). The noise is isotropic there;
here it can also lie as the faces of one identity really differ, or be such differences, drawn at random. It comes
from (seed, identity, image), so that the vectors do not depend on how the work is sliced. Unlike the reference, which
shuffles strengths over all identities, every identity has the exact shares.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError

_STRENGTHS, _NOISE, _MASK, _VIEW = 1, 2, 3, 4
"""Separate streams of random numbers below one seed; 0 draws the identity vectors."""


@dataclass(frozen=True)
class MaskRatio:
    """Share of masked tokens: a normal number cut to a range. Defaults: Vec2Face's generation scripts."""

    low: float = 0.1
    high: float = 1.0
    mean: float = 0.15
    std: float = 0.25

    def draw(self, rng: np.random.Generator) -> float:
        """One ratio, a fraction in [low, high]."""
        while not self.low <= (ratio := rng.normal(self.mean, self.std)) <= self.high:
            pass
        return float(ratio)


def apportion(total: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers that add up to ``total`` and are as near to the shares as can be (largest remainder).

    Equal remainders go to the earlier share.

    Args:
        total: Number to divide.
        shares: Fractions, adding up to 1.

    Raises:
        InputError: If the shares do not add up to 1, or one is negative.
    """
    if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise InputError(f"shares {tuple(shares)} add up to {sum(shares):g}; they must be 0 or more and add up to 1")
    exact = [total * share for share in shares]
    counts = [int(value + 1e-9) for value in exact]
    order = sorted(range(len(shares)), key=lambda index: round(counts[index] - exact[index], 9))
    for index in order[: total - sum(counts)]:
        counts[index] += 1
    return counts


def strengths(
    seed: int, identity_id: int, num_images: int, sigmas: Sequence[float], shares: Sequence[float]
) -> NDArray[np.float32]:
    """Noise strength per image of one identity, shape (num_images,): exact shares in a random order."""
    values = np.repeat(np.asarray(sigmas, np.float32), apportion(num_images, shares))
    return np.random.default_rng([seed, _STRENGTHS, identity_id]).permutation(values)


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

    Args:
        vector: Identity vector, shape (D,).
        sigma: Noise per dimension, one per image, shape (num_images,).
        seed: Seed of the dataset.
        identity_id: Number of the identity.
        first_image: Number of the first image.
        directions: What standard normal noise is multiplied by, shape (D, D); None for isotropic noise. See
            ``prepare.deviation_directions``.
        differences: Of faces and their identity's centre, shape (M, D): one of them, drawn at random, is the noise of
            an image. See ``variation.variation``.

    Returns:
        Vectors, shape (num_images, D), of the norm of ``vector`` unless they are made of differences: real features
        are shorter where a face is hard to recognise.
    """
    images = range(first_image, first_image + len(sigma))
    if differences is not None:
        drawn = [int(_rng(seed, _NOISE, identity_id, i).integers(len(differences))) for i in images]
        return vector + sigma[:, None] * differences[drawn].astype(np.float32)
    noise = np.stack(
        [_rng(seed, _NOISE, identity_id, i).standard_normal(len(vector), dtype=np.float32) for i in images]
    )
    if directions is not None:
        noise = noise @ directions.astype(np.float32)
    moved = vector + sigma[:, None] * noise
    return moved * (np.linalg.norm(vector) / np.linalg.norm(moved, axis=1, keepdims=True))


def draw_views(
    seed: int, identity_id: int, num_images: int, share: float, degrees: tuple[float, float]
) -> NDArray[np.float32]:
    """Yaw of the views of one identity's images, shape (num_images,): evenly drawn, to either side; NaN for none.

    Args:
        seed: Seed of the dataset.
        identity_id: Number of the identity.
        num_images: Of its images.
        share: Of them that are turned, in exact number.
        degrees: Least and largest yaw.
    """
    rng = np.random.default_rng([seed, _VIEW, identity_id])
    (num_turned, _) = apportion(num_images, (share, 1 - share))
    yaw = rng.choice([-1, 1], num_images) * rng.uniform(*degrees, num_images)
    yaw[rng.permutation(num_images)[num_turned:]] = np.nan
    return yaw.astype(np.float32)


def draw_masks(
    seed: int, identity_id: int, images: Sequence[int], num_tokens: int, ratio: MaskRatio
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Mask noise (num_images, num_tokens) and mask ratio (num_images,) of images of one identity."""
    noise, ratios = [], []
    for image in images:
        rng = _rng(seed, _MASK, identity_id, image)
        noise.append(rng.random(num_tokens, dtype=np.float32))
        ratios.append(ratio.draw(rng))
    return np.stack(noise), np.array(ratios)


def _rng(seed: int, stream: int, identity_id: int, image: int) -> np.random.Generator:
    return np.random.default_rng([seed, stream, identity_id, image])
