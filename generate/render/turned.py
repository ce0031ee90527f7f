"""Turn a photographed face to another yaw by laying its pixels on the mean head; the landmarks of that head at a pose.

In: an aligned face, its yaw and the wanted yaw. Out: the face at the wanted yaw, aligned again. The mean head of the
renderer is aligned like the photograph, so that each of its vertices takes the colour of the pixel it covers; then the
head turns and is drawn. This is "face profiling" (Zhu et al., arXiv 1511.07212) without fitting a shape: every head is
the mean one. The photograph does not show the far side of the head or what is behind it: the side is filled from the
pixels beside the face, the background from the edge of the photograph.

A view depends on the photograph and two angles alone, and is computed in NumPy without BLAS: it has the same bits on
every machine. V counts vertices, T triangles, N covered pixels.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from bench.faces.alignment.align import similarity_transform
from generate.render import camera, head
from generate.render.texture import Floats

MAX_YAW_DEGREES = 35.0
"""Larger yaws of a photograph are cut to this: yaw networks overestimate, and hidden pixels cannot be moved."""
_FRONTAL_DEGREES = 8.0
"""Photographs below this yaw may turn to either side; others turn further to the side of the cheek they show."""
_DISTANCE = 600.0
_SIDE_STRETCH = 0.35
"""Pixels that the fill of the head's side moves away from the outline, per pixel that a vertex lies behind it."""
_EDGE_PIXELS, _EDGE_STRETCH = 14, 4
"""Columns at the edge of the photograph that become background, and how many times wider they are drawn."""


def turn_face(face: NDArray[np.uint8], yaw_degrees: float, target_degrees: float) -> NDArray[np.uint8]:
    """The face at another yaw, uint8 RGB, shape (112, 112, 3), aligned to the ArcFace template.

    Args:
        face: Aligned photograph, uint8 RGB, shape (112, 112, 3).
        yaw_degrees: Yaw of the photograph, positive where the nose points to the right of the image; cut to
            ``MAX_YAW_DEGREES`` either way.
        target_degrees: Wanted yaw. Give it the sign of ``yaw_degrees`` (see ``view_yaw``): the view would otherwise
            show the cheek that the photograph hides.
    """
    photo_yaw = float(np.clip(yaw_degrees, -MAX_YAW_DEGREES, MAX_YAW_DEGREES))
    columns, rows = _fill_behind_outline(*_photo_pixels(photo_yaw))
    surface, triangles = _project_mean_head(target_degrees), _head_triangles()
    hits = camera.rasterise(surface, triangles)
    source = camera.interpolate([columns, rows], surface, triangles, hits)
    view = _background(face, to_the_right=target_degrees > 0)
    view[:, hits.pixel] = _sample_bilinear(face, source)
    small = camera.shrink(view.reshape(3, camera.FINE, camera.FINE), blur_pixels=0.3)
    return np.ascontiguousarray((small + 0.5).clip(0, 255).astype(np.uint8).transpose(1, 2, 0))


def view_yaw(photo_degrees: NDArray[np.floating], drawn_degrees: NDArray[np.floating]) -> NDArray[np.floating]:
    """Yaw of the views: the drawn yaw, with the sign of the photograph's yaw unless the photograph is frontal.

    Args:
        photo_degrees: Yaw of the photographs; broadcasts against ``drawn_degrees``. Below 8 degrees counts as frontal.
        drawn_degrees: Randomly drawn yaw of the views, either sign.
    """
    is_frontal = np.abs(photo_degrees) < _FRONTAL_DEGREES
    return np.where(is_frontal, drawn_degrees, np.copysign(drawn_degrees, photo_degrees))


def turned_landmarks(yaw_degrees: float, pitch_degrees: float = 0.0) -> NDArray[np.float64]:
    """The five landmarks of the mean head at a pose, x and y in pixels of the aligned face, shape (5, 2).

    They are aligned as a face pipeline aligns a detected face, by the least-squares similarity to the ArcFace template.
    Whole numbers are pixel centres. In profile the eyes nearly fall together, and the nose shows the yaw.

    Args:
        yaw_degrees: Positive where the nose points to the right of the image.
        pitch_degrees: Positive where the nose points down.
    """
    mesh = head.template()
    projected = camera.project(mesh.points, camera.rotation(yaw_degrees, pitch_degrees), _DISTANCE)
    points = projected[:2, mesh.landmarks].T.astype(np.float64)
    matrix = similarity_transform(points)
    return points @ matrix[:, :2].T + matrix[:, 2]


@cache
def _head_triangles() -> NDArray[np.intp]:
    """Triangles (3, T) of head and neck, without clothes and ears."""
    mesh = head.template()
    is_head = mesh.solid.max(axis=0) < _num_vertices()
    return np.ascontiguousarray(mesh.solid[:, is_head & ~mesh.cloth])


def _num_vertices() -> int:
    _, rows, columns = head.template().grids[head.HEAD_GRID]
    return rows * columns


def _project_mean_head(yaw_degrees: float) -> Floats:
    """Vertices (3, V) of the mean head at a yaw, in the fine image of an aligned face."""
    mesh = head.template()
    projected = camera.project(mesh.points, camera.rotation(yaw_degrees), _DISTANCE)
    across, down = projected[:2, mesh.landmarks]
    similarity = camera.similarity_to_template(across + 1j * down)
    return camera.to_fine_image(projected[:, : _num_vertices()], similarity)


def _photo_pixels(yaw_degrees: float) -> tuple[Floats, Floats]:
    """Columns and rows (V,) in the photograph that the vertices cover; integers are pixel centres."""
    across, down = _project_mean_head(yaw_degrees)[:2] / camera.SUPERSAMPLING - 0.5
    return across, down


def _fill_behind_outline(columns: Floats, rows: Floats) -> tuple[Floats, Floats]:
    """Move the source columns of vertices that the photograph hides to the pixels beside the head.

    Each row of the head's grid runs from one ear over the face to the other. Vertices behind the outermost column of a
    row would take their colour from the face in front of them. They take it from outside the outline instead.
    """
    _, num_rows, num_columns = head.template().grids[head.HEAD_GRID]
    grid, positions = columns.reshape(num_rows, num_columns), np.arange(num_columns)
    for side in (-1, 1):
        outermost = (side * grid).argmax(axis=1)[:, None]
        edge = np.take_along_axis(grid, outermost, axis=1)
        is_behind = (positions > outermost) if side > 0 else (positions < outermost)
        grid = np.where(is_behind, edge + _SIDE_STRETCH * (edge - grid), grid)
    return grid.reshape(-1), rows


def _background(face: NDArray[np.uint8], *, to_the_right: bool) -> Floats:
    """Colours (3, FINE * FINE): the edge of the photograph that the face turns to, blurred and stretched."""
    blurred = gaussian_filter(face.astype(np.float32), (5, 2, 0))
    centers = (np.arange(camera.FINE, dtype=np.float32) + 0.5) / camera.SUPERSAMPLING - 0.5
    from_edge = (camera.SIZE - 1 - centers if to_the_right else centers) / _EDGE_STRETCH
    columns = np.minimum(from_edge, _EDGE_PIXELS)
    columns = camera.SIZE - 1 - columns if to_the_right else columns
    rows = np.repeat(centers, camera.FINE)
    return _sample_bilinear(blurred, np.stack([np.tile(columns, camera.FINE), rows]))


def _sample_bilinear(image: NDArray, positions: Floats) -> Floats:
    """Colours (3, N) at columns and rows (2, N) by bilinear interpolation; positions outside are cut to the edge."""
    last = camera.SIZE - 1
    columns, rows = np.clip(positions, 0, last - 1e-3)
    left, top = columns.astype(np.intp), rows.astype(np.intp)
    right_share, below_share = (columns - left)[:, None], (rows - top)[:, None]
    upper = image[top, left] * (1 - right_share) + image[top, left + 1] * right_share
    lower = image[top + 1, left] * (1 - right_share) + image[top + 1, left + 1] * right_share
    return np.ascontiguousarray((upper * (1 - below_share) + lower * below_share).T, dtype=np.float32)
