"""Settings of poses -> the landmark pictures of a dataset, and which of them each image is drawn by.

The pictures come from the renderer's mean head, at every combination of the yaws and pitches in the settings, or from
the user's file. Every identity has the exact shares of each yaw and each pitch, in a random order that follows from
(seed, identity). Shapes: ``L`` pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.config.poses import LandmarkPoses
from generate.draw.perturbation import apportion
from generate.networks.plus.pictures import draw_landmarks, read_landmark_pictures
from generate.render.turned import turned_landmarks

_POSE_STREAM = 5
"""Stream of random numbers below a dataset's seed; ``generate.draw.perturbation`` lists the others."""


@dataclass(frozen=True)
class LandmarkBank:
    """Landmark pictures with their poses, and the shares of an identity's images that are drawn by them."""

    pictures: NDArray[np.uint8]
    """RGB, shape (L, 112, 112, 3): of yaw i and pitch j at row i * (number of pitches) + j."""
    yaw: NDArray[np.float32]
    """Degrees, shape (L,); NaN for the user's own landmarks, whose pose is not known."""
    pitch: NDArray[np.float32]
    """The same for the pitch."""
    yaw_shares: tuple[float, ...]
    """Share of each yaw; for the user's own landmarks, of each picture."""
    pitch_shares: tuple[float, ...]

    def choose(self, seed: int, identity_id: int, num_images: int) -> NDArray[np.int64]:
        """Numbers of the pictures of one identity's images, shape (num_images,).

        Counts are nearest to the shares (``apportion``). If the images cannot be divided evenly among equal shares, the
        share that gets one more depends on ``identity_id``. Nothing depends on batches.

        Args:
            seed: Seed of the dataset.
            identity_id: Number of the identity.
            num_images: Its images with a pose.
        """
        rng = np.random.default_rng([seed, _POSE_STREAM, identity_id])
        yaws, pitches = (
            rng.permutation(_spread(num_images, shares, identity_id)) for shares in (self.yaw_shares, self.pitch_shares)
        )
        return yaws * len(self.pitch_shares) + pitches


def make_bank(settings: LandmarkPoses, own: Path | None = None) -> LandmarkBank:
    """The landmark pictures of a dataset.

    Args:
        settings: Section ``pose`` of a generator.
        own: The user's own pictures or points (see ``read_landmark_pictures``), in place of the settings' angles.

    Raises:
        InputError: As ``read_landmark_pictures``, or if a point lies outside the image.
    """
    if own is not None:
        pictures = read_landmark_pictures(own)
        unknown = np.full(len(pictures), np.nan, np.float32)
        return LandmarkBank(pictures, unknown, unknown, _equal_shares(len(pictures)), (1.0,))
    angles = [(yaw, pitch) for yaw in settings.yaw_degrees for pitch in settings.pitch_degrees]
    pictures = np.stack(
        [draw_landmarks(turned_landmarks(*pose), f"landmarks at yaw and pitch {pose}") for pose in angles]
    )
    yaw, pitch = np.array(angles, np.float32).T
    return LandmarkBank(
        pictures,
        yaw,
        pitch,
        settings.yaw_shares or _equal_shares(len(settings.yaw_degrees)),
        settings.pitch_shares or _equal_shares(len(settings.pitch_degrees)),
    )


def _equal_shares(num: int) -> tuple[float, ...]:
    return (1 / num,) * num


def _spread(num_images: int, shares: Sequence[float], identity_id: int) -> NDArray[np.int64]:
    """Numbers of the shares, each as often as its share asks for; ``identity_id`` decides ties."""
    first = identity_id % len(shares)
    order = [*range(first, len(shares)), *range(first)]
    return np.repeat(order, apportion(num_images, [shares[number] for number in order]))
