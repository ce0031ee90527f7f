"""Rendered faces with an exact yaw and even light, for tests that need the truth of a turned face."""

from dataclasses import replace

import numpy as np

from generate.render.face import render_face
from generate.render.people import draw_factors

_FACE = (slice(44, 100), slice(28, 84))


def rendered_at_yaw(identity, yaw):
    """A face of an identity at a yaw in degrees, uint8, shape (112, 112, 3): neutral, aligned exactly, evenly lit."""
    factors = replace(
        draw_factors(identity, 0), yaw_degrees=yaw, pitch_degrees=0.0, roll_degrees=0.0, landmark_jitter=0.0,
        smile=0.0, mouth_open=0.0, light_strength=0.0, ambient=1.0, glasses="none", blur_pixels=0.5, noise=0.0,
    )  # fmt: skip
    return render_face(identity, 0, factors)


def face_difference(first, second):
    """Mean absolute difference of two images between brows and chin."""
    return np.abs(first[_FACE].astype(float) - second[_FACE]).mean()
