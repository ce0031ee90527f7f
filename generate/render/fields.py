"""Displacement fields of the head model: identity, expression and age.

In: points of the template. Out: displacements per unit of a field's coefficient. Most fields are sums of Gaussian
bumps, listed in tables; the proportions of the whole head, the nose and the jaw are formulas. Axes and unit are those
of ``generate/render/head.py``. V counts vertices, F fields.
"""

from typing import NamedTuple

import numpy as np

from generate.render.texture import Floats, smoothstep

EYE_X, MOUTH_X, MOUTH_Y, NOSE_Y = 17.6, 14.6, 40.6, 20.1  # ArcFace template, origin midway between the eyes


class Bump(NamedTuple):
    """Gaussian displacement (dx, dy, dz) around template (x, y), mirrored in x; (sx, sy) are standard deviations."""

    dx: float
    dy: float
    dz: float
    x: float
    y: float
    sx: float
    sy: float


MEAN_FACE = (
    Bump(0, 0, 2.2, 13, -9, 9, 3.2),  # brow ridge
    Bump(0, 0, -1.6, 0, 0, 4, 5),  # nasion
    Bump(0, 0, -6.0, 16.5, 1, 7.5, 6),  # eye sockets
    Bump(0, 0, 4.2, 17.6, 0.6, 5.6, 4.2),  # eyeballs under the lids
    Bump(1.0, 0, 2.6, 27, 17, 8, 7),  # cheekbones
    Bump(0, 0, -1.8, 25, 34, 7, 8),  # hollows of the cheeks
    Bump(0, 0, 4.2, 0, 37, 11, 10),  # muzzle
    Bump(0, 0, 1.4, 0, 18.2, 3.8, 3.4),  # tip of the nose
    Bump(0, 0, 5.2, 7.0, 19.6, 2.3, 2.2),  # wings of the nose
    Bump(0, 0, -1.7, 11.0, 20.5, 1.8, 3.5),  # crease beside the wings
    Bump(0, 0, -0.8, 0, 31, 1.6, 3.5),  # philtrum
    Bump(0, 0, 2.3, 0, 37.9, 8.5, 2.0),  # upper lip
    Bump(0, 0, 2.6, 0, 43.9, 7.5, 2.4),  # lower lip
    Bump(0, 0, -2.0, 0, 40.6, 8, 0.9),  # line of the mouth
    Bump(0.3, -1.2, -1.4, 15.2, 41, 2.6, 3),  # corners of the mouth
    Bump(0, 0, -2.2, 0, 49.5, 9, 2.4),  # crease above the chin
    Bump(0, 0, 3.5, 0, 56, 8.5, 4.5),  # chin
    Bump(0, 0, -1.2, 37, -12, 5, 8),  # temples
)

# Identity: the bumps of each field for a coefficient of 1, which is one standard deviation.
IDENTITY_BUMPS: dict[str, tuple[Bump, ...]] = {
    "eye_spacing": (Bump(1.5, 0, 0, 17.6, 0, 7, 8),),
    "eye_height": (Bump(0, 1.2, 0, 17.6, -2, 9, 7),),
    "eye_depth": (Bump(0, 0, 1.6, 17, 0, 7, 6),),
    "eye_bulge": (Bump(0, 0, 0.9, 17.6, 0.6, 5, 3.8),),
    "brow_ridge": (Bump(0, 0.3, 1.7, 13, -8, 10, 3.5),),
    "brow_height": (Bump(0, 1.7, 0, 16, -11, 11, 4),),
    "brow_tilt": (Bump(0, -1.5, 0, 25, -10, 6, 5), Bump(0, 1.0, 0, 9, -10, 5, 4)),
    "nasion_depth": (Bump(0, 0, 1.2, 0, 0, 4, 5),),
    "nose_length": (Bump(0, 1.9, 0, 0, 20, 9, 6),),
    "nose_projection": (Bump(0, 0, 2.0, 0, 17.5, 5, 5.5), Bump(0, 0, 0.6, 7, 20, 4, 4)),
    "nose_width": (Bump(1.7, 0, 0, 7.5, 20, 4.5, 4),),
    "nose_bridge_width": (Bump(1.3, 0, 0, 3.5, 8, 4, 6), Bump(0, 0, 0.5, 4.5, 8, 2, 6)),
    "nose_hump": (Bump(0, 0, 1.3, 0, 10, 3.2, 4),),
    "nose_tip_turn": (Bump(0, -1.3, 0.2, 0, 20, 5, 4),),
    "nose_tip_width": (Bump(1.2, 0, 0, 3.5, 18.5, 3, 3), Bump(0, 0, 0.8, 3.5, 19, 2.2, 2.5)),
    "wing_flare": (Bump(0, 0, 0.8, 7.6, 20.6, 2.8, 2.4), Bump(0, 1.2, 0, 7.6, 21, 3, 3)),
    "cheekbones": (Bump(1.6, 0, 2.1, 27, 17, 8, 7),),
    "cheek_fullness": (Bump(1.6, 0, 2.6, 25, 32, 9, 9),),
    "muzzle": (Bump(0, 0, 1.4, 0, 37, 12, 9),),
    "philtrum_length": (Bump(0, 1.5, 0, 0, 41, 17, 7),),
    "mouth_width": (Bump(2.0, 0, 0, 13.5, 40.6, 6, 6),),
    "upper_lip": (Bump(0, 0, 0.8, 0, 37.8, 8, 2), Bump(0, -0.5, 0, 0, 37, 9, 2)),
    "lower_lip": (Bump(0, 0, 0.9, 0, 44, 7.5, 2.3), Bump(0, 0.6, 0, 0, 45, 8, 2)),
    "mouth_corner": (Bump(0, -0.7, 0, 14.6, 40.6, 4, 4),),
    "chin_projection": (Bump(0, 0, 2.5, 0, 56, 10, 6),),
    "chin_width": (Bump(2.6, 0, 0, 9, 57, 7, 6),),
    "chin_cleft": (Bump(0, 0, -1.0, 0, 56, 1.6, 3),),
    "chin_crease": (Bump(0, 0, 1.2, 0, 49.5, 8, 2.4),),
    "forehead_slope": (Bump(0, 0, 3.0, 0, -34, 22, 12),),
    "forehead_bosses": (Bump(0, 0, 1.5, 14, -28, 8, 8),),
    "temples": (Bump(2.0, 0, 0, 38, -12, 9, 12),),
}
# Identity: proportions of the whole head; the function `proportions` computes these fields, in this order.
PROPORTIONS = (
    "face_width", "jaw_width", "forehead_width", "lower_face", "mid_face", "skull_height", "head_depth", "jaw_angle",
    "neck_width", "asymmetry",
)  # fmt: skip

EXPRESSION_BUMPS: dict[str, tuple[Bump, ...]] = {
    "smile": (
        Bump(2.6, -2.6, -1.2, 14.6, 40.6, 6, 5),
        Bump(0.6, -1.2, 1.9, 21, 24, 7, 6),
        Bump(0, 0.3, -0.8, 0, 41, 9, 4),
        Bump(0.5, 0, 0, 8, 21, 4, 4),
    ),
    "brow_raise": (Bump(0, -3.2, 0.2, 15, -11, 12, 4.5),),
    "frown": (Bump(-1.4, 1.7, 0.4, 8, -9, 6, 4),),
    "pucker": (Bump(-2.4, 0, 1.4, 12, 40.6, 6, 6), Bump(0, 0, 1.5, 0, 41, 8, 5)),
    "age": (  # a coefficient of 1 ages the face from 20 to 80 years
        Bump(0.8, 2.2, 0.9, 21, 49, 7, 6),  # jowls
        Bump(0, 1.4, -2.2, 25, 30, 8, 8),  # sunken cheeks
        Bump(0, 1.6, 0, 22, -7, 9, 5),  # brows sag
        Bump(0, 0, 0.9, 17.6, 7.5, 6, 2),  # bags under the eyes
        Bump(0, 0, -1.3, 17, -4, 7, 4),  # hollow above the eyes
        Bump(0, 1.6, 0.8, 0, 20, 7, 5),  # the nose grows
        Bump(0, 0, -1.3, 0, 41, 9, 4),  # lips thin
        Bump(0, 0, -0.9, 0, 37, 12, 9),
        Bump(0.4, 0, 0.9, 15.5, 30, 3, 6),  # folds beside the mouth
        Bump(0, 0.8, 0, 14.6, 41, 5, 4),
    ),
}


def _bump(points: Floats, bump: Bump) -> Floats:
    x, y, z = points.T
    sides = [np.exp(-0.5 * ((x - centre) / bump.sx) ** 2) for centre in {bump.x, -bump.x}]
    weight = np.sum(sides, axis=0) * np.exp(-0.5 * ((y - bump.y) / bump.sy) ** 2)
    weight = weight * smoothstep(10, 32, z + np.abs(x) * 0.45)
    return np.stack([bump.dx * np.tanh(x / 3), np.full_like(x, bump.dy), np.full_like(x, bump.dz)], 1) * weight[:, None]


def sum_bumps(points: Floats, bumps: tuple[Bump, ...]) -> Floats:
    """Total displacement (V, 3) of points (V, 3) by the bumps."""
    return np.sum([_bump(points, bump) for bump in bumps], axis=0)


def nose(points: Floats) -> Floats:
    """Displacement (V, 3) that forms the mean nose: a ridge rising from the nasion, cut off below the tip."""
    x, y, _ = points.T
    along = np.clip((y + 3) / 23, 0, 1)
    width = 3.0 + 1.2 * along**2
    height = 12.0 * along**1.1 / (1 + np.exp(np.minimum((y - 23.6 + 0.035 * x**2) / 1.3, 60)))
    zero = np.zeros_like(x)
    front = smoothstep(10, 30, points[:, 2])
    return np.stack([zero, zero, height * np.exp(-0.5 * (x / width) ** 2) * front], 1)


def proportions(points: Floats) -> Floats:
    """Displacements (F, V, 3) of the fields in PROPORTIONS, for a coefficient of 1 (one standard deviation)."""
    x, y, z = points.T
    fields = np.zeros((len(PROPORTIONS), *points.shape), np.float32)
    below = smoothstep(8, 60, y)
    neck = smoothstep(48, 66, y) * smoothstep(30, 10, z)
    face_width, jaw, forehead, lower, mid, skull, depth, angle, neck_width, asymmetry = fields
    face_width[:, 0] = 0.055 * x * (1 - neck)
    jaw[:, 0] = 0.10 * x * smoothstep(14, 46, y) * (1 - 0.7 * neck)
    forehead[:, 0] = 0.05 * x * smoothstep(-4, -34, y)
    lower[:, 1] = 3.6 * smoothstep(40, 60, y)
    mid[:, 1] = 1.6 * smoothstep(4, 26, y)
    skull[:, 1] = -3.6 * smoothstep(-12, -60, y)
    depth[:, 2] = 0.05 * (z - 30) * (1 - below)
    side = np.exp(-0.5 * (((np.abs(x) - 30) / 9) ** 2 + ((y - 40) / 9) ** 2))
    angle[:, 0], angle[:, 1] = 1.6 * np.tanh(x / 3) * side, 2.4 * side
    neck_width[:, 0] = 0.10 * x * neck
    asymmetry[:, 0] = 1.0 * np.exp(-0.5 * ((x / 14) ** 2 + ((y - 26) / 14) ** 2)) * smoothstep(10, 32, z)
    return fields


def mouth_open(points: Floats, row: Floats) -> Floats:
    """Displacement (V, 3) that drops the jaw by one unit: a step at the line of the mouth, a smooth ramp beside it.

    Args:
        points: Template coordinates, shape (V, 3).
        row: Row coordinate of each vertex on the head's grid, shape (V,); rows below the mouth drop at once.
    """
    x, y, z = points.T
    inside = np.sqrt(np.clip(1 - (x / (MOUTH_X - 1.2)) ** 2, 0, 1))
    step = (row > MOUTH_Y).astype(np.float32) * (row < 130)
    ramp = smoothstep(22, 56, y)
    drop = inside * step * (0.92 + 0.08 * ramp) + (1 - inside) * ramp
    drop = drop * smoothstep(-12, 18, z) * smoothstep(80, 64, y)
    zero = np.zeros_like(x)
    return np.stack([zero, drop, -0.25 * drop], 1)
