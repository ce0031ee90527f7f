"""Template coordinates of pixels in, colours out: skin, eyes, brows, lips, beard, hair.

Everything is painted in the coordinates of the mean head, so it moves with the surface. Colours are linear RGB, as
arrays (3, N); N counts pixels. ``ax`` is the distance from the middle of the face, ``e`` that from the middle of the
eye (positive towards the temple).
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from generate.head import EYE_X, MOUTH_X, MOUTH_Y, smoothstep
from generate.people import Factors, Identity, linear

Floats = NDArray[np.floating]
_TILE = 256


@cache
def _noise(roughness: float, stretch: float = 1.0) -> Floats:
    """Tileable noise (_TILE, _TILE), mean 0 and spread 1; amplitudes fall as frequency ** -roughness."""
    rng = np.random.default_rng([3, round(roughness * 100), round(stretch * 100)])
    fy, fx = np.fft.fftfreq(_TILE)[:, None] * stretch, np.fft.fftfreq(_TILE)[None]
    frequency = np.maximum(np.hypot(fx, fy), 2 / _TILE)
    field = np.fft.ifft2(np.fft.fft2(rng.standard_normal((_TILE, _TILE))) * frequency**-roughness).real
    return ((field - field.mean()) / field.std()).astype(np.float32)


def _sample(noise: Floats, x: Floats, y: Floats) -> Floats:
    """Noise at (x, y) in texels, wrapped, nearest."""
    return noise.ravel().take((y.astype(np.int32) & (_TILE - 1)) * _TILE + (x.astype(np.int32) & (_TILE - 1)))


def _gauss(dx: Floats, dy: Floats, sx: float, sy: float) -> Floats:
    return np.exp(-0.5 * ((dx / sx) ** 2 + (dy / sy) ** 2))


def _fourth(x: Floats) -> Floats:
    """X to the fourth; NumPy's power of a float32 array is forty times as slow."""
    square = x * x
    return square * square


def _column(color: NDArray) -> Floats:
    return np.asarray(color, np.float32)[:, None]


def _blend(albedo: Floats, where: NDArray[np.int64], color: Floats, alpha: Floats) -> None:
    """Paint ``color`` (3, 1) or (3, n) over the pixels ``where`` (n,) with opacity ``alpha`` (n,)."""
    under = albedo[:, where]
    albedo[:, where] = under + (color - under) * alpha


def aging(factors: Factors) -> float:
    """0 at 20 years or younger, 1 at 80."""
    return float(np.clip((factors.age_years - 20) / 60, 0, 1))


def paint_head(
    x: Floats, y: Floats, z: Floats, hair: Floats, person: Identity, factors: Factors
) -> tuple[Floats, Floats]:
    """Colour (3, N) and gloss (N,) of head and ears.

    Args:
        x: Template coordinates, each (N,); so are ``y`` and ``z``.
        y: As above.
        z: As above.
        hair: Signed distance to the hairline, positive where hair grows, (N,).
        person: Who it is.
        factors: Age, expression, beard growth.
    """
    ax, age = np.abs(x), aging(factors)
    albedo, gloss = _skin(x, ax, y, z, person, age)
    front = np.flatnonzero((z > 14) & (ax < 37) & (y > -46) & (y < 66))
    fx, fax, fy = x[front], ax[front], y[front]
    _wrinkles(albedo, front, fx, fax, fy, factors, age)
    _lips(albedo, gloss, front, fx, fy, person, factors, age)
    _beard(albedo, x, ax, y, z, person, factors, age)
    near = front[(np.abs(fax - EYE_X) < 15) & (fy > -24) & (fy < 12)]
    _brows(albedo, near, x[near], ax[near], y[near], person, age)
    _eyes(albedo, gloss, near, x[near], ax[near], y[near], person, factors)
    _stubbly_scalp(albedo, gloss, hair, x, y, z, person, age)
    return albedo, gloss


def _around(x: Floats, z: Floats) -> Floats:
    """Length along the skin from the middle of the face, roughly; so that textures do not smear over the sides."""
    return x + (50 - z) * np.clip(x / 40, -1, 1)


def _skin(x: Floats, ax: Floats, y: Floats, z: Floats, person: Identity, age: float) -> tuple[Floats, Floats]:
    offset = person.seed % 9973
    around = _around(x, z)
    coarse = _sample(_noise(1.6), around * 1.6 + offset, y * 1.6 + offset // 7)
    pores = _sample(_noise(0.3), around * 3.1 + offset, y * 3.1)
    albedo = _column(person.skin) * (1 + (0.05 + 0.05 * age) * coarse + (0.035 + 0.03 * age) * pores)
    blush = (
        _gauss(ax - 23, y - 21, 8, 8) + 0.8 * _gauss(x, y - 20, 6, 4) + 0.4 * _gauss(x, y - 56, 7, 4) + 0.5 * (ax > 41)
    )
    blush *= 0.3 + 0.5 * person.ruddiness + 0.15 * coarse
    albedo *= 1 + _column(np.array([0.06, -0.16, -0.14])) * blush
    shade = 0.16 + 0.22 * age
    dark = shade * _gauss(ax - 15, y - 7.5, 6, 3) + 0.10 * _gauss(ax - 12, y + 3, 4, 4)
    dark += 0.20 * _gauss(x, y - 26.5, 6, 1.8) + 0.16 * _gauss(ax - 11.6, y - 21, 1.5, 3.5)
    dark += 0.20 * _gauss(x, y - 49.5, 7, 1.8) + 0.10 * _gauss(x, y - 31, 1.3, 4)
    dark += 0.55 * _gauss(ax - 3.4, y - 23.6 + 0.25 * ax, 1.5, 0.8) * (z > 30)  # nostrils
    dark += 0.40 * smoothstep(57, 66, y) * smoothstep(38, 20, z)
    albedo *= 1 - _column(np.array([0.75, 0.95, 1.0])) * np.minimum(dark, 0.85)
    if person.freckles > 0.05 or age > 0.5:
        spots = smoothstep(1.1, 1.9, _sample(_noise(0.7), around * 2.3 + offset // 3, y * 2.3 + offset))
        amount = min(person.freckles, 1) * _gauss(x, y - 14, 24, 14) + 0.5 * max(0, age - 0.4) * (coarse > 0.2)
        albedo *= 1 - _column(np.array([0.35, 0.52, 0.6])) * spots * np.minimum(amount, 1)
    for mole_x, mole_y, radius in person.moles:
        near = np.flatnonzero((np.abs(x - mole_x) < 4) & (np.abs(y - mole_y) < 4) & (z > 15))
        alpha = np.exp(-((((x[near] - mole_x) ** 2 + (y[near] - mole_y) ** 2) / radius**2) ** 2))
        _blend(albedo, near, _column(person.skin * 0.22), 0.85 * alpha)
    gloss = 0.16 + 0.14 * _gauss(x, y - 12, 7, 12) + 0.12 * _gauss(x, y + 26, 16, 9) - 0.05 * age
    return albedo.astype(np.float32), gloss.astype(np.float32)


def _wrinkles(
    albedo: Floats, where: NDArray[np.int64], x: Floats, ax: Floats, y: Floats, factors: Factors, age: float
) -> None:
    old = age**1.6
    wave = 0.9 * np.sin(x * 0.17) + 0.5 * np.sin(x * 0.41 + 1)
    depth = np.zeros_like(x)
    high = np.flatnonzero(y < -15)
    forehead = (0.30 * old + 0.22 * min(factors.brow_raise, 1.2)) * np.exp(-_fourth(x[high] / 22))
    for line_y, strength in ((-19.5, 1.0), (-25.0, 0.9), (-30.5, 0.7)):
        depth[high] += strength * forehead * np.exp(-(((y[high] - line_y - wave[high]) / 0.75) ** 2))
    e = ax - EYE_X
    side = np.flatnonzero((e > 5) & (np.abs(y - 1) < 16))
    rays = np.cos(np.arctan2(y[side] - 1, e[side] - 5) * 9) ** 2
    feet = rays * rays * rays * _gauss(e[side] - 13.5, y[side] - 1, 2.6, 5)
    depth[side] += (0.45 * old + 0.25 * min(factors.smile, 1) * (0.3 + age)) * feet
    fold = (
        np.exp(-(((ax - 10 - (y - 19) * 0.33 - 0.004 * (y - 19) ** 2) / 1.1) ** 2))
        * smoothstep(17, 23, y)
        * smoothstep(43, 35, y)
    )
    depth += (0.05 + 0.40 * old + 0.24 * min(factors.smile, 1)) * fold
    depth += (
        0.35 * old * np.exp(-(((ax - 16 - (y - 43) * 0.22) / 0.9) ** 2)) * smoothstep(42, 45, y) * smoothstep(56, 50, y)
    )
    bag = np.exp(-(((y - 9.0 + 0.035 * (e + 2) ** 2) / 0.8) ** 2)) * np.exp(-_fourth(e / 8))
    depth += 0.34 * old * bag
    depth += (0.25 * old + 0.28 * min(factors.frown, 1)) * _gauss(ax - 3.4 - 0.1 * (y + 10), y + 11, 0.55, 3.2)
    albedo[:, where] *= 1 - _column(np.array([0.85, 1.0, 1.0])) * np.minimum(depth, 0.7)


def _lips(
    albedo: Floats, gloss: Floats, where: NDArray, x: Floats, y: Floats, person: Identity, factors: Factors, age: float
) -> None:
    near = np.flatnonzero((np.abs(x) < MOUTH_X + 3) & (np.abs(y - MOUTH_Y) < 10))
    where, x, v = where[near], x[near], y[near] - MOUTH_Y
    across = np.clip(1 - (x / (MOUTH_X + 0.6)) ** 2, 0, 1)
    upper = (
        person.lip_fullness[0] * (1 - 0.35 * age) * across**0.75 * (1 - person.cupid_bow * np.exp(-((x / 2.4) ** 2)))
    )
    lower = person.lip_fullness[1] * (1 - 0.3 * age) * across**0.6
    inside = np.minimum(v + upper, lower - v)
    alpha = smoothstep(-0.6, 0.7, inside) * (across > 0.0)
    texture = 1 + 0.07 * _sample(_noise(0.8), x * 5, v * 1.2) - 0.12 * (v < 0)
    _blend(albedo, where, _column(person.lip_color) * texture, 0.88 * alpha)
    gloss[where] += 0.25 * alpha * (v > 0.5)
    # the strip between the two rows of the lips stretches into the open mouth
    strip = 0.42
    opening = np.clip(1 - np.abs(v) / (strip + 0.15), 0, 1) * (np.abs(x) < MOUTH_X + 1.2)
    line = np.exp(-((v / 0.75) ** 2)) * np.clip(1.25 * across + 0.15, 0, 1)
    _blend(albedo, where, _column(person.lip_color * 0.22), 0.8 * line)
    if factors.mouth_open > 0.8:
        alpha = np.minimum(1, opening * 3) * (across > 0.16)
        depth = np.clip((v + strip) / (2 * strip), 0, 1) * factors.mouth_open
        teeth = smoothstep(0.1, 0.4, depth) * smoothstep(3.6, 3.0, depth) * (np.abs(x) < 10.5)
        teeth *= 1 - 0.35 * (np.abs(np.sin(x * 1.1)) < 0.14)
        color = (
            _column(linear((70, 22, 22)))
            + (_column(linear((226, 214, 196))) * (1 - 0.25 * age) - _column(linear((70, 22, 22)))) * teeth
        )
        _blend(albedo, where, color, alpha)


def _beard(
    albedo: Floats, x: Floats, ax: Floats, y: Floats, z: Floats, person: Identity, factors: Factors, age: float
) -> None:
    if person.masculinity < 0:
        return
    where = np.flatnonzero((y > 4) & (y < 72) & (z > -12))
    x, ax, y, z = x[where], ax[where], y[where], z[where]
    cheek = y - (22 + 17 * smoothstep(36, 14, ax) - 20 * smoothstep(34, 42, ax))
    full = smoothstep(-3, 4, cheek) * smoothstep(72, 62, y)
    lip = 1 - smoothstep(1.0, -0.8, np.hypot(x / (MOUTH_X + 0.5), (y - MOUTH_Y) / 5.5) * 6 - 6)
    moustache = smoothstep(27.0, 29.5, y) * smoothstep(40.5, 38, y - 0.15 * ax) * smoothstep(18, 14, ax)
    goatee = np.maximum(
        moustache, smoothstep(18, 13, ax) * smoothstep(42, 46, y - 0.2 * ax + 2) * smoothstep(72, 62, y)
    )
    region = {"none": full, "stubble": full, "moustache": moustache, "goatee": goatee, "full": full}[person.beard]
    region = (
        region * np.clip(lip, 0, 1) * smoothstep(-12, 6, z) * smoothstep(-1, 8, y - 26 + 40 * smoothstep(14, 34, ax))
    )
    density = {"none": 0.10, "stubble": 0.38}.get(person.beard, 0.95 * person.beard_density) * (
        0.45 + 0.55 * factors.beard_growth
    )
    hairs = _sample(_noise(1.0, 3.0), _around(x, z) * 3.2 - y * 0.4, y * 1.7)
    alpha = np.clip(density * (1 + 0.35 * hairs), 0, 1) * region
    color = _grey(person, 1.1 * age) * 0.9
    _blend(albedo, where, _column(color) * (1 + 0.2 * hairs), alpha)


def _grey(person: Identity, age: float) -> Floats:
    share = float(smoothstep(0.35, 1.0, np.asarray(age, np.float32)))
    return (person.hair_color * (1 - 0.9 * share) + linear((196, 192, 188)) * 0.9 * share).astype(np.float32)


def _brows(albedo: Floats, where: NDArray, x: Floats, ax: Floats, y: Floats, person: Identity, age: float) -> None:
    start, end = 6.8 + person.brow_gap, 6.8 + person.brow_gap + 1.75 * person.brow_length
    t = np.clip((ax - start) / (end - start), 0, 1)
    middle = (
        -person.brow_height
        + 0.6
        - person.brow_arch * (np.sin(np.pi * np.clip(t * 0.9, 0, 1) ** 1.4) - 0.25)
        + 1.2 * t**3
    )
    thickness = person.brow_thickness * (1 - 0.65 * t**1.5) * (1 - 0.15 * age)
    hairs = _sample(_noise(1.0, 3.0), (x - np.sign(x) * y * 0.9) * 4.2, y * 2.0)
    alpha = smoothstep(-0.8, 0.7, thickness - np.abs(y - middle) + 0.35 * hairs)
    alpha *= smoothstep(start - 2.0, start + 3.5, ax - 0.8 * (y - middle)) * smoothstep(end + 1.2, end - 2.5, ax)
    fair = 0.30 * (person.hair_name == "blond")
    color = _grey(person, 0.75 * age) * 0.75 * (1 - fair) + person.skin * 0.45 * fair
    _blend(albedo, where, _column(color), (0.86 - fair * 0.6) * alpha)


def _eyes(
    albedo: Floats,
    gloss: Floats,
    where: NDArray,
    x: Floats,
    ax: Floats,
    y: Floats,
    person: Identity,
    factors: Factors,
) -> None:
    age = aging(factors)
    e = ax - EYE_X
    v = y + person.eye_tilt * e + 0.2
    t = np.clip(e / person.eye_width, -1, 1)
    within = smoothstep(person.eye_width + 0.7, person.eye_width - 0.3, np.abs(e))
    squint = 1 - 0.22 * min(factors.smile, 1) - 0.15 * age + 0.15 * min(factors.brow_raise, 1)
    upper_open = person.eye_opening[0] * squint * (1 - t**2) ** 0.62 * (1 + 0.12 * t)
    lower = person.eye_opening[1] * (0.9 + 0.1 * squint) * (1 - t**2) ** 0.75 * (1 + 0.18 * t)
    upper = -upper_open + (upper_open + 0.75 * lower) * factors.eye_closing
    crease = upper - 1.3 - 1.5 * (1 - t**2) * (1 - factors.eye_closing) + 0.5 * age
    alpha = np.exp(-(((v - crease) / 0.65) ** 2)) * smoothstep(10.5, 6, np.abs(e))
    _blend(albedo, where, _column(person.skin * 0.35), (0.25 + 0.45 * person.lid_crease) * alpha)
    alpha = np.exp(-(((v - lower - 0.8) / 0.8) ** 2)) * within
    _blend(albedo, where, _column(person.skin * 0.5), 0.30 * alpha)

    inside = smoothstep(-0.35, 0.45, np.minimum(v - upper, lower - v)) * (np.abs(e) < person.eye_width)
    side = np.sign(x)
    iris_x = e * side - 2.2 * factors.gaze_x
    iris_y = v + 0.35 - 1.3 * factors.gaze_y
    radius = np.hypot(iris_x, iris_y)
    corner = np.exp(-(((e + person.eye_width - 0.4) / 1.1) ** 2))
    sclera = (
        _column(linear((226, 220, 214)))
        * (1 - 0.30 * np.abs(t) ** 3 - 0.1 * age)
        * (1 - _column(np.array([0.1, 0.45, 0.4])) * corner)
    )
    fibres = 1 + 0.22 * np.cos(np.arctan2(iris_y, iris_x) * 14) * smoothstep(1.0, 2.6, radius)
    iris = _column(person.eye_color) * fibres * (1.35 - 0.75 * smoothstep(2.1, 3.5, radius))
    color = sclera + (iris - sclera) * smoothstep(3.65, 3.15, radius)
    color = color * (1 - 0.97 * smoothstep(1.75, 1.3, radius))
    color = color * (0.45 + 0.55 * smoothstep(0.0, 2.2, v - upper))  # the upper lid shades the eye
    _blend(albedo, where, color.astype(np.float32), inside)
    glint_x = np.clip(np.sin(np.radians(factors.light_azimuth_degrees)), -0.7, 0.7) * 1.5
    glint = np.exp(-(((iris_x - glint_x) / 0.6) ** 2) - ((iris_y + 0.9) / 0.6) ** 2)
    _blend(albedo, where, _column(np.ones(3)), 0.85 * glint * inside)
    gloss[where] = gloss[where] * (1 - inside)
    lash = np.exp(-(((v - upper + 0.15) / (0.45 + 0.3 * person.lashes)) ** 2)) * within
    _blend(albedo, where, _column(linear((24, 18, 16))), (0.55 + 0.4 * person.lashes) * lash)
    lash = np.exp(-(((v - lower) / 0.45) ** 2)) * within * smoothstep(-6, 4, e)
    _blend(albedo, where, _column(linear((40, 28, 24))), (0.2 + 0.3 * person.lashes) * lash)


def _stubbly_scalp(
    albedo: Floats, gloss: Floats, hair: Floats, x: Floats, y: Floats, z: Floats, person: Identity, age: float
) -> None:
    where = np.flatnonzero(hair > -4)
    strands = _strands(x[where], y[where], z[where], person)
    alpha = smoothstep(-2.6, 2.6, hair[where] + 2.2 * strands)
    _blend(albedo, where, _column(_grey(person, age)) * (0.8 + 0.2 * strands), alpha)
    gloss[where] *= 1 - alpha


def _strands(x: Floats, y: Floats, z: Floats, person: Identity) -> Floats:
    """Noise that runs along the hair, mean 0 and spread about 1."""
    around = np.arctan2(x, z + 6) * 40
    phase = 2.5 * _sample(_noise(1.6), around * 1.2, y * 1.2)
    wave = person.curl * 1.8 * np.sin(y * (0.35 + 0.3 * person.curl) + 0.12 * around + phase)
    fine = _sample(_noise(0.9, 9.0), around * 3.4 + wave * 3.4, y * 1.6 + person.seed % 211)
    return 0.8 * fine + 0.45 * _sample(_noise(1.8, 5.0), around * 0.9 + wave, y * 0.6)


def paint_hair(
    x: Floats, y: Floats, z: Floats, hair: Floats, person: Identity, factors: Factors
) -> tuple[Floats, Floats]:
    """Colour (3, N) and opacity (N,) of the hair's shell."""
    strands = _strands(x, y, z, person)
    alpha = smoothstep(-1.2, 1.6, hair + 2.2 * strands)
    color = _column(_grey(person, aging(factors))) * (1 + 0.30 * strands)
    root = smoothstep(14, 0, hair) * 0.25
    return (color * (1 - root)).astype(np.float32), alpha


_HAIR_AZIMUTH = np.array([0, 16, 36, 52, 62, 70, 77, 85, 100, 116, 140, 180], np.float32)


def hair_distance(x: Floats, y: Floats, z: Floats, person: Identity, factors: Factors) -> Floats:
    """Signed distance to the edge of the hair in y, positive where hair grows, at template points (V,)."""
    age, length = aging(factors), person.hair_length
    front = person.hairline - 26 * person.balding * age
    temple = front + 1 - (7 * person.temple_recession + 10 * person.balding) * (0.4 + 0.6 * age)
    low = person.hairline + person.fringe * (-14 - person.hairline)
    if person.fringe:
        front = temple = low
    if length > 8:  # hangs over the ears
        limits = [
            front + person.widow_peak,
            front,
            temple,
            -21,
            -11,
            min(6, length),
            length,
            length,
            length,
            length + 2,
            length + 6,
            length + 8,
        ]
        limits[5] = min(length, 20) if length > 20 else -4
    else:
        limits = [front + person.widow_peak, front, temple, -22, -13, -8, length + 9, length + 6, -10, 10, 27, 31]
    azimuth = np.degrees(np.arctan2(np.abs(x), z + 4))
    limit = np.interp(azimuth, _HAIR_AZIMUTH, limits).astype(np.float32)
    return limit - y


def hair_thickness(hair: Floats, x: Floats, y: Floats, z: Floats, person: Identity) -> Floats:
    """How far the shell of the hair stands off the skull at template points (V,)."""
    bumps = _sample(_noise(1.0), np.arctan2(x, z) * 26 + person.seed % 97, y * 0.7 + 300)
    lift = smoothstep(-1, 11, hair)
    side = 1 + 0.25 * person.parting * np.tanh(x / 14) * smoothstep(-20, -50, y)
    return (0.3 + person.hair_volume * side + (0.35 + 1.1 * person.curl) * bumps * 0.8) * lift - 0.9 * (1 - lift)
