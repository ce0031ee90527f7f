"""Paint bare skin: texture, blush, creases, freckles, moles and wrinkles.

In: template coordinates of N pixels (``generate/render/head.py``), a person and the circumstances. Out: colour and
gloss of each pixel.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from generate.render.fields import EYE_X
from generate.render.people import Factors, Identity, aging
from generate.render.texture import Floats, blend, cell, column, gauss, line, noise, put, sample, smoothstep, tabulate


def paint_skin(points: Floats, person: Identity, factors: Factors) -> tuple[Floats, Floats]:
    """Colour (3, N), linear RGB, and gloss (N,) of the skin at template coordinates (3, N)."""
    x, y, z = points
    age = aging(factors)
    offset = person.seed % 9973
    around = np.where(np.abs(x) > 30, x - z * np.sign(x), x)  # x alone would smear the texture over the sides
    coarse = sample(noise(1.6), around * 1.6 + offset, y * 1.6 + offset // 7)
    pores = sample(noise(0.3), around * 3.1 + offset, y * 3.1)
    cells = cell(x, y)
    pattern = _patterns()
    blush = pattern["blush"].take(cells) * (0.35 + 0.65 * person.ruddiness + 0.15 * coarse)
    dark = pattern["dark"].take(cells) + (0.16 + 0.22 * age) * pattern["rings"].take(cells)
    dark += 0.40 * smoothstep(57, 66, y) * smoothstep(38, 20, z)
    dark = np.minimum(dark, 0.85)
    creases = _creases(cells, factors, age)
    grain = 1 + (0.05 + 0.05 * age) * coarse + (0.035 + 0.03 * age) * pores
    albedo = np.empty((3, x.size), np.float32)
    for channel, tone, flush, deep, crease in zip(
        albedo, person.skin.tolist(), (0.06, -0.16, -0.14), (0.75, 0.95, 1.0), (0.85, 1.0, 1.0), strict=True
    ):
        np.multiply(tone * grain * (1 + flush * blush), (1 - deep * dark) * (1 - crease * creases), out=channel)
    if person.freckles > 0.05 or age > 0.5:
        spots = smoothstep(1.1, 1.9, sample(noise(0.7), around * 2.3 + offset // 3, y * 2.3 + offset))
        amount = min(person.freckles, 1) * pattern["freckles"].take(cells) + 0.5 * max(0, age - 0.4) * (coarse > 0.2)
        albedo *= 1 - column((0.35, 0.52, 0.6)) * (spots * np.minimum(amount, 1))
    _paint_moles(albedo, points, person)
    return albedo, pattern["gloss"].take(cells) - np.float32(0.05 * age)


@cache
def _patterns() -> dict[str, Floats]:
    """Tables that hold for everybody: where skin blushes, shines, darkens and wrinkles."""
    return tabulate(
        {
            "blush": lambda x, y: (
                gauss(abs(x) - 23, y - 21, 8, 8)
                + 0.8 * gauss(x, y - 20, 6, 4)
                + 0.4 * gauss(x, y - 56, 7, 4)
                + 0.5 * (abs(x) > 41)
            ),
            "dark": lambda x, y: (
                0.10 * gauss(abs(x) - 12, y + 3, 4, 4)
                + 0.20 * gauss(x, y - 26.5, 6, 1.8)
                + 0.16 * gauss(abs(x) - 11.6, y - 21, 1.5, 3.5)
                + 0.20 * gauss(x, y - 49.5, 7, 1.8)
                + 0.10 * gauss(x, y - 31, 1.3, 4)
                + 0.55 * gauss(abs(x) - 3.6, y - 23.9 + 0.2 * abs(x), 1.5, 0.9)  # nostrils
            ),
            "rings": lambda x, y: gauss(abs(x) - 15, y - 7.5, 6, 3),
            "freckles": lambda x, y: gauss(x, y - 14, 24, 14),
            "gloss": lambda x, y: 0.16 + 0.14 * gauss(x, y - 12, 7, 12) + 0.12 * gauss(x, y + 26, 16, 9),
            "forehead": _forehead_lines,
            "crow_feet": _crow_feet,
            "fold": lambda x, y: (
                line(abs(x) - 10 - (y - 19) * 0.33 - 0.004 * (y - 19) ** 2, 1.1)
                * smoothstep(17, 23, y)
                * smoothstep(43, 35, y)
            ),
            "jowl": lambda x, y: (
                line(abs(x) - 16 - (y - 43) * 0.22, 0.9) * smoothstep(42, 45, y) * smoothstep(56, 50, y)
            ),
            "bag": lambda x, y: (
                line(y - 9.0 + 0.035 * (abs(x) - EYE_X + 2) ** 2, 0.8) * np.exp(-(((abs(x) - EYE_X) / 8) ** 4))
            ),
            "frown": lambda x, y: gauss(abs(x) - 3.4 - 0.1 * (y + 10), y + 11, 0.55, 3.2),
        }
    )


def _forehead_lines(x: Floats, y: Floats) -> Floats:
    wave = 0.9 * np.sin(x * 0.17) + 0.5 * np.sin(x * 0.41 + 1)
    heights = ((-19.5, 1.0), (-25.0, 0.9), (-30.5, 0.7))
    lines = sum(strength * line(y - height - wave, 0.75) for height, strength in heights)
    return lines * np.exp(-((x / 22) ** 4)) * (y < -15)


def _crow_feet(x: Floats, y: Floats) -> Floats:
    beside = np.abs(x) - EYE_X
    rays = np.cos(np.arctan2(y - 1, beside - 5) * 9) ** 6
    return rays * gauss(beside - 13.5, y - 1, 2.6, 5) * (beside > 5)


def _creases(cells: NDArray[np.intp], factors: Factors, age: float) -> Floats:
    """Share of the light that wrinkles take from the skin, 0 to 0.7, shape (N,)."""
    old, smile = age**1.6, min(factors.smile, 1)
    strengths = {
        "forehead": 0.30 * old + 0.22 * min(factors.brow_raise, 1.2),
        "crow_feet": 0.45 * old + 0.25 * smile * (0.3 + age),
        "fold": 0.05 + 0.40 * old + 0.24 * smile,
        "jowl": 0.35 * old,
        "bag": 0.34 * old,
        "frown": 0.25 * old + 0.28 * min(factors.frown, 1),
    }
    depth = np.zeros(cells.shape, np.float32)
    for name, strength in strengths.items():
        if strength > 0.01:
            depth += strength * _patterns()[name].take(cells)
    return np.minimum(depth, 0.7)


def _paint_moles(albedo: Floats, points: Floats, person: Identity) -> None:
    x, y, z = points
    for mole_x, mole_y, radius in person.moles.tolist():
        near = np.flatnonzero((np.abs(y - mole_y) < 3) & (np.abs(x - mole_x) < 3) & (z > 15))
        square = ((x[near] - mole_x) ** 2 + (y[near] - mole_y) ** 2) / radius**2
        colors = albedo.take(near, 1)
        blend(colors, column(person.skin * 0.22), 0.85 * np.exp(-square * square))
        put(albedo, near, colors)
