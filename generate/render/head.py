"""Identity and expression coefficients in, the surface of a head out: a hand-made morphable model.

The template is a mean head (skull, face, neck and shoulders), two ears, a shell for the hair and a pair of
glasses (``generate/render/mesh.py``). Every shape parameter is a linear field of displacements over it
(``generate/render/fields.py``), so a head is ``template + coefficients @ fields``. Nothing was measured on real people;
proportions follow common anthropometry.

Axes: x to the right of the image, y down, z towards the viewer. The unit is one pixel of a frontal aligned face (about
1.8 mm), the origin lies between the eyes, on the axis of the skull. ``template`` coordinates are those of the mean
head: a point keeps them however it moves, so features are painted in them (``generate/render/skin.py``).
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


@cache
def template() -> Template:
    """The mean head; built once a process (about 0.2 s)."""
    head, rows = head_mesh.head_grid()
    ears = [head_mesh.ear(side) for side in EAR_GRIDS]
    blocks = [head, head_mesh.hair_grid(), *(ear + anchor for ear, anchor in ears), *head_mesh.glasses()]
    grids = _grids(blocks)
    points = np.concatenate([block.reshape(-1, 3) for block in blocks])
    parts = np.array([HEAD, HAIR, EAR, EAR] + [GLASSES] * (len(blocks) - 4), np.int8)
    part = np.repeat(parts, [num_rows * columns for _, num_rows, columns in grids])
    row = np.zeros(len(points), np.float32)
    row[: head[..., 0].size] = np.repeat(rows, head.shape[1])
    mean, shape, motion = _displace(points, _rigid(points, part, grids, [anchor for _, anchor in ears]), part, row)
    triangles = [head_mesh.grid_triangles(*grid) for grid in grids]
    strips = np.concatenate(triangles[NUM_SHADED_GRIDS:])
    solid = np.concatenate([triangles[0], *(triangles[grid] for grid in EAR_GRIDS.values())])
    face = points[: head[..., 0].size]
    landmarks = [np.argmin(((face[:, :2] - t) ** 2).sum(1) + 1e3 * (face[:, 2] < 20)) for t in _LANDMARKS]
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
    """First vertex, rows and columns of every block, stacked."""
    grids, first = [], 0
    for block in blocks:
        grids.append((first, block.shape[0], block.shape[1]))
        first += block.shape[0] * block.shape[1]
    return tuple(grids)


def _rigid(
    points: Floats, part: NDArray[np.int8], grids: tuple[tuple[int, int, int], ...], anchors: list[Floats]
) -> Floats:
    """Where the fields are evaluated (V, 3): ears and glasses move as rigid pieces."""
    where = points.copy()
    for grid, anchor in zip(EAR_GRIDS.values(), anchors, strict=True):
        first, rows, columns = grids[grid]
        where[first : first + rows * columns] = anchor
    glasses = part == GLASSES
    where[glasses] = where[glasses] * np.array([1, 0, 0.6], np.float32)
    return where


def _displace(
    points: Floats, where: Floats, part: NDArray[np.int8], row: Floats
) -> tuple[Floats, NDArray[np.floating], NDArray[np.floating]]:
    """The mean head (V, 3), and the fields of identity and of expression (F, V, 3)."""
    # the hair lies on the brow
    is_head = np.where(part == HAIR, smoothstep(8, -6, points[:, 1]), part == HEAD)[:, None]
    mean = points + is_head * (sum_bumps(points, MEAN_FACE) + nose(points))
    shape = [sum_bumps(where, bumps) * is_head for bumps in IDENTITY_BUMPS.values()] + list(proportions(where))
    motion = [mouth_open(where, row) * is_head] + [sum_bumps(where, b) * is_head for b in EXPRESSION_BUMPS.values()]
    return mean, np.stack(shape), np.stack(motion)


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
