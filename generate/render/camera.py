"""Project the head to the image: pose, alignment to the ArcFace template, z-buffer, shadow and lens blur.

In: vertices and triangles of a head. Out: which triangle each pixel shows, values interpolated over the triangles, and
the shadow on each pixel. Scenes are drawn as a fine image of FINE x FINE pixels, and ``shrink`` reduces it to the
SIZE x SIZE pixels of a face ("coarse pixels").

Camera axes are x right, y down, z towards the viewer, as in ``generate/render/head.py``. V counts vertices, T
triangles, N covered pixels. A pixel index is row-major in the fine image.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.faces.face import ARCFACE_TEMPLATE
from generate.render.people import Factors
from generate.render.texture import Floats

SIZE = 112
SUPERSAMPLING = 1.5
FINE = int(SIZE * SUPERSAMPLING)
COARSE_OF_FINE = np.arange(FINE) * SIZE // FINE
FINE_OF_COARSE = ((np.arange(SIZE) + 0.5) * SUPERSAMPLING).astype(np.intp)
TEMPLATE = ARCFACE_TEMPLATE.astype(np.float32)  # float32, since the bytes of rendered faces rest on its rounding
Indices = NDArray[np.intp]  # NumPy converts any other integer type at every look-up

Corner = tuple[Floats, Floats]  # x and y of one corner of every triangle, each (T,)


class Hits(NamedTuple):
    """The triangle that each covered pixel shows."""

    pixel: Indices  # (N,)
    triangle: Indices  # (N,)
    depth: Floats  # (N,) larger is nearer to the viewer

    def where(self, mask: NDArray[np.bool_]) -> "Hits":
        """The hits for which ``mask`` (N,) is true."""
        selected = np.flatnonzero(mask)
        return Hits(self.pixel.take(selected), self.triangle.take(selected), self.depth.take(selected))


def rotation(yaw_degrees: float, pitch_degrees: float = 0.0) -> Floats:
    """Rotation matrix (3, 3) from head to camera axes: yaw first, then pitch. ``align`` adds the roll."""
    yaw, pitch = np.radians([yaw_degrees, pitch_degrees])
    yaw_matrix = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    pitch_matrix = np.array([[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]])
    return (pitch_matrix @ yaw_matrix).astype(np.float32)


def project(points: Floats, head_to_camera: Floats, distance: float) -> Floats:
    """Camera coordinates (3, V), with x and y in perspective.

    Args:
        points: Head coordinates, shape (3, V).
        head_to_camera: Rotation matrix, shape (3, 3).
        distance: From the camera to the origin of the head, in pixels of the face.
    """
    x, y, z = points
    across, down, near = (row[0] * x + row[1] * y + row[2] * z for row in head_to_camera)
    scale = distance / (distance - near)
    return np.stack([across * scale, down * scale, near])


def align(landmarks: Floats, factors: Factors, rng: np.random.Generator) -> tuple[complex, complex]:
    """Similarity that aligns a posed face to the ArcFace template, as the pair (a, b) of ``a * (x + iy) + b``.

    A real pipeline detects the landmarks on the posed face, with some error, so noise is added to them first.

    Args:
        landmarks: Camera x and y of the five landmarks, shape (2, 5).
        factors: Its ``landmark_jitter`` is the standard deviation of the noise; its ``roll_degrees`` remains after
            alignment.
        rng: Source of the noise.
    """
    noise = factors.landmark_jitter * (rng.normal(size=5) + 1j * rng.normal(size=5))
    detected = landmarks[0] + 1j * landmarks[1] + noise
    return similarity_to_template(detected, np.exp(1j * np.radians(factors.roll_degrees)))


def similarity_to_template(landmarks: NDArray[np.complexfloating], roll: complex = 1.0) -> tuple[complex, complex]:
    """Least-squares similarity (a, b), as in ``a * (x + iy) + b``, from landmarks to the ArcFace template.

    All five landmarks count at any pose. In profile the height between eyes and mouth sets the scale; the scale is cut
    to 0.85 to 1.12.

    Args:
        landmarks: Landmarks as x + iy, shape (5,).
        roll: Rotation applied after the alignment, a complex number of length 1.
    """
    target = TEMPLATE[:, 0] + 1j * TEMPLATE[:, 1]
    centred = landmarks - landmarks.mean()
    a = np.vdot(centred, target - target.mean()) / np.vdot(centred, centred)
    a *= np.clip(abs(a), 0.85, 1.12) / abs(a) * roll
    return complex(a), complex(target.mean() - a * landmarks.mean())


def to_fine_image(points: Floats, similarity: tuple[complex, complex]) -> Floats:
    """Coordinates (3, V) in the fine image of camera coordinates (3, V). Depth is scaled like x and y."""
    a, b = (SUPERSAMPLING * value for value in similarity)
    x, y, z = points
    return np.stack([a.real * x - a.imag * y + b.real, a.imag * x + a.real * y + b.imag, abs(a) * z])


def rasterise(points: Floats, triangles: Indices, *, two_sided: bool = False) -> Hits:
    """Z-buffer: the nearest triangle at each pixel centre that a triangle covers.

    Each triangle becomes one run of pixels per row, and all runs are filled at once. Depth and triangle index are
    packed into one integer, so that the nearest hit is a maximum and does not depend on the order of the triangles.

    Args:
        points: Coordinates in the fine image, shape (3, V).
        triangles: Vertices of the triangles, shape (3, T).
        two_sided: Also draw triangles that face away from the viewer.
    """
    x, y, z = points
    corners = [(x.take(corner), y.take(corner)) for corner in triangles]
    (ax, ay), (bx, by), (cx, cy) = corners
    area = (cx - ax) * (by - ay) - (cy - ay) * (bx - ax)
    top = np.maximum(np.ceil(np.minimum(np.minimum(ay, by), cy) - 0.5), 0)
    bottom = np.minimum(np.floor(np.maximum(np.maximum(ay, by), cy) - 0.5), FINE - 1)
    in_crop = (np.minimum(np.minimum(ax, bx), cx) < FINE) & (np.maximum(np.maximum(ax, bx), cx) > 0)
    facing = np.abs(area) if two_sided else area
    visible = np.flatnonzero((facing > 0.01) & (bottom >= top) & in_crop)
    corners = [(u.take(visible), v.take(visible)) for u, v in corners]
    depths = [z.take(corner.take(visible)) for corner in triangles]
    slope_x, slope_y, offset = _plane(corners, depths, area.take(visible))

    top = top.take(visible).astype(np.intp)
    triangle, row, first, last = _runs(corners, top, bottom.take(visible).astype(np.intp) - top + 1)
    slope = slope_x.take(triangle)
    start = slope * (first.astype(np.float32) + 0.5) + slope_y.take(triangle) * (row.astype(np.float32) + 0.5)
    start += offset.take(triangle)
    run, step = _expand(last - first + 1)
    depth = start.take(run) + slope.take(run) * step.astype(np.float32)
    pixel = (row * FINE + first).take(run) + step
    packed = (((depth + 4096) * 1024).astype(np.int64) << 20) | visible.take(triangle).take(run)
    buffer = np.zeros(FINE * FINE, np.int64)
    np.maximum.at(buffer, pixel, packed)
    covered = np.flatnonzero(buffer)
    nearest = buffer.take(covered)
    return Hits(covered, nearest & 0xFFFFF, (nearest >> 20).astype(np.float32) / 1024 - 4096)


def _plane(corners: list[Corner], values: list[Floats], area: Floats) -> tuple[Floats, Floats, Floats]:
    """Linear functions over the triangles, from their values at the three corners.

    Returns:
        Slope along x, slope along y and value at the origin, each one per triangle.
    """
    (ax, ay), (bx, by), (cx, cy) = corners
    a, b, c = values
    slope_x = ((by - ay) * (c - a) - (cy - ay) * (b - a)) / area
    slope_y = ((cx - ax) * (b - a) - (bx - ax) * (c - a)) / area
    return slope_x, slope_y, a - slope_x * ax - slope_y * ay


def _expand(counts: Indices) -> tuple[Indices, Indices]:
    """Owner of each item, and its position among the items of its owner, for the given number of items per owner.

    Counts (2, 3) give owners (0, 0, 1, 1, 1) and positions (0, 1, 0, 1, 2).
    """
    owner = np.repeat(np.arange(counts.size), counts)
    start = np.cumsum(counts) - counts
    return owner, np.arange(owner.size) - start.take(owner)


def _runs(corners: list[Corner], top: Indices, num_rows: Indices) -> tuple[Indices, Indices, Indices, Indices]:
    """Runs of pixel centres inside triangles, one per triangle and row.

    Args:
        corners: x and y of each corner, three pairs of arrays with one value per triangle.
        top: First row of each triangle.
        num_rows: Number of rows of each triangle.

    Returns:
        Triangle, row, first column and last column of each run; empty runs are left out.
    """
    a, b, c = corners
    a, b = _order_by_y(a, b)
    b, c = _order_by_y(b, c)
    a, b = _order_by_y(a, b)
    (ax, ay), (bx, by), (cx, cy) = a, b, c
    long, upper, lower = (
        (x1 - x0) / np.maximum(y1 - y0, np.float32(1e-9))
        for x0, y0, x1, y1 in ((ax, ay, cx, cy), (ax, ay, bx, by), (bx, by, cx, cy))
    )
    triangle, step = _expand(num_rows)
    row = top.take(triangle) + step
    y = row.astype(np.float32) + 0.5
    below_a, below_b = y - ay.take(triangle), y - by.take(triangle)
    x_a = ax.take(triangle)
    on_long = x_a + below_a * long.take(triangle)
    on_upper, on_lower = x_a + below_a * upper.take(triangle), bx.take(triangle) + below_b * lower.take(triangle)
    on_short = np.where(below_b < 0, on_upper, on_lower)
    slack = np.float32(1e-3)  # runs overlap a little, so that rounding leaves no gap between neighbouring triangles
    first = np.maximum(np.ceil(np.minimum(on_long, on_short) - (0.5 + slack)), 0).astype(np.intp)
    last = np.minimum(np.floor(np.maximum(on_long, on_short) - (0.5 - slack)), FINE - 1).astype(np.intp)
    filled = np.flatnonzero(last >= first)
    return triangle.take(filled), row.take(filled), first.take(filled), last.take(filled)


def _order_by_y(a: Corner, b: Corner) -> tuple[Corner, Corner]:
    """Two corners of each triangle, exchanged where the first lies below the second."""
    (ax, ay), (bx, by) = a, b
    swap = by < ay
    return (np.where(swap, bx, ax), np.minimum(ay, by)), (np.where(swap, ax, bx), np.maximum(ay, by))


def interpolate(values: list[Floats], points: Floats, triangles: Indices, hits: Hits) -> Floats:
    """Vertex values interpolated linearly at the hits, shape (C, N).

    Args:
        values: C arrays of one value per vertex, each of shape (V,).
        points: Coordinates in the fine image, shape (3, V).
        triangles: Vertices of the triangles, shape (3, T).
        hits: Pixels, and the triangle that each shows.
    """
    a, b, c = (corner.take(hits.triangle) for corner in triangles)
    x, y, _ = points
    ax, ay = x.take(a), y.take(a)
    bx, by, cx, cy = x.take(b) - ax, y.take(b) - ay, x.take(c) - ax, y.take(c) - ay
    row, column = (index.astype(np.float32) + 0.5 for index in np.divmod(hits.pixel, FINE))
    px, py = column - ax, row - ay
    inverse = 1 / (cx * by - cy * bx)
    weight_b = np.clip((cx * py - cy * px) * inverse, 0, 1)
    weight_c = np.clip((px * by - py * bx) * inverse, 0, 1)
    weight_a = 1 - weight_b - weight_c
    interpolated = np.empty((len(values), hits.pixel.size), np.float32)
    for channel, value in zip(interpolated, values, strict=True):
        np.add(value.take(a) * weight_a + value.take(b) * weight_b, value.take(c) * weight_c, out=channel)
    return interpolated


def shadow(depth: Floats, light: Floats) -> Floats:
    """Share of the light that each coarse pixel loses to shadow, 0 to 1, shape (SIZE, SIZE).

    From every pixel the depth image is sampled at nine distances towards the light. A sample that lies up to 45 pixels
    above the ray casts a shadow.

    Args:
        depth: Depth in coarse pixels, shape (SIZE, SIZE), very negative for background.
        light: Unit vector towards the light in camera axes, shape (3,).
    """
    across = float(np.hypot(light[0], light[1]))
    lost = np.zeros_like(depth)
    if across < 0.1:
        return lost
    padded = np.pad(depth, 40, constant_values=-1e4)
    for reach in (2, 3.5, 5.5, 8, 11, 15, 20, 26, 33):
        dx, dy = round(reach * float(light[0]) / across), round(reach * float(light[1]) / across)
        climb = float(np.hypot(dx, dy)) * float(light[2]) / across
        above = padded[40 + dy : 40 + dy + SIZE, 40 + dx : 40 + dx + SIZE] - depth - climb
        np.maximum(lost, np.clip((above - 0.8) / 2, 0, 1) * (above < 45), out=lost)
    for axis in (0, 1):
        lost = (np.roll(lost, 1, axis) + 2 * lost + np.roll(lost, -1, axis)) / 4
    return lost


def shrink(image: Floats, blur_pixels: float) -> Floats:
    """Reduce the fine image (3, FINE, FINE) to (3, SIZE, SIZE) with the Gaussian blur of a lens.

    Two coarse pixels cover three fine ones, so even and odd coarse pixels have different kernels.

    Args:
        image: Fine image, shape (3, FINE, FINE).
        blur_pixels: Standard deviation of the lens blur in coarse pixels.
    """
    sigma = float(np.hypot(blur_pixels, 0.42)) * SUPERSAMPLING
    reach = 3 * int(np.ceil(2.5 * sigma / 3))
    taps = np.arange(-reach, reach + 3)
    for _ in range(2):  # blurs and reduces the rows, then transposes
        padded = np.pad(image, ((0, 0), (reach, reach), (0, 0)), mode="edge")
        thirds = padded.reshape(3, -1, 3, image.shape[2])
        image = np.zeros((3, SIZE, image.shape[2]), np.float32)
        for phase, center in ((0, 0.25), (1, 1.75)):  # in fine pixels from the first of the three
            kernel = np.exp(-0.5 * ((taps - center) / sigma) ** 2)
            for k, weight in enumerate((kernel / kernel.sum()).tolist()):
                if weight > 1e-4:
                    image[:, phase::2] += weight * thirds[:, k // 3 : k // 3 + SIZE // 2, k % 3]
        image = np.ascontiguousarray(image.transpose(0, 2, 1))
    return image
