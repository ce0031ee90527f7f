"""Points of a head in, the pixels that see it out: pose, alignment, z-buffer, shadow, light, lens and sensor.

Camera axes: x right, y down, z towards the viewer, as in ``generate/head.py``. N counts covered pixels, T triangles.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from generate.people import Factors

SIZE = 112
SUPERSAMPLING = 1.5
FINE = int(SIZE * SUPERSAMPLING)
TEMPLATE = np.array(  # ArcFace: eyes, tip of the nose, corners of the mouth, in pixels
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)], np.float32
)
Floats = NDArray[np.floating]


class Hits(NamedTuple):
    """The front-most triangle of each covered pixel."""

    pixel: NDArray[np.int64]  # (N,) row-major index in the fine image, ascending
    triangle: NDArray[np.int64]  # (N,)
    weights: Floats  # (N, 3) barycentric
    depth: Floats  # (N,) larger is nearer


def rotation(factors: Factors) -> Floats:
    """(3, 3) matrix from head to camera axes: yaw first, then pitch. Roll is left to the alignment."""
    yaw, pitch = np.radians([factors.yaw_degrees, factors.pitch_degrees])
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    nod = np.array([[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]])
    return (nod @ turn).astype(np.float32)


def project(points: Floats, turn: Floats, distance: float) -> Floats:
    """Camera coordinates (V, 3) with x and y in perspective."""
    x, y, z = (points[:, 0] * row[0] + points[:, 1] * row[1] + points[:, 2] * row[2] for row in turn)
    nearer = np.float32(distance) / (np.float32(distance) - z)
    return np.stack([x * nearer, y * nearer, z], 1)


def align(landmarks: Floats, factors: Factors, rng: np.random.Generator) -> tuple[complex, complex]:
    """The similarity ``a * (x + iy) + b`` onto the ArcFace template, least squares over the five landmarks.

    As in a real pipeline the landmarks are those of the posed face, found with some error. All five count at any
    pose: in profile the height between eyes and mouth sets the scale, so it stays near one.
    """
    source = (
        landmarks[:, 0]
        + 1j * landmarks[:, 1]
        + factors.landmark_jitter * (rng.normal(size=5) + 1j * rng.normal(size=5))
    )
    target = TEMPLATE[:, 0] + 1j * TEMPLATE[:, 1]
    centred = source - source.mean()
    a = np.vdot(centred, target - target.mean()) / np.vdot(centred, centred)
    a *= np.clip(abs(a), 0.85, 1.12) / abs(a) * np.exp(1j * np.radians(factors.roll_degrees))
    return complex(a), complex(target.mean() - a * source.mean())


def to_pixels(points: Floats, similarity: tuple[complex, complex]) -> Floats:
    """Pixel coordinates (V, 3) in the fine image; depth is scaled alike."""
    a, b = similarity
    x, y = points[:, 0], points[:, 1]
    fine = np.empty_like(points)
    fine[:, 0] = SUPERSAMPLING * (np.float32(a.real) * x - np.float32(a.imag) * y + np.float32(b.real))
    fine[:, 1] = SUPERSAMPLING * (np.float32(a.imag) * x + np.float32(a.real) * y + np.float32(b.imag))
    fine[:, 2] = SUPERSAMPLING * np.float32(abs(a)) * points[:, 2]
    return fine


def rasterise(points: Floats, triangles: NDArray[np.int64], two_sided: bool = False) -> Hits:
    """Z-buffer of the triangles at pixel centres.

    Triangles are taken in groups of like size, and each group tests a square of pixels per triangle at once. The
    depth and the index of a hit are packed into one integer, so that the nearest hit is a maximum, whatever the order.
    """
    x, y = np.ascontiguousarray(points.T[:2])
    ax, bx, cx = (x.take(corner) for corner in triangles.T)
    ay, by, cy = (y.take(corner) for corner in triangles.T)
    area = (cx - ax) * (by - ay) - (cy - ay) * (bx - ax)
    left, right = np.ceil(np.minimum(np.minimum(ax, bx), cx) - 0.5), np.floor(np.maximum(np.maximum(ax, bx), cx) - 0.5)
    top, bottom = np.ceil(np.minimum(np.minimum(ay, by), cy) - 0.5), np.floor(np.maximum(np.maximum(ay, by), cy) - 0.5)
    left, right = np.maximum(left, 0), np.minimum(right, FINE - 1)
    top, bottom = np.maximum(top, 0), np.minimum(bottom, FINE - 1)
    facing = np.abs(area) > 1e-6 if two_sided else area > 1e-6
    keep = np.flatnonzero(facing & (right >= left) & (bottom >= top))
    a, b, c = (points.take(corner.take(keep), 0) for corner in triangles.T)
    inverse = 1 / area.take(keep)
    # weights of b and c are affine in the pixel: slope in x, slope in y, value at the origin
    b_x, b_y = (a[:, 1] - c[:, 1]) * inverse, (c[:, 0] - a[:, 0]) * inverse
    c_x, c_y = (b[:, 1] - a[:, 1]) * inverse, (a[:, 0] - b[:, 0]) * inverse
    plane = np.stack([b_x, b_y, -(b_x * a[:, 0] + b_y * a[:, 1]), c_x, c_y, -(c_x * a[:, 0] + c_y * a[:, 1])], 1)
    depths = np.stack([a[:, 2], b[:, 2] - a[:, 2], c[:, 2] - a[:, 2]], 1)
    left, top = left.take(keep), top.take(keep)
    extent = np.maximum(right.take(keep) - left, bottom.take(keep) - top)
    buffer = np.zeros(FINE * FINE, np.int64)
    low = -1
    for high in (0, 1, 2, 3, 5, 8, 15, 40, FINE):
        group = np.flatnonzero((extent > low) & (extent <= high))
        low = high
        if group.size:
            _fill(buffer, group, left, top, plane, depths, high + 1)
    pixel = np.flatnonzero(buffer)
    packed = buffer.take(pixel)
    local = packed & 0xFFFFF
    px, py = (pixel % FINE).astype(np.float32) + 0.5, (pixel // FINE).astype(np.float32) + 0.5
    p = plane.take(local, 0)
    weight_b = p[:, 0] * px + p[:, 1] * py + p[:, 2]
    weight_c = p[:, 3] * px + p[:, 4] * py + p[:, 5]
    weights = np.stack([1 - weight_b - weight_c, weight_b, weight_c], 1)
    return Hits(pixel, keep.take(local), weights, ((packed >> 20) / 1024 - 4096).astype(np.float32))


def _fill(
    buffer: NDArray[np.int64],
    group: NDArray[np.int64],
    left: Floats,
    top: Floats,
    plane: Floats,
    depths: Floats,
    width: int,
) -> None:
    """Test ``width * width`` pixels from each triangle's corner and keep the nearest hit of every pixel."""
    steps = np.arange(width, dtype=np.float32)
    x = left.take(group)[:, None] + np.tile(steps, width)[None]
    y = top.take(group)[:, None] + np.repeat(steps, width)[None]
    p = plane.take(group, 0)
    px, py = x + 0.5, y + 0.5
    weight_b = p[:, :1] * px + p[:, 1:2] * py + p[:, 2:3]
    weight_c = p[:, 3:4] * px + p[:, 4:5] * py + p[:, 5:6]
    inside = np.flatnonzero(
        (weight_b >= -1e-4) & (weight_c >= -1e-4) & (weight_b + weight_c <= 1.0001) & (x < FINE) & (y < FINE)
    )
    which = inside // (width * width)
    d = depths.take(group.take(which), 0)
    z = d[:, 0] + d[:, 1] * weight_b.ravel().take(inside) + d[:, 2] * weight_c.ravel().take(inside)
    pixel = (y.ravel().take(inside) * FINE + x.ravel().take(inside)).astype(np.int64)
    packed = (((z + 4096) * 1024).astype(np.int64) << 20) | group.take(which)
    np.maximum.at(buffer, pixel, packed)


def interpolate(values: Floats, triangles: NDArray[np.int64], hits: Hits) -> Floats:
    """Vertex values (V, C) at the hits, transposed: (C, N)."""
    a, b, c = (values.take(corner.take(hits.triangle), 0) for corner in triangles.T)
    w = hits.weights
    return np.ascontiguousarray((a * w[:, :1] + b * w[:, 1:2] + c * w[:, 2:3]).T)


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
        dx, dy = round(reach * light[0] / across), round(reach * light[1] / across)
        above = (
            padded[40 + dy : 40 + dy + SIZE, 40 + dx : 40 + dx + SIZE]
            - depth
            - np.float32(np.hypot(dx, dy) * light[2] / across)
        )
        lost = np.maximum(lost, np.clip((above - 0.8) / 2.0, 0, 1) * (above < 45))
    for axis in (0, 1):
        lost = (np.roll(lost, 1, axis) + 2 * lost + np.roll(lost, -1, axis)) / 4
    return lost


def shrink(image: Floats, blur_pixels: float) -> Floats:
    """Fine image (3, FINE, FINE) -> (3, SIZE, SIZE) through a lens with the given Gaussian blur (in coarse pixels).

    Two coarse pixels cover three fine ones, so the even and the odd coarse pixels have a kernel each.
    """
    sigma = float(np.hypot(blur_pixels, 0.42)) * SUPERSAMPLING
    reach = int(np.ceil(2.5 * sigma))
    taps = np.arange(-reach, reach + 3, dtype=np.float32)
    for axis in (1, 2):
        pad = [(0, 0)] * 3
        pad[axis] = (reach, reach)
        padded = np.pad(image, pad, mode="edge")
        image = np.zeros(tuple(SIZE if i == axis else n for i, n in enumerate(image.shape)), np.float32)
        for phase, center in ((0, 0.25), (1, 1.75)):  # in fine pixels from the first of the three
            kernel = np.exp(-0.5 * ((taps - center) / sigma) ** 2)
            kernel /= kernel.sum()
            part = image[:, phase::2] if axis == 1 else image[:, :, phase::2]
            for k, weight in enumerate(kernel):
                window = slice(k, k + 3 * (SIZE // 2 - 1) + 1, 3)
                part += weight * (padded[:, window] if axis == 1 else padded[:, :, window])
    return image


COARSE_OF_FINE = np.arange(FINE) * SIZE // FINE
FINE_OF_COARSE = ((np.arange(SIZE) + 0.5) * SUPERSAMPLING).astype(np.int64)
