"""Template coordinates of pixels in, values of fixed patterns and noise out; and painting with them.

Arrays of one value per pixel are (N,), colours are linear RGB as (3, N). What does not depend on a person is
tabulated once a process and looked up, which is many times as fast as computing it.
"""

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.floating]  # float32 in fact
Indices = NDArray[np.intp]

_TILE = 256
_TEXELS_PER_UNIT = 4
_LEFT, _TOP, _WIDTH, _HEIGHT = -48, -48, 96, 120  # the part of the template that patterns cover


def smoothstep(low: float | Floats, high: float | Floats, x: Floats) -> Floats:
    """0 below ``low``, 1 above ``high``, smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def gauss(dx: Floats, dy: Floats, sx: float, sy: float) -> Floats:
    """A bump of height 1 around (0, 0) with widths ``sx`` and ``sy``."""
    u, v = dx * (1 / sx), dy * (1 / sy)
    return np.exp(-0.5 * (u * u + v * v))


def line(distance: Floats, width: float) -> Floats:
    """1 on a line and 1/e at ``width`` from it."""
    t = distance * (1 / width)
    return np.exp(-t * t)


def column(color: ArrayLike) -> Floats:
    """A colour (3,) as (3, 1)."""
    return np.asarray(color, np.float32)[:, None]


def blend(albedo: Floats, color: Floats, alpha: Floats) -> None:
    """Paint ``color`` (3, 1) or (3, N) over ``albedo`` (3, N) with opacity ``alpha`` (N,)."""
    albedo += (color - albedo) * alpha


def put(albedo: Floats, where: Indices, part: Floats) -> None:
    """Write ``part`` (3, n) to the pixels ``where`` (n,) of ``albedo`` (3, N)."""
    for channel, values in zip(albedo, part, strict=True):  # one axis at a time is three times as fast
        channel[where] = values


@cache
def noise(roughness: float, stretch: float = 1.0) -> Floats:
    """Tileable noise, flat; mean 0 and spread 1; amplitudes fall as frequency ** -roughness, faster along y."""
    rng = np.random.default_rng([3, round(roughness * 100), round(stretch * 100)])
    fy, fx = np.fft.fftfreq(_TILE)[:, None] * stretch, np.fft.fftfreq(_TILE)[None]
    frequency = np.maximum(np.hypot(fx, fy), 2 / _TILE)
    field = np.fft.ifft2(np.fft.fft2(rng.standard_normal((_TILE, _TILE))) * frequency**-roughness).real
    return ((field - field.mean()) / field.std()).astype(np.float32).ravel()


def sample(table: Floats, x: Floats, y: Floats) -> Floats:
    """Noise at (x, y) in texels, wrapped, nearest."""
    return table.take(((y.astype(np.intp) & (_TILE - 1)) << 8) | (x.astype(np.intp) & (_TILE - 1)))


def tabulate(patterns: Mapping[str, Callable[[Floats, Floats], Floats]]) -> dict[str, Floats]:
    """Patterns, functions of template (x, y), as flat tables for ``cell``."""
    y, x = np.mgrid[0 : _HEIGHT * _TEXELS_PER_UNIT, 0 : _WIDTH * _TEXELS_PER_UNIT].astype(np.float32) + 0.5
    x, y = x.ravel() / _TEXELS_PER_UNIT + _LEFT, y.ravel() / _TEXELS_PER_UNIT + _TOP
    return {name: np.asarray(pattern(x, y), np.float32) for name, pattern in patterns.items()}


def cell(x: Floats, y: Floats) -> Indices:
    """The entry of a tabulated pattern at template (x, y); beyond the table, that at its edge."""
    columns = np.clip((x - _LEFT) * _TEXELS_PER_UNIT, 0, _WIDTH * _TEXELS_PER_UNIT - 1).astype(np.intp)
    rows = np.clip((y - _TOP) * _TEXELS_PER_UNIT, 0, _HEIGHT * _TEXELS_PER_UNIT - 1).astype(np.intp)
    return rows * (_WIDTH * _TEXELS_PER_UNIT) + columns
