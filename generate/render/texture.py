"""What the painting modules share: curves, noise, tabulated patterns, and writing colours to pixels.

In: template coordinates of N pixels. Out: one value per pixel (N,), or linear RGB colours (3, N). Patterns that are the
same for everybody are tabulated once per process and looked up, which is many times faster than computing them.
"""

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.floating]  # float32 almost everywhere
Indices = NDArray[np.intp]

_TILE = 256
_TEXELS_PER_UNIT = 4
_LEFT, _TOP, _WIDTH, _HEIGHT = -48, -48, 96, 120  # area that tabulated patterns cover, in template units


def smoothstep(low: float | Floats, high: float | Floats, x: Floats) -> Floats:
    """Cubic step of ``x``: 0 below ``low``, 1 above ``high``; falls instead where ``low`` is above ``high``."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def gauss(dx: Floats, dy: Floats, sx: float, sy: float) -> Floats:
    """Gaussian of height 1 around (0, 0) with standard deviations ``sx`` and ``sy``."""
    u, v = dx * (1 / sx), dy * (1 / sy)
    return np.exp(-0.5 * (u * u + v * v))


def line(distance: Floats, width: float) -> Floats:
    """Profile of a soft line: 1 at distance 0, 1/e at distance ``width``."""
    t = distance * (1 / width)
    return np.exp(-t * t)


def column(color: ArrayLike) -> Floats:
    """A colour (3,) as float32 of shape (3, 1)."""
    return np.asarray(color, np.float32)[:, None]


def blend(albedo: Floats, color: Floats, alpha: Floats) -> None:
    """Paint ``color`` (3, 1) or (3, N) over ``albedo`` (3, N) in place, with opacity ``alpha`` (N,)."""
    albedo += (color - albedo) * alpha


def put(albedo: Floats, pixels: Indices, colors: Floats) -> None:
    """Write ``colors`` (3, n) to the ``pixels`` (n,) of ``albedo`` (3, N) in place."""
    for channel, values in zip(albedo, colors, strict=True):  # channel by channel is three times as fast
        channel[pixels] = values


@cache
def noise(roughness: float, stretch: float = 1.0) -> Floats:
    """Tileable noise for ``sample``, flattened, with mean 0 and standard deviation 1.

    Args:
        roughness: Amplitudes fall as frequency ** -roughness, so that larger values give smoother noise.
        stretch: How many times longer the structures are along y than along x.
    """
    rng = np.random.default_rng([3, round(roughness * 100), round(stretch * 100)])
    fy, fx = np.fft.fftfreq(_TILE)[:, None] * stretch, np.fft.fftfreq(_TILE)[None]
    frequency = np.maximum(np.hypot(fx, fy), 2 / _TILE)
    field = np.fft.ifft2(np.fft.fft2(rng.standard_normal((_TILE, _TILE))) * frequency**-roughness).real
    return ((field - field.mean()) / field.std()).astype(np.float32).ravel()


def sample(table: Floats, x: Floats, y: Floats) -> Floats:
    """Value of a ``noise`` table at (x, y) in texels: the nearest one, with the table repeated in both directions."""
    return table.take(((y.astype(np.intp) & (_TILE - 1)) << 8) | (x.astype(np.intp) & (_TILE - 1)))


def tabulate(patterns: Mapping[str, Callable[[Floats, Floats], Floats]]) -> dict[str, Floats]:
    """Tables of patterns, each a function of template (x, y), flattened; ``cell`` gives the index into them."""
    y, x = np.mgrid[0 : _HEIGHT * _TEXELS_PER_UNIT, 0 : _WIDTH * _TEXELS_PER_UNIT].astype(np.float32) + 0.5
    x, y = x.ravel() / _TEXELS_PER_UNIT + _LEFT, y.ravel() / _TEXELS_PER_UNIT + _TOP
    return {name: np.asarray(pattern(x, y), np.float32) for name, pattern in patterns.items()}


def cell(x: Floats, y: Floats) -> Indices:
    """Index into a tabulated pattern at template (x, y); positions outside the table take its edge."""
    columns = np.clip((x - _LEFT) * _TEXELS_PER_UNIT, 0, _WIDTH * _TEXELS_PER_UNIT - 1).astype(np.intp)
    rows = np.clip((y - _TOP) * _TEXELS_PER_UNIT, 0, _HEIGHT * _TEXELS_PER_UNIT - 1).astype(np.intp)
    return rows * (_WIDTH * _TEXELS_PER_UNIT) + columns
