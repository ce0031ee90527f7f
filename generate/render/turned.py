"""A photograph of a face from the front -> the same face, turned: its pixels laid on the mean head.

Photographs of the press show few turned heads, so that a generator trained on them draws none, and networks trained on
its faces fail on profiles. The head of the renderer, aligned as the photograph is, tells where every pixel lies in
space; the head turns, and the pixels with it ("face profiling", Zhu et al., arXiv 1511.07212, without the fitting of a
shape: every head is the mean one). What the photograph does not show is made up: the side of the head from the pixels
beside the face, the background from the edge.

A view is a function of the photograph and two angles, in NumPy without BLAS: the same bits everywhere.
"""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from bench.errors import InputError
from bench.faces.face import Faces, aligned_image, encode_jpeg
from bench.faces.lmdb_file import FaceWriter
from bench.machine.device import num_cores
from bench.machine.progress import progress
from generate.networks.estimators import yaw_estimator
from generate.networks.over_faces import outputs_over_faces
from generate.render import camera, head
from generate.render.texture import Floats

MAX_SEEN_DEGREES = 35.0
"""No photograph is taken to be turned further: yaw networks exaggerate, and a face that is hidden cannot be shown."""
_STRAIGHT_DEGREES = 8.0
"""Faces turned less may turn to either side; the others turn further to their own, whose cheek they show."""
_DISTANCE = 600.0
_BESIDE = 0.35
"""How fast the side of the head is filled from beside the face, by what lies behind its outline."""
_EDGE_PIXELS, _EDGE_SPREAD = 14, 4
"""How much of the edge becomes background, and how far it is stretched."""
_CHUNK, _BATCH = 32, 128


def turn_face(face: NDArray[np.uint8], seen_degrees: float, to_degrees: float) -> NDArray[np.uint8]:
    """The face as it would look turned, shape (112, 112, 3), aligned anew to the ArcFace template.

    Args:
        face: Aligned photograph, shape (112, 112, 3).
        seen_degrees: Its yaw, positive to the right of the image; beyond 35 degrees it is taken to be 35.
        to_degrees: The yaw of the view, of the same sign (else it shows the cheek that the photograph hides).
    """
    columns, rows = _outward(*_pixels(float(np.clip(seen_degrees, -MAX_SEEN_DEGREES, MAX_SEEN_DEGREES))))
    surface, triangles = _place(to_degrees), _triangles()
    hits = camera.rasterise(surface, triangles)
    where = camera.interpolate([columns, rows], surface, triangles, hits)
    view = _background(face, to_the_right=to_degrees > 0)
    view[:, hits.pixel] = _look_up(face, where)
    small = camera.shrink(view.reshape(3, camera.FINE, camera.FINE), blur_pixels=0.3)
    return np.ascontiguousarray((small + 0.5).clip(0, 255).astype(np.uint8).transpose(1, 2, 0))


def view_yaw(seen_degrees: NDArray[np.floating], drawn_degrees: NDArray[np.floating]) -> NDArray[np.floating]:
    """The yaw of views: as drawn, but to the side that a photograph shows, unless it is taken from the front."""
    is_straight = np.abs(seen_degrees) < _STRAIGHT_DEGREES
    return np.where(is_straight, drawn_degrees, np.copysign(drawn_degrees, seen_degrees))


def measure_yaw(faces: Faces, yaw_model: str | Path, *, device: str = "cpu") -> NDArray[np.float64]:
    """Yaw of aligned faces in degrees, shape (N,), by the weights of a yaw network.

    Raises:
        InputError: If a face is not 112 x 112, or the weights cannot be read.
    """
    network = yaw_estimator(yaw_model, device)
    with progress(desc="yaw", total=len(faces)) as bar:
        yaw = outputs_over_faces(network, faces, batch_size=_BATCH, device=device, on_done=bar.update)
    return yaw.astype(np.float64)


def write_with_views(
    faces: Faces,
    yaw: NDArray[np.floating],
    out: str | Path,
    *,
    num_views: int,
    degrees: tuple[float, float],
    seed: int,
) -> None:
    """An LMDB of faces, each followed by its turned views, of the same identity.

    Args:
        faces: Aligned photographs.
        yaw: Their yaw in degrees, shape (N,).
        out: The file that appears.
        num_views: Views of each.
        degrees: Least and largest yaw of a view to either side, drawn evenly.
        seed: Of the yaws.

    Raises:
        InputError: If the degrees are no range within 0 to 90, there shall be no view, or a face is not 112 x 112.
    """
    if not 0 < degrees[0] <= degrees[1] <= 90 or num_views < 1:
        raise InputError(
            f"{num_views} views of {degrees[0]:g} to {degrees[1]:g} degrees: give one or more, of 0 to 90 degrees"
        )
    rng = np.random.default_rng(seed)
    drawn = rng.choice([-1, 1], len(yaw))[:, None] * rng.uniform(*degrees, (len(yaw), num_views))
    targets = view_yaw(yaw[:, None], drawn)
    with FaceWriter(out) as writer:
        views = _views(faces, yaw, targets)
        for index in progress(range(len(faces)), desc="turn"):
            for encoded in (faces.encoded(index), *next(views)):
                writer.write(encoded, int(faces.identity_ids[index]))


def _views(faces: Faces, yaw: NDArray[np.floating], targets: NDArray[np.floating]) -> Iterator[list[bytes]]:
    """The views of every face as JPEG files, in order; every core takes part."""
    context = multiprocessing.get_context("forkserver")  # a plain fork would copy the locks of torch's threads
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(num_cores(), context) as pool:
        try:
            for start in range(0, len(faces), _CHUNK * num_cores()):
                rows = range(start, min(start + _CHUNK * num_cores(), len(faces)))
                images = [aligned_image(faces, row) for row in rows]
                chunk = max(1, len(rows) // num_cores())
                yield from pool.map(_turn, images, yaw[rows], targets[rows], chunksize=chunk)
        finally:
            pool.shutdown(cancel_futures=True)


def _turn(face: NDArray[np.uint8], seen_degrees: float, targets: NDArray[np.floating]) -> list[bytes]:
    return [encode_jpeg(turn_face(face, seen_degrees, float(degrees))) for degrees in targets]


@cache
def _triangles() -> NDArray[np.intp]:
    """Those of the head and the neck (3, T), without clothes and ears."""
    mesh = head.template()
    of_head = mesh.solid.max(axis=0) < _num_vertices()
    return np.ascontiguousarray(mesh.solid[:, of_head & ~mesh.cloth])


def _num_vertices() -> int:
    _, rows, columns = head.template().grids[0]
    return rows * columns


def _place(yaw_degrees: float) -> Floats:
    """Vertices (3, V) of the mean head, turned, in the fine image of an aligned face."""
    mesh = head.template()
    projected = camera.project(mesh.points, camera.rotation(yaw_degrees), _DISTANCE)
    across, down = projected[:2, mesh.landmarks]
    return camera.to_pixels(projected[:, : _num_vertices()], camera.to_template(across + 1j * down))


def _pixels(yaw_degrees: float) -> tuple[Floats, Floats]:
    """Columns and rows (V,) of the vertices in the photograph; whole numbers are middles of pixels."""
    across, down = _place(yaw_degrees)[:2] / camera.SUPERSAMPLING - 0.5
    return across, down


def _outward(columns: Floats, rows: Floats) -> tuple[Floats, Floats]:
    """Where each vertex takes its colour: behind the outline of the head, from beside it.

    A head is a grid whose rows run from one ear over the face to the other. Behind the outermost column of a row its
    pixels would be those of the face in front of it; they go on outward in its place.
    """
    _, num_rows, num_columns = head.template().grids[0]
    grid, place = columns.reshape(num_rows, num_columns), np.arange(num_columns)
    for side in (-1, 1):
        outermost = (side * grid).argmax(axis=1)[:, None]
        edge = np.take_along_axis(grid, outermost, axis=1)
        is_behind = (place > outermost) if side > 0 else (place < outermost)
        grid = np.where(is_behind, edge + _BESIDE * (edge - grid), grid)
    return grid.reshape(-1), rows


def _background(face: NDArray[np.uint8], *, to_the_right: bool) -> Floats:
    """Colours (3, FINE * FINE): the edge that the face turns to, softened and stretched."""
    soft = gaussian_filter(face.astype(np.float32), (5, 2, 0))
    places = (np.arange(camera.FINE, dtype=np.float32) + 0.5) / camera.SUPERSAMPLING - 0.5
    far = (camera.SIZE - 1 - places if to_the_right else places) / _EDGE_SPREAD
    columns = np.minimum(far, _EDGE_PIXELS)
    columns = camera.SIZE - 1 - columns if to_the_right else columns
    rows = np.repeat(places, camera.FINE)
    return _look_up(soft, np.stack([np.tile(columns, camera.FINE), rows]))


def _look_up(image: NDArray, where: Floats) -> Floats:
    """Colours (3, N) at columns and rows (2, N), between pixels linear, beyond the edge as at the edge."""
    last = camera.SIZE - 1
    columns, rows = np.clip(where, 0, last - 1e-3)
    left, top = columns.astype(np.intp), rows.astype(np.intp)
    right_share, below_share = (columns - left)[:, None], (rows - top)[:, None]
    upper = image[top, left] * (1 - right_share) + image[top, left + 1] * right_share
    lower = image[top + 1, left] * (1 - right_share) + image[top + 1, left + 1] * right_share
    return np.ascontiguousarray((upper * (1 - below_share) + lower * below_share).T, dtype=np.float32)
