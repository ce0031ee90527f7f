"""Grids of points of the mean head: head with neck and shoulders, hair shell, ears, glasses.

A grid is an array of shape (rows, columns, 3). The head is a surface of revolution whose outline interpolates a table
of knots. Ears and glasses are separate surfaces. Axes and unit: ``generate/render/head.py``.
"""

import numpy as np
from numpy.typing import NDArray

from generate.render.fields import MOUTH_Y
from generate.render.texture import Floats, smoothstep

# Knots of the head from the crown to the shoulders. Columns: row coordinate, y at front, side and back, half the width,
# z at front and back. The row coordinate equals y at the front, down to the chin.
_KNOTS = np.array(
    [
        # row   yf    ys    yb     a     zf    zb
        (-66, -66, -66, -66, 0.5, -3, -5),
        (-65, -65.6, -65.6, -65.6, 10, 8, -16),
        (-62, -63.5, -63.5, -63.5, 19, 19, -28),
        (-56, -58, -58, -58, 28, 31, -40),
        (-46, -47, -47, -47, 34.5, 42.0, -49),
        (-34, -34, -34, -34, 39.0, 48.5, -54),
        (-22, -22, -22, -22, 41.0, 51.5, -56),
        (-10, -10, -10, -10, 41.6, 52.5, -56),
        (0, 0, 0, 0, 41.2, 51.0, -54),
        (15, 15, 13.5, 12, 39.8, 50.0, -49),
        (30, 30, 26.5, 23, 37.0, 49.5, -43),
        (41, 41, 36, 29, 34.4, 48.5, -39),
        (50, 50, 42.5, 34, 31.0, 47.0, -37),
        (57, 57, 47, 37, 27.6, 45.0, -36),
        (61, 60.8, 50, 39, 25.8, 40.0, -36),
        (64, 62.5, 53, 42, 24.8, 29.0, -37),
        (68, 63.5, 57, 46, 24.6, 15.0, -38),
        (76, 71, 66, 54, 25.4, 9.0, -39),
        (88, 86, 80, 66, 29.0, 10.0, -41),
        (100, 97, 86, 78, 46.0, 16.0, -44),
        (120, 112, 94, 90, 84.0, 24.0, -46),
    ],
    dtype=np.float32,
)


def _profile(rows: Floats) -> list[Floats]:
    """Columns of the knots (without the first), interpolated at ``rows`` and smoothed so that no knot is an edge."""
    fine = np.arange(-66, 120.1, 0.25, dtype=np.float32)
    kernel = np.exp(-0.5 * (np.arange(-24, 25) * 0.25 / 2.0) ** 2)
    smoothed = []
    for column in _KNOTS.T[1:]:
        values = np.interp(fine, _KNOTS[:, 0], column)
        low, high = 2 * values[0] - values[24:0:-1], 2 * values[-1] - values[-2:-26:-1]
        padded = np.convolve(np.concatenate([low, values, high]), kernel / kernel.sum(), "valid")
        crown = np.clip((fine + 66) / 8, 0, 1)  # smoothing would flatten the crown, so it fades in below it
        smoothed.append(np.interp(rows, fine, crown * padded + (1 - crown) * values).astype(np.float32))
    return smoothed


def _revolve(rows: Floats, azimuth: Floats, profile: list[Floats]) -> Floats:
    """Points (rows, columns, 3) of the surface with the given profile; azimuth in radians, 0 is the front."""
    y_front, y_side, y_back, half_width, z_front, z_back = (column[:, None] for column in profile)
    sine, cosine = np.sin(azimuth)[None], np.cos(azimuth)[None]
    squareness = (np.abs(sine) ** 2.2 + np.abs(cosine) ** 2.2) ** (-1 / 2.2)
    forward = smoothstep(0.0, 0.93, cosine)
    backward = smoothstep(0.0, 1.0, -cosine)
    y = y_side + (y_front - y_side) * forward + (y_back - y_side) * backward
    x = half_width * sine * squareness
    z = (z_front + z_back) / 2 + (z_front - z_back) / 2 * cosine * squareness
    return np.stack(np.broadcast_arrays(x, y, z), axis=-1).astype(np.float32)


def grid_triangles(first: int, rows: int, columns: int) -> NDArray[np.int64]:
    """Triangles (T, 3) of a grid whose vertices start at ``first``: two per cell, wound to face outwards."""
    corner = first + np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)[None]
    a, b, c, d = (corner + step for step in (0, 1, columns, columns + 1))
    return np.stack([np.stack([a, c, b], -1), np.stack([b, c, d], -1)]).reshape(-1, 3)


def ear(side: int) -> tuple[Floats, Floats]:
    """Points (rows, columns, 3) of an ear relative to its anchor, and the anchor (3,).

    Args:
        side: -1 for the ear at the left of the image, 1 for the right.
    """
    radius = np.array([0.0, 0.18, 0.34, 0.5, 0.64, 0.78, 0.9, 1.0, 0.98], np.float32)[:, None]
    angle = np.linspace(2 * np.pi, 0, 29, dtype=np.float32)[None] * side
    back = np.cos(angle) * radius  # -1 at the cheek, 1 at the rim
    down = np.sin(angle) * radius
    relief = 1.9 * np.exp(-(((radius - 0.9) / 0.09) ** 2)) + 1.3 * np.exp(-(((radius - 0.62) / 0.1) ** 2)) * (
        back > -0.3
    )
    relief = relief - 3.4 * np.exp(-(((back + 0.15) / 0.32) ** 2) - ((down - 0.12) / 0.34) ** 2)
    relief = relief * (1 - 0.8 * smoothstep(0.45, 0.8, down)) - 5.0 * (np.arange(9) == 8)[:, None]
    width = 9.2 * (1 - 0.26 * smoothstep(0.1, 1.0, down))
    outward = 0.2 + 0.42 * width * (back + 0.75) + relief
    x = side * np.maximum(outward, -1.5 + 0 * outward)
    z = -width * back * 0.86 - 2.6 * down * -1.0
    points = np.stack(np.broadcast_arrays(x, 17.0 * down, z), -1).astype(np.float32)
    return points, np.array([side * 40.0, 8.0, -8.0], np.float32)


def glasses() -> list[Floats]:
    """Strips (2, columns, 3) of the glasses: a rim and an arm at either side, then the bridge."""
    strips = []
    for side in (-1, 1):
        angle = np.linspace(0, 2 * np.pi, 37, dtype=np.float32)
        cosine, sine = np.cos(angle), np.sin(angle)
        squareness = (np.abs(cosine) ** 3 + np.abs(sine) ** 3) ** (-1 / 3)
        loops = []
        for grow in (0.0, 1.5):
            x = side * 18.2 + (13.2 + grow) * cosine * squareness
            y = 2.2 + (9.4 + grow) * sine * squareness
            loops.append(np.stack([x, y, 58.0 - 9.0 * (x / 34) ** 2], 1))
        strips.append(np.stack(loops))
        z = np.linspace(49, -8, 12, dtype=np.float32)
        arm = np.stack([side * np.interp(z, [-8, 30, 49], [44.5, 44.0, 33.0]), np.full(12, -3.4), z], 1)
        strips.append(np.stack([arm, arm + np.array([0.3 * side, 1.8, 0])]))
    x = np.linspace(-4.2, 4.2, 7)
    bridge = np.stack([x, -1.6 - 1.2 * (1 - (x / 4.2) ** 2), 58.2 + 0 * x], 1)
    strips.append(np.stack([bridge, bridge + np.array([0, 1.5, 0])]))
    return [strip.astype(np.float32) for strip in strips]


def head_grid() -> tuple[Floats, Floats]:
    """Points (rows, columns, 3) of the head down to the shoulders, and the coordinate of each row (rows,)."""
    rows = np.concatenate(
        [
            np.linspace(-66, -42, 12),
            np.linspace(-40, -14, 16),
            np.linspace(-12.8, MOUTH_Y - 0.4, 48),
            np.linspace(MOUTH_Y + 0.4, 61, 19),
            np.linspace(62, 76, 11),
            np.linspace(79, 120, 10),
        ]
    ).astype(np.float32)
    step = np.linspace(-1, 1, 115, dtype=np.float32)
    azimuth = 2.3 * step * (0.55 + 0.45 * step**2)
    return _revolve(rows, azimuth, _profile(rows)), rows


def hair_grid() -> Floats:
    """Points (rows, columns, 3) of the hair shell: the skull, continued straight down to the shoulders."""
    rows = np.concatenate([np.linspace(-66, -40, 14), np.linspace(-37, 96, 40)]).astype(np.float32)
    profile = _profile(np.minimum(rows, -6))
    for column in profile[:3]:
        column += np.maximum(rows + 6, 0)
    hang = smoothstep(0, 90, rows)
    profile[3] += -1.0 * smoothstep(0, 40, rows) + 5 * hang  # half the width
    profile[4] -= 10 * smoothstep(0, 60, rows)
    profile[5] += 10 * smoothstep(0, 50, rows)
    step = np.linspace(-1, 1, 97, dtype=np.float32)
    return _revolve(rows, np.pi * step, profile)
