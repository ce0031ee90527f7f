"""A hand-made morphable model of the head.

In: coefficients of identity and expression. Out: vertices of a head. The template is a mean head (skull, face, neck and
shoulders), two ears, a shell for the hair and a pair of glasses (``generate/render/mesh.py``). Every shape parameter is
a linear field of displacements over it (``generate/render/fields.py``), so a head is
``template + coefficients @ fields``. Nothing was measured on real people; proportions follow common anthropometry.

Axes: x to the right of the image, y down, z towards the viewer. The unit is one pixel of a frontal aligned face, about
1.8 mm. The origin lies between the eyes, on the axis of the skull. Template coordinates are the coordinates of a vertex
on the mean head. They stay the same when the vertex moves, so features are painted in template coordinates
(``generate/render/skin.py``).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from generate.render import mesh as head_mesh
from generate.render.fields import (
    EXPRESSION_BUMPS,
    EYE_X,
    IDENTITY_BUMPS,
    MEAN_FACE,
    MOUTH_X,
    MOUTH_Y,
    NOSE_Y,
    PROPORTIONS,
    mouth_open,
    nose,
    proportions,
    sum_bumps,
)  # fmt: skip
from generate.render.texture import Floats, smoothstep

IDENTITY_FIELDS = (*IDENTITY_BUMPS, *PROPORTIONS)
EXPRESSION_FIELDS = ("mouth_open", *EXPRESSION_BUMPS)
HEAD, EAR, GLASSES, HAIR = range(4)  # the part that a vertex belongs to
HEAD_GRID, HAIR_GRID, EAR_GRIDS, NUM_SHADED_GRIDS = 0, 1, {-1: 2, 1: 3}, 4  # indices into Template.grids
_LANDMARKS = ((-EYE_X, 0), (EYE_X, 0), (0, NOSE_Y), (-MOUTH_X, MOUTH_Y), (MOUTH_X, MOUTH_Y))


@dataclass(frozen=True, eq=False)
class Template:
    """The mean head and its displacement fields: V vertices, F fields, T triangles.

    The vertices are those of the head grid, the hair grid, the left ear, the right ear and the glasses, in this order.
    """

    points: Floats  # (3, V)
    identity_fields: Floats  # (F, 3, V) in the order of IDENTITY_FIELDS
    expression_fields: Floats  # (F, 3, V) in the order of EXPRESSION_FIELDS
    grids: tuple[tuple[int, int, int], ...]  # first vertex, rows, columns
    solid: NDArray[np.intp]  # (3, T) triangles of head, ears and neck
    cloth: NDArray[np.bool_]  # (T,) which triangles of ``solid`` are clothes
    shell: NDArray[np.intp]  # (3, T) triangles of the hair
    glasses: NDArray[np.intp]  # (3, T)
    part: NDArray[np.int8]  # (V,) HEAD, EAR, GLASSES or HAIR
    landmarks: NDArray[np.int64]  # (5,) vertices at eyes, tip of the nose, corners of the mouth


@cache
def template() -> Template:
    """The mean head, built once per process (about 0.2 s)."""
    head, rows = head_mesh.head_grid()
    ears = [head_mesh.ear(side) for side in EAR_GRIDS]
    blocks = [head, head_mesh.hair_grid(), *(ear + anchor for ear, anchor in ears), *head_mesh.glasses()]
    grids = _grids(blocks)
    points = np.concatenate([block.reshape(-1, 3) for block in blocks])
    parts = np.array([HEAD, HAIR, EAR, EAR] + [GLASSES] * (len(blocks) - 4), np.int8)
    part = np.repeat(parts, [num_rows * columns for _, num_rows, columns in grids])
    row = np.zeros(len(points), np.float32)
    row[: head[..., 0].size] = np.repeat(rows, head.shape[1])
    positions = _field_positions(points, part, grids, [anchor for _, anchor in ears])
    mean, shape, motion = _displace(points, positions, part, row)
    triangles = [head_mesh.grid_triangles(*grid) for grid in grids]
    strips = np.concatenate(triangles[NUM_SHADED_GRIDS:])
    solid = np.concatenate([triangles[0], *(triangles[grid] for grid in EAR_GRIDS.values())])
    face = points[: head[..., 0].size]
    behind = 1e3 * (face[:, 2] < 20)  # keeps landmarks off the back of the head
    landmarks = [np.argmin(((face[:, :2] - target) ** 2).sum(1) + behind) for target in _LANDMARKS]
    return Template(
        points=_planar(mean),
        identity_fields=_planar(shape),
        expression_fields=_planar(motion),
        grids=grids,
        solid=_planar(solid),
        cloth=row[solid].min(1) > 86,
        shell=_planar(triangles[HAIR_GRID]),
        glasses=_planar(np.concatenate([strips, strips[:, ::-1]])),
        part=part,
        landmarks=np.array(landmarks),
    )


def _grids(blocks: list[Floats]) -> tuple[tuple[int, int, int], ...]:
    """First vertex, number of rows and number of columns of every block."""
    grids, first = [], 0
    for block in blocks:
        grids.append((first, block.shape[0], block.shape[1]))
        first += block.shape[0] * block.shape[1]
    return tuple(grids)


def _field_positions(
    points: Floats, part: NDArray[np.int8], grids: tuple[tuple[int, int, int], ...], anchors: list[Floats]
) -> Floats:
    """Positions (V, 3) at which each vertex reads the fields.

    All vertices of an ear read them at its anchor, so that the ear moves as a rigid piece. Those of the glasses read
    them at the height of the eyes and at a reduced depth, so that the frame keeps its form.
    """
    positions = points.copy()
    for grid, anchor in zip(EAR_GRIDS.values(), anchors, strict=True):
        first, rows, columns = grids[grid]
        positions[first : first + rows * columns] = anchor
    glasses = part == GLASSES
    positions[glasses] = positions[glasses] * np.array([1, 0, 0.6], np.float32)
    return positions


def _displace(
    points: Floats, positions: Floats, part: NDArray[np.int8], row: Floats
) -> tuple[Floats, NDArray[np.floating], NDArray[np.floating]]:
    """The mean head (V, 3), and the fields of identity and of expression (F, V, 3)."""
    # bumps move the head, and the hair above the brow that lies on it; only proportions move ears and glasses
    share = np.where(part == HAIR, smoothstep(8, -6, points[:, 1]), part == HEAD)[:, None]
    mean = points + share * (sum_bumps(points, MEAN_FACE) + nose(points))
    shape = [sum_bumps(positions, bumps) * share for bumps in IDENTITY_BUMPS.values()]
    shape += list(proportions(positions))
    motion = [mouth_open(positions, row) * share]
    motion += [sum_bumps(positions, bumps) * share for bumps in EXPRESSION_BUMPS.values()]
    return mean, np.stack(shape), np.stack(motion)


def _planar(values: NDArray) -> NDArray:
    """The array with its last two axes exchanged, (..., V, 3) to (..., 3, V), contiguous, as float32 or intp."""
    kind = np.intp if np.issubdtype(values.dtype, np.integer) else np.float32
    return np.ascontiguousarray(values.swapaxes(-1, -2), dtype=kind)


def weighted_fields(fields: Floats, names: tuple[str, ...], coefficients: Mapping[str, float]) -> Floats:
    """Sum of the fields with a coefficient, each times its coefficient, shape (3, V).

    Args:
        fields: Displacements, shape (F, 3, V).
        names: Name of each field, F of them.
        coefficients: Name of a field -> coefficient; fields without one are left out.
    """
    total = np.zeros(fields.shape[1:], np.float32)
    for name, coefficient in coefficients.items():
        total += coefficient * fields[names.index(name)]  # BLAS would make the bits depend on threads
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
