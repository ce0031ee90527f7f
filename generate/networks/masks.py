"""(seed, identity, image) -> which grid tokens of the generator are masked: noise per token, and the masked share.

The generator masks the tokens of lowest noise (Vec2Face, docs/field.md, section 1.2). The reference draws one ratio per
batch. Here every image has its own noise and ratio, so that an image does not depend on the batch it is drawn in.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MASK_STREAM = 3
"""Stream of random numbers below a dataset's seed. ``generate.identities`` uses stream 0,
``generate.draw.perturbation`` the streams 1, 2 and 4."""


@dataclass(frozen=True)
class MaskRatio:
    """Share of masked tokens, normally distributed and truncated to [low, high].

    The defaults are those of Vec2Face's generation scripts.
    """

    low: float = 0.1
    high: float = 1.0
    mean: float = 0.15
    std: float = 0.25

    def draw(self, rng: np.random.Generator) -> float:
        """One ratio, a fraction in [low, high]."""
        while not self.low <= (ratio := rng.normal(self.mean, self.std)) <= self.high:
            pass
        return float(ratio)


POSED_MASK_RATIO = MaskRatio(low=0.8, high=0.9, mean=0.85, std=0.05)
"""Masked share of images with a landmark picture (Vec2Face+, pose_control.py)."""


def draw_masks(
    seed: int, identity_id: int, images: Sequence[int], num_tokens: int, ratio: MaskRatio
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Mask noise and mask ratios of some images of one identity.

    Args:
        seed: Seed of the dataset.
        identity_id: Number of the identity.
        images: Numbers of the images, within the identity.
        num_tokens: Tokens of the generator's grid.
        ratio: Distribution of the masked share.

    Returns:
        Noise, shape (num_images, num_tokens), uniform in [0, 1), and ratios, shape (num_images,).
    """
    noise, ratios = [], []
    for image in images:
        rng = np.random.default_rng([seed, _MASK_STREAM, identity_id, image])
        noise.append(rng.random(num_tokens, dtype=np.float32))
        ratios.append(ratio.draw(rng))
    return np.stack(noise), np.array(ratios)
