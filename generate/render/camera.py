"""Points of a head in, the pixels that see it out: pose, alignment, z-buffer, shadow, lens.

Camera axes: x right, y down, z towards the viewer, as in ``generate/render/head.py``. V counts vertices, T triangles, N
covered pixels; a pixel is its row-major index in the fine image.
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
Indices = NDArray[np.intp]  # any other kind is converted at every look-up


class Hits(NamedTuple):
    """The front-most triangle of each covered pixel."""

    pixel: Indices  # (N,)
    triangle: Indices  # (N,)
    depth: Floats  # (N,) larger is nearer

    def where(self, mask: NDArray[np.bool_]) -> "Hits":
        """The hits where ``mask`` (N,) holds."""
        kept = np.flatnonzero(mask)
        return Hits(self.pixel.take(kept), self.triangle.take(kept), self.depth.take(kept))


def rotation(yaw_degrees: float, pitch_degrees: float = 0.0) -> Floats:
    """(3, 3) matrix from head to camera axes: yaw first, then pitch. Roll is left to the alignment."""
    yaw, pitch = np.radians([yaw_degrees, pitch_degrees])
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    nod = np.array([[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]])
    return (nod @ turn).astype(np.float32)


def project(points: Floats, turn: Floats, distance: float) -> Floats:
    """Camera coordinates (3, V) of head coordinates (3, V), with x and y in perspective."""
    x, y, z = points
    across, down, near = (row[0] * x + row[1] * y + row[2] * z for row in turn)
    scale = distance / (distance - near)
    return np.stack([across * scale, down * scale, near])


def align(landmarks: Floats, factors: Factors, rng: np.random.Generator) -> tuple[complex, complex]:
    """The similarity ``a * (x + iy) + b`` of landmarks (2, 5) onto the ArcFace template by least squares.

    As in a real pipeline the landmarks are those of the posed face, found with some error. All five count at any
    pose: in profile the height between eyes and mouth sets the scale, so it stays near one.
    """
    found = landmarks[0] + 1j * landmarks[1] + factors.landmark_jitter * (rng.normal(size=5) + 1j * rng.normal(size=5))
    return to_template(found, np.exp(1j * np.radians(factors.roll_degrees)))


def to_template(found: NDArray[np.complexfloating], roll: complex = 1.0) -> tuple[complex, complex]:
    """The similarity of landmarks x + iy, shape (5,), onto the ArcFace template, turned by ``roll`` thereafter."""
    target = TEMPLATE[:, 0] + 1j * TEMPLATE[:, 1]
    centred = found - found.mean()
    a = np.vdot(centred, target - target.mean()) / np.vdot(centred, centred)
    a *= np.clip(abs(a), 0.85, 1.12) / abs(a) * roll
    return complex(a), complex(target.mean() - a * found.mean())


def to_pixels(points: Floats, similarity: tuple[complex, complex]) -> Floats:
    """Coordinates (3, V) in the fine image of camera coordinates (3, V); depth is scaled alike."""
    a, b = (SUPERSAMPLING * value for value in similarity)
    x, y, z = points
    return np.stack([a.real * x - a.imag * y + b.real, a.imag * x + a.real * y + b.imag, abs(a) * z])


def rasterise(points: Floats, triangles: Indices, *, two_sided: bool = False) -> Hits:
    """Z-buffer of triangles (3, T) over points (3, V) at pixel centres.

    Triangles become runs of pixels, one run a row; all runs are filled at once. The depth and the index of a hit are
    packed into one integer, so that the nearest hit is a maximum, whatever the order.
    """
    x, y, z = points
    corners = [(x.take(corner), y.take(corner)) for corner in triangles]
    (ax, ay), (bx, by), (cx, cy) = corners
    area = (cx - ax) * (by - ay) - (cy - ay) * (bx - ax)
    top = np.maximum(np.ceil(np.minimum(np.minimum(ay, by), cy) - 0.5), 0)
    bottom = np.minimum(np.floor(np.maximum(np.maximum(ay, by), cy) - 0.5), FINE - 1)
    in_crop = (np.minimum(np.minimum(ax, bx), cx) < FINE) & (np.maximum(np.maximum(ax, bx), cx) > 0)
    facing = np.abs(area) if two_sided else area
    keep = np.flatnonzero((facing > 0.01) & (bottom >= top) & in_crop)
    corners = [(u.take(keep), v.take(keep)) for u, v in corners]
    depths = [z.take(corner.take(keep)) for corner in triangles]
    slope_x, slope_y, level = _plane(corners, depths, area.take(keep))

    top = top.take(keep).astype(np.intp)
    which, row, first, last = _runs(corners, top, bottom.take(keep).astype(np.intp) - top + 1)
    slope = slope_x.take(which)
    start = slope * (first.astype(np.float32) + 0.5) + slope_y.take(which) * (row.astype(np.float32) + 0.5)
    start += level.take(which)
    run, step = _expand(last - first + 1)
    depth = start.take(run) + slope.take(run) * step.astype(np.float32)
    pixel = (row * FINE + first).take(run) + step
    packed = (((depth + 4096) * 1024).astype(np.int64) << 20) | keep.take(which).take(run)
    buffer = np.zeros(FINE * FINE, np.int64)
    np.maximum.at(buffer, pixel, packed)
    covered = np.flatnonzero(buffer)
    nearest = buffer.take(covered)
    return Hits(covered, nearest & 0xFFFFF, (nearest >> 20).astype(np.float32) / 1024 - 4096)


def _plane(corners: list[tuple[Floats, Floats]], values: list[Floats], area: Floats) -> tuple[Floats, Floats, Floats]:
    """Per triangle the slopes along x and y, and the value at the origin, of what is linear over it."""
    (ax, ay), (bx, by), (cx, cy) = corners
    a, b, c = values
    slope_x = ((by - ay) * (c - a) - (cy - ay) * (b - a)) / area
    slope_y = ((cx - ax) * (b - a) - (bx - ax) * (c - a)) / area
    return slope_x, slope_y, a - slope_x * ax - slope_y * ay


def _expand(counts: Indices) -> tuple[Indices, Indices]:
    """0 counts[0] times, 1 counts[1] times, ...; and beside it 0, 1, ... within each."""
    owner = np.repeat(np.arange(counts.size), counts)
    start = np.cumsum(counts) - counts
    return owner, np.arange(owner.size) - start.take(owner)


def _runs(
    corners: list[tuple[Floats, Floats]], top: Indices, num_rows: Indices
) -> tuple[Indices, Indices, Indices, Indices]:
    """Runs of pixel centres inside triangles: the triangle, the row, the first and the last pixel of each."""
    (ax, ay), (bx, by), (cx, cy) = corners
    swap = by < ay  # sort the corners by y
    ax, ay, bx, by = np.where(swap, bx, ax), np.minimum(ay, by), np.where(swap, ax, bx), np.maximum(ay, by)
    swap = cy < by
    bx, by, cx, cy = np.where(swap, cx, bx), np.minimum(by, cy), np.where(swap, bx, cx), np.maximum(by, cy)
    swap = by < ay
    ax, ay, bx, by = np.where(swap, bx, ax), np.minimum(ay, by), np.where(swap, ax, bx), np.maximum(ay, by)
    long, upper, lower = (
        (x1 - x0) / np.maximum(y1 - y0, np.float32(1e-9))
        for x0, y0, x1, y1 in ((ax, ay, cx, cy), (ax, ay, bx, by), (bx, by, cx, cy))
    )
    which, step = _expand(num_rows)
    row = top.take(which) + step
    y = row.astype(np.float32) + 0.5
    below_a, below_b = y - ay.take(which), y - by.take(which)
    x_a = ax.take(which)
    one = x_a + below_a * long.take(which)
    other = np.where(below_b < 0, x_a + below_a * upper.take(which), bx.take(which) + below_b * lower.take(which))
    slack = np.float32(1e-3)  # neighbours leave no gap, whatever the rounding
    first = np.maximum(np.ceil(np.minimum(one, other) - (0.5 + slack)), 0).astype(np.intp)
    last = np.minimum(np.floor(np.maximum(one, other) - (0.5 - slack)), FINE - 1).astype(np.intp)
    kept = np.flatnonzero(last >= first)
    return which.take(kept), row.take(kept), first.take(kept), last.take(kept)


def interpolate(values: list[Floats], points: Floats, triangles: Indices, hits: Hits) -> Floats:
    """Vertex values, C arrays (V,), at the hits: (C, N)."""
    a, b, c = (corner.take(hits.triangle) for corner in triangles)
    x, y, _ = points
    ax, ay = x.take(a), y.take(a)
    bx, by, cx, cy = x.take(b) - ax, y.take(b) - ay, x.take(c) - ax, y.take(c) - ay
    row, column = (place.astype(np.float32) + 0.5 for place in np.divmod(hits.pixel, FINE))
    px, py = column - ax, row - ay
    inverse = 1 / (cx * by - cy * bx)
    of_b, of_c = np.clip((cx * py - cy * px) * inverse, 0, 1), np.clip((px * by - py * bx) * inverse, 0, 1)
    of_a = 1 - of_b - of_c
    out = np.empty((len(values), hits.pixel.size), np.float32)
    for channel, value in zip(out, values, strict=True):
        np.add(value.take(a) * of_a + value.take(b) * of_b, value.take(c) * of_c, out=channel)
    return out


def shadow(depth: Floats, light: Floats) -> Floats:
    """How much of the light each coarse pixel loses, 0 to 1: a march through the depth image towards the light.

    Args:
        depth: Shape (SIZE, SIZE), in pixels, very negative where nothing is.
        light: Unit vector to the light in camera axes, shape (3,).
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
    """Fine image (3, FINE, FINE) -> (3, SIZE, SIZE) through a lens with the given Gaussian blur (in coarse pixels).

    Two coarse pixels cover three fine ones, so the even and the odd coarse pixels have a kernel each.
    """
    sigma = float(np.hypot(blur_pixels, 0.42)) * SUPERSAMPLING
    reach = 3 * int(np.ceil(2.5 * sigma / 3))
    taps = np.arange(-reach, reach + 3)
    for _ in range(2):  # down the columns; then the image is turned over, and once more
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
