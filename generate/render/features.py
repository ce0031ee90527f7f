"""Paint eyes, brows, lips and beard on the skin.

In: template coordinates ``points`` (3, N) of N pixels, a person and the circumstances. Each function changes the colour
``albedo`` (3, N) of its part of the face in place, and the ``gloss`` (N,) where the part shines more or less than skin.
"""

from functools import cache

import numpy as np

from generate.render.fields import EYE_X, MOUTH_X, MOUTH_Y
from generate.render.hair import hair_color
from generate.render.people import Factors, Identity, aging, linear
from generate.render.texture import Floats, blend, cell, column, gauss, line, noise, put, sample, smoothstep, tabulate

_MOUTH, _TEETH = column(linear((70, 22, 22))), column(linear((226, 214, 196)))
_SCLERA, _LASHES, _LOWER_LASHES = (column(linear(color)) for color in ((226, 220, 214), (24, 18, 16), (40, 28, 24)))


def paint_lips(albedo: Floats, gloss: Floats, points: Floats, person: Identity, factors: Factors) -> None:
    """Paint the lips, the line between them, and the teeth if the mouth is open."""
    x, y, z = points
    near = np.flatnonzero((np.abs(y - MOUTH_Y) < 9) & (np.abs(x) < MOUTH_X + 3) & (z > 14))
    x, v, age = x[near], y[near] - MOUTH_Y, aging(factors)
    colors = albedo.take(near, 1)
    across = np.clip(1 - (x / (MOUTH_X + 0.6)) ** 2, 0, 1)
    upper = person.lip_fullness[0] * (1 - 0.35 * age) * across**0.75 * (1 - person.cupid_bow * line(x, 2.4))
    lower = person.lip_fullness[1] * (1 - 0.3 * age) * across**0.6
    alpha = smoothstep(-0.6, 0.7, np.minimum(v + upper, lower - v)) * (across > 0)
    texture = 1 + 0.07 * sample(noise(0.8), x * 5, v * 1.2) - 0.12 * (v < 0)
    blend(colors, column(person.lip_color) * texture, 0.88 * alpha)
    gloss[near] += 0.25 * alpha * (v > 0.5)
    blend(colors, column(person.lip_color * 0.22), 0.8 * line(v, 0.75) * np.clip(1.25 * across + 0.15, 0, 1))
    if factors.mouth_open > 0.8:
        _paint_teeth(colors, x, v, across, factors.mouth_open, age)
    put(albedo, near, colors)


def _paint_teeth(colors: Floats, x: Floats, v: Floats, across: Floats, mouth_open: float, age: float) -> None:
    """Paint teeth and the dark mouth; ``v`` is y below the line of the mouth, ``across`` 1 mid-mouth, 0 at corners."""
    strip = 0.42  # half the height, on the template, of the strip that stretches when the mouth opens
    opening = np.clip(1 - np.abs(v) / (strip + 0.15), 0, 1) * (np.abs(x) < MOUTH_X + 1.2)
    depth = np.clip((v + strip) / (2 * strip), 0, 1) * mouth_open
    teeth = smoothstep(0.1, 0.4, depth) * smoothstep(3.6, 3.0, depth) * (np.abs(x) < 10.5)
    teeth *= 1 - 0.35 * (np.abs(np.sin(x * 1.1)) < 0.14)
    color = _MOUTH + (_TEETH * (1 - 0.25 * age) - _MOUTH) * teeth
    blend(colors, color, np.minimum(1, opening * 3) * (across > 0.16))


def paint_beard(albedo: Floats, points: Floats, person: Identity, factors: Factors) -> None:
    """Paint a beard, a moustache, or stubble on a shaven masculine face; nothing on a feminine one."""
    if person.masculinity < 0:
        return
    x, y, z = points
    near = np.flatnonzero((y > 4) & (y < 72) & (z > -12))
    x, y, z = x[near], y[near], z[near]
    style = {"moustache": "moustache", "goatee": "goatee"}.get(person.beard, "full")
    region = _beards()[style].take(cell(x, y)) * smoothstep(-12, 6, z)
    density = {"none": 0.10, "stubble": 0.38}.get(person.beard, 0.95 * person.beard_density)
    hairs = sample(noise(1.0, 3.0), x * 3.2 - y * 0.4, y * 1.7)
    alpha = np.clip(density * (0.45 + 0.55 * factors.beard_growth) * (1 + 0.35 * hairs), 0, 1) * region
    colors = albedo.take(near, 1)
    blend(colors, column(hair_color(person, 1.1 * aging(factors)) * 0.9) * (1 + 0.2 * hairs), alpha)
    put(albedo, near, colors)


@cache
def _beards() -> dict[str, Floats]:
    """Tables of the density of each style of beard, 0 to 1."""

    def lips_and_cheeks(x: Floats, y: Floats) -> Floats:
        off_lips = smoothstep(-0.8, 1.0, np.hypot(x / (MOUTH_X + 0.5), (y - MOUTH_Y) / 5.5) * 6 - 6)
        return off_lips * smoothstep(-1, 8, y - 26 + 40 * smoothstep(14, 34, abs(x)))

    def full(x: Floats, y: Floats) -> Floats:
        cheek = y - (22 + 17 * smoothstep(36, 14, abs(x)) - 26 * smoothstep(34, 42, abs(x)))
        return smoothstep(-3, 4, cheek) * smoothstep(72, 62, y) * lips_and_cheeks(x, y)

    def moustache(x: Floats, y: Floats) -> Floats:
        band = smoothstep(27.0, 29.5, y) * smoothstep(40.5, 38, y - 0.15 * abs(x)) * smoothstep(18, 14, abs(x))
        return band * lips_and_cheeks(x, y)

    def goatee(x: Floats, y: Floats) -> Floats:
        chin = smoothstep(18, 13, abs(x)) * smoothstep(42, 46, y - 0.2 * abs(x) + 2) * smoothstep(72, 62, y)
        return np.maximum(moustache(x, y), chin * lips_and_cheeks(x, y))

    return tabulate({"full": full, "moustache": moustache, "goatee": goatee})


def paint_brows(albedo: Floats, points: Floats, person: Identity, factors: Factors) -> None:
    """Paint the eyebrows."""
    x, y, z = points
    near = np.flatnonzero((y > -24) & (y < -3) & (np.abs(x) < EYE_X + 17) & (z > 14))
    x, y = x[near], y[near]
    ax, age = np.abs(x), aging(factors)
    start = 6.8 + person.brow_gap
    end = start + 1.75 * person.brow_length
    t = np.clip((ax - start) / (end - start), 0, 1)
    arch = np.sin(np.pi * np.clip(t * 0.9, 0, 1) ** 1.4) - 0.25
    middle = -person.brow_height + 0.6 - person.brow_arch * arch + 1.2 * t * t * t
    thickness = person.brow_thickness * (1 - 0.65 * t**1.5) * (1 - 0.15 * age)
    hairs = sample(noise(1.0, 3.0), (x - np.sign(x) * y * 0.9) * 4.2, y * 2.0)
    alpha = smoothstep(-0.8, 0.7, thickness - np.abs(y - middle) + 0.35 * hairs)
    alpha *= smoothstep(start - 1.6, start + 1.2, ax) * smoothstep(end + 1.2, end - 2.5, ax)
    fair = 0.30 * (person.hair_name == "blond")
    color = hair_color(person, 0.75 * age) * 0.75 * (1 - fair) + person.skin * 0.45 * fair
    colors = albedo.take(near, 1)
    blend(colors, column(color), (0.86 - fair * 0.6) * alpha)
    put(albedo, near, colors)


def paint_eyes(albedo: Floats, gloss: Floats, points: Floats, person: Identity, factors: Factors) -> None:
    """Paint lids, eyeballs and lashes.

    In the code ``e`` is the distance along x from the middle of the eye, positive towards the temple, and ``v`` is y
    below the tilted line of the eye.
    """
    x, y, z = points
    near = np.flatnonzero((y > -11) & (y < 9) & (np.abs(np.abs(x) - EYE_X) < 11) & (z > 14))
    x, y, age = x[near], y[near], aging(factors)
    colors = albedo.take(near, 1)
    e = np.abs(x) - EYE_X
    v = y + person.eye_tilt * e + 0.2
    t = np.clip(e / person.eye_width, -1, 1)
    round_ = 1 - t * t
    within = smoothstep(person.eye_width + 0.7, person.eye_width - 0.3, np.abs(e))
    squint = 1 - 0.22 * min(factors.smile, 1) - 0.15 * age + 0.15 * min(factors.brow_raise, 1)
    opening = person.eye_opening[0] * squint * round_**0.62 * (1 + 0.12 * t)
    lower = person.eye_opening[1] * (0.9 + 0.1 * squint) * round_**0.75 * (1 + 0.18 * t)
    upper = -opening + (opening + 0.75 * lower) * factors.eye_closing
    crease = upper - 1.3 - 1.5 * round_ * (1 - factors.eye_closing) + 0.5 * age
    alpha = line(v - crease, 0.65) * smoothstep(10.5, 6, np.abs(e))
    blend(colors, column(person.skin * 0.35), (0.25 + 0.45 * person.lid_crease) * alpha)
    blend(colors, column(person.skin * 0.5), 0.30 * line(v - lower - 0.8, 0.8) * within)

    inside = smoothstep(-0.35, 0.45, np.minimum(v - upper, lower - v)) * (np.abs(e) < person.eye_width)
    ball = _eyeball(e, v, t, np.sign(x), person, factors)
    blend(colors, ball * (0.45 + 0.55 * smoothstep(0.0, 2.2, v - upper)), inside)  # the upper lid shades the eye
    blend(colors, column((1, 1, 1)), 0.85 * _reflection(e * np.sign(x), v, factors) * inside)
    gloss[near] *= 1 - inside
    lash = line(v - upper + 0.15, 0.45 + 0.3 * person.lashes) * within
    blend(colors, _LASHES, (0.55 + 0.4 * person.lashes) * lash)
    lash = line(v - lower, 0.45) * within * smoothstep(-6, 4, e)
    blend(colors, _LOWER_LASHES, (0.2 + 0.3 * person.lashes) * lash)
    put(albedo, near, colors)


def _eyeball(e: Floats, v: Floats, t: Floats, side: Floats, person: Identity, factors: Factors) -> Floats:
    """Colour (3, N) of the eyeball: white, iris and pupil; ``side`` (N,) is -1 for the left of the image, else 1."""
    iris_x, iris_y = e * side - 2.2 * factors.gaze_x, v + 0.35 - 1.3 * factors.gaze_y
    radius = np.hypot(iris_x, iris_y)
    corner = line(e + person.eye_width - 0.4, 1.1)
    white = _SCLERA * (1 - 0.30 * np.abs(t) ** 3 - 0.1 * aging(factors)) * (1 - column((0.1, 0.45, 0.4)) * corner)
    fibres = 1 + 0.22 * np.cos(np.arctan2(iris_y, iris_x) * 14) * smoothstep(1.0, 2.6, radius)
    iris = column(person.eye_color) * (fibres * (1.35 - 0.75 * smoothstep(2.1, 3.5, radius)))
    color = white + (iris - white) * smoothstep(3.65, 3.15, radius)
    return color * (1 - 0.97 * smoothstep(1.75, 1.3, radius))


def _reflection(x: Floats, v: Floats, factors: Factors) -> Floats:
    """Opacity (N,) of the reflection of the light on the eyeball, shifted towards the light."""
    shift = float(np.clip(np.sin(np.radians(factors.light_azimuth_degrees)), -0.7, 0.7)) * 1.5
    return gauss(x - 2.2 * factors.gaze_x - shift, v + 1.25 - 1.3 * factors.gaze_y, 0.42, 0.42)
