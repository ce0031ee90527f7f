"""Identity and expression coefficients in, the surface of a head out: a hand-made morphable model.

The template is a mean head (skull, face, neck and shoulders), two ears, a shell for the hair and a pair of
glasses. Every shape parameter is a linear field of displacements over it, so a head is
``template + coefficients @ fields``. Nothing was measured on real people; proportions follow common anthropometry.

Axes: x to the right of the image, y down, z towards the viewer. The unit is one pixel of a frontal aligned face (about
1.8 mm), the origin lies between the eyes, on the axis of the skull. ``template`` coordinates are those of the mean
head: a point keeps them however it moves, so features are painted in them (``generate/skin.py``).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from generate.texture import Floats, smoothstep

EYE_X, MOUTH_X, MOUTH_Y, NOSE_Y = 17.6, 14.6, 40.6, 20.1  # the ArcFace template about the middle of the eyes
HEAD, EAR, GLASSES, HAIR = range(4)  # the part that a vertex belongs to
HAIR_GRID, EAR_GRIDS, NUM_SHADED_GRIDS = 1, {-1: 2, 1: 3}, 4  # places in Template.grids


class Bump(NamedTuple):
    """A Gaussian displacement (dx, dy, dz), mirrored in x, around template (x, y) with widths (sx, sy)."""

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

# Identity: per field its spread (standard deviation of the coefficient is 1) as bumps.
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
# Identity: proportions of the whole head; (dx, dy, dz) per coefficient as functions of template (x, y, z).
PROPORTIONS = (
    "face_width", "jaw_width", "forehead_width", "lower_face", "mid_face", "skull_height", "head_depth", "jaw_angle",
    "neck_width", "asymmetry",
)  # fmt: skip
IDENTITY_FIELDS = (*IDENTITY_BUMPS, *PROPORTIONS)

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
    "age": (  # one unit: from 20 to 80 years
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
EXPRESSION_FIELDS = ("mouth_open", *EXPRESSION_BUMPS)

# Rows of the head from the crown to the shoulders: name of the row, then y at front, side and back, half the width,
# z at front and back. The first column only orders the rows (equal to y at the front of the face).
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


@dataclass(frozen=True, eq=False)
class Template:
    """The mean head and its displacement fields; V vertices, F fields, T triangles.

    Vertices are stacked: head grid, hair grid, left ear, right ear, glasses.
    """

    points: Floats  # (3, V)
    identity_fields: Floats  # (F, 3, V) in the order of IDENTITY_FIELDS
    expression_fields: Floats  # (F, 3, V) in the order of EXPRESSION_FIELDS
    grids: tuple[tuple[int, int, int], ...]  # first vertex, rows, columns
    solid: NDArray[np.intp]  # (3, T) triangles of head, ears and neck
    cloth: NDArray[np.bool_]  # (T,) those of ``solid`` that are clothes
    shell: NDArray[np.intp]  # (3, T) triangles of the hair
    glasses: NDArray[np.intp]  # (3, T)
    part: NDArray[np.int8]  # (V,)
    landmarks: NDArray[np.int64]  # (5,) vertices at eyes, tip of the nose, corners of the mouth


def _profile(rows: Floats) -> list[Floats]:
    """The knots' columns at ``rows``, smoothed over some units so that no row is a visible edge."""
    fine = np.arange(-66, 120.1, 0.25, dtype=np.float32)
    kernel = np.exp(-0.5 * (np.arange(-24, 25) * 0.25 / 2.0) ** 2)
    smoothed = []
    for column in _KNOTS.T[1:]:
        values = np.interp(fine, _KNOTS[:, 0], column)
        low, high = 2 * values[0] - values[24:0:-1], 2 * values[-1] - values[-2:-26:-1]
        padded = np.convolve(np.concatenate([low, values, high]), kernel / kernel.sum(), "valid")
        crown = np.clip((fine + 66) / 8, 0, 1)  # the crown is round already; smoothing would flatten it
        smoothed.append(np.interp(rows, fine, crown * padded + (1 - crown) * values).astype(np.float32))
    return smoothed


def _revolve(rows: Floats, azimuth: Floats, profile: list[Floats]) -> Floats:
    """Points (rows, columns, 3) of the surface with the given profile; azimuth 0 is the front, in radians."""
    y_front, y_side, y_back, half_width, z_front, z_back = (column[:, None] for column in profile)
    sine, cosine = np.sin(azimuth)[None], np.cos(azimuth)[None]
    squareness = (np.abs(sine) ** 2.2 + np.abs(cosine) ** 2.2) ** (-1 / 2.2)
    forward = smoothstep(0.0, 0.93, cosine)
    backward = smoothstep(0.0, 1.0, -cosine)
    y = y_side + (y_front - y_side) * forward + (y_back - y_side) * backward
    x = half_width * sine * squareness
    z = (z_front + z_back) / 2 + (z_front - z_back) / 2 * cosine * squareness
    return np.stack(np.broadcast_arrays(x, y, z), axis=-1).astype(np.float32)


def _bump(points: Floats, bump: Bump) -> Floats:
    x, y, z = points.T
    sides = [np.exp(-0.5 * ((x - centre) / bump.sx) ** 2) for centre in {bump.x, -bump.x}]
    weight = np.sum(sides, axis=0) * np.exp(-0.5 * ((y - bump.y) / bump.sy) ** 2)
    weight = weight * smoothstep(10, 32, z + np.abs(x) * 0.45)
    return np.stack([bump.dx * np.tanh(x / 3), np.full_like(x, bump.dy), np.full_like(x, bump.dz)], 1) * weight[:, None]


def _bumps(points: Floats, bumps: tuple[Bump, ...]) -> Floats:
    return np.sum([_bump(points, bump) for bump in bumps], axis=0)


def _nose(points: Floats) -> Floats:
    """Displacement of the mean nose: a ridge that rises from the nasion to the tip and ends sharply below it."""
    x, y, _ = points.T
    along = np.clip((y + 3) / 23, 0, 1)
    width = 3.0 + 1.2 * along**2
    height = 12.0 * along**1.1 / (1 + np.exp(np.minimum((y - 23.6 + 0.035 * x**2) / 1.3, 60)))
    zero = np.zeros_like(x)
    front = smoothstep(10, 30, points[:, 2])
    return np.stack([zero, zero, height * np.exp(-0.5 * (x / width) ** 2) * front], 1)


def _proportions(points: Floats) -> Floats:
    """Displacements (F, V, 3) of the PROPORTIONS, one standard deviation each."""
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


def _mouth_open(points: Floats, row: Floats) -> Floats:
    """The jaw drops by one unit: a step at the line of the mouth, a smooth ramp beside it."""
    x, y, z = points.T
    inside = np.sqrt(np.clip(1 - (x / (MOUTH_X - 1.2)) ** 2, 0, 1))
    step = (row > MOUTH_Y).astype(np.float32) * (row < 130)
    ramp = smoothstep(22, 56, y)
    drop = inside * step * (0.92 + 0.08 * ramp) + (1 - inside) * ramp
    drop = drop * smoothstep(-12, 18, z) * smoothstep(80, 64, y)
    zero = np.zeros_like(x)
    return np.stack([zero, drop, -0.25 * drop], 1)


def _grid_triangles(first: int, rows: int, columns: int) -> NDArray[np.int64]:
    """Two triangles a cell, wound so that the outside faces the viewer."""
    corner = first + np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)[None]
    a, b, c, d = (corner + step for step in (0, 1, columns, columns + 1))
    return np.stack([np.stack([a, c, b], -1), np.stack([b, c, d], -1)]).reshape(-1, 3)


def _ear(side: int) -> tuple[Floats, Floats]:
    """Points (rows, columns, 3) of an ear relative to its anchor and the anchor (3,); ``side`` is -1 or 1."""
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
    out = 0.2 + 0.42 * width * (back + 0.75) + relief
    x = side * np.maximum(out, -1.5 + 0 * out)
    z = -width * back * 0.86 - 2.6 * down * -1.0
    points = np.stack(np.broadcast_arrays(x, 17.0 * down, z), -1).astype(np.float32)
    return points, np.array([side * 40.0, 8.0, -8.0], np.float32)


def _strip(inner: Floats, outer: Floats) -> Floats:
    return np.stack([inner, outer])


def _glasses() -> list[Floats]:
    """Strips (2, columns, 3): two rims, the bridge, two arms."""
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
        strips.append(_strip(*loops))
        z = np.linspace(49, -8, 12, dtype=np.float32)
        arm = np.stack([side * np.interp(z, [-8, 30, 49], [44.5, 44.0, 33.0]), np.full(12, -3.4), z], 1)
        strips.append(_strip(arm, arm + np.array([0.3 * side, 1.8, 0])))
    x = np.linspace(-4.2, 4.2, 7)
    bridge = np.stack([x, -1.6 - 1.2 * (1 - (x / 4.2) ** 2), 58.2 + 0 * x], 1)
    strips.append(_strip(bridge, bridge + np.array([0, 1.5, 0])))
    return [strip.astype(np.float32) for strip in strips]


def _head_grid() -> tuple[Floats, Floats]:
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


def _hair_grid() -> Floats:
    """A skull that goes straight down to the shoulders, for the hair to hang on."""
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


@cache
def template() -> Template:
    """The mean head; built once a process (about 0.2 s)."""
    head, rows = _head_grid()
    blocks, anchors, parts, grids = [head, _hair_grid()], [], [HEAD, HAIR], []
    for side in (-1, 1):
        ear, anchor = _ear(side)
        blocks.append(ear + anchor)
        anchors.append((len(blocks) - 1, anchor))
        parts.append(EAR)
    for strip in _glasses():
        blocks.append(strip)
        parts.append(GLASSES)
    first = 0
    for block in blocks:
        grids.append((first, block.shape[0], block.shape[1]))
        first += block.shape[0] * block.shape[1]
    points = np.concatenate([block.reshape(-1, 3) for block in blocks])
    part = np.repeat(np.array(parts, np.int8), [rows_ * columns for _, rows_, columns in grids])
    row = np.zeros(len(points), np.float32)
    row[: head[..., 0].size] = np.repeat(rows, head.shape[1])
    where = points.copy()  # where the fields are evaluated: ears and glasses move as rigid pieces
    for index, anchor in anchors:
        first, rows_, columns = grids[index]
        where[first : first + rows_ * columns] = anchor
    glasses = part == GLASSES
    where[glasses] = where[glasses] * np.array([1, 0, 0.6], np.float32)
    is_head = np.where(part == HAIR, smoothstep(8, -6, points[:, 1]), part == HEAD)[
        :, None
    ]  # the hair lies on the brow
    mean = points + is_head * (_bumps(points, MEAN_FACE) + _nose(points))
    shape = [_bumps(where, bumps) * is_head for bumps in IDENTITY_BUMPS.values()] + list(_proportions(where))
    motion = [_mouth_open(where, row) * is_head] + [_bumps(where, b) * is_head for b in EXPRESSION_BUMPS.values()]
    triangles = [_grid_triangles(*grid) for grid in grids]
    strips = np.concatenate(triangles[4:])
    targets = [(-EYE_X, 0), (EYE_X, 0), (0, NOSE_Y), (-MOUTH_X, MOUTH_Y), (MOUTH_X, MOUTH_Y)]
    face = points[: head[..., 0].size]
    landmarks = [np.argmin(((face[:, :2] - t) ** 2).sum(1) + 1e3 * (face[:, 2] < 20)) for t in targets]
    solid = np.concatenate([triangles[0], triangles[2], triangles[3]])
    return Template(
        points=_planar(mean),
        identity_fields=_planar(np.stack(shape)),
        expression_fields=_planar(np.stack(motion)),
        grids=tuple(grids),
        solid=_planar(solid),
        cloth=row[solid].min(1) > 86,
        shell=_planar(triangles[1]),
        glasses=_planar(np.concatenate([strips, strips[:, ::-1]])),
        part=part,
        landmarks=np.array(landmarks),
    )


def _planar(values: NDArray) -> NDArray:
    """(..., V, 3) -> (..., 3, V), contiguous; float32 unless they are integers."""
    kind = np.intp if np.issubdtype(values.dtype, np.integer) else np.float32
    return np.ascontiguousarray(values.swapaxes(-1, -2), dtype=kind)


def weighted_fields(fields: Floats, names: tuple[str, ...], coefficients: Mapping[str, float]) -> Floats:
    """Sum of the named fields, each times its coefficient: (3, V)."""
    total = np.zeros(fields.shape[1:], np.float32)
    for name, coefficient in coefficients.items():
        total += coefficient * fields[names.index(name)]  # no BLAS: its bits may depend on its threads
    return total


def grid_normals(points: Floats, grid: tuple[int, int, int]) -> Floats:
    """Outward unit normals (3, rows * columns) of one grid of the points (3, V)."""
    first, rows, columns = grid
    surface = points[:, first : first + rows * columns].reshape(3, rows, columns)
    right, down = np.empty_like(surface), np.empty_like(surface)
    np.subtract(surface[:, :, 2:], surface[:, :, :-2], out=right[:, :, 1:-1])
    right[:, :, 0], right[:, :, -1] = surface[:, :, 1] - surface[:, :, 0], surface[:, :, -1] - surface[:, :, -2]
    np.subtract(surface[:, 2:], surface[:, :-2], out=down[:, 1:-1])
    down[:, 0], down[:, -1] = surface[:, 1] - surface[:, 0], surface[:, -1] - surface[:, -2]
    (rx, ry, rz), (dx, dy, dz) = right, down
    normal = np.stack([ry * dz - rz * dy, rz * dx - rx * dz, rx * dy - ry * dx]).reshape(3, -1)
    return normal * (1 / np.sqrt((normal * normal).sum(0) + 1e-12))
