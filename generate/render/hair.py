"""Hair of a person at an age: where it grows, how far it stands off the skull, and its colour.

The hair is a shell around the skull. The shell is transparent where hair is cut short or receding. V counts vertices, N
pixels.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from generate.render.head import EAR, HAIR_GRID, template
from generate.render.people import Factors, Identity, aging, linear
from generate.render.texture import Floats, blend, column, noise, put, sample, smoothstep

_AZIMUTHS = np.array([0, 16, 36, 52, 62, 70, 77, 85, 100, 116, 140, 180], np.float32)  # degrees, 0 is the front
_NO_HAIR = -99  # a distance far outside the hair
_GREY = linear((196, 192, 188))


def hair_color(person: Identity, age: float) -> Floats:
    """Hair colour, linear RGB, shape (3,); greys with ``age``, which runs from 0 (20 years) to 1 (80 years)."""
    grey_share = 0.9 * float(smoothstep(0.35, 1.0, np.asarray(age)))
    return (person.hair_color * (1 - grey_share) + _GREY * grey_share).astype(np.float32)


@cache
def _azimuth_intervals() -> tuple[NDArray[np.int64], Floats]:
    """Interval of _AZIMUTHS that each vertex lies in, (V,), and its position inside it from 0 to 1, (V,)."""
    x, _, z = template().points
    azimuth = np.degrees(np.arctan2(np.abs(x), z + 4))
    interval = np.clip(np.searchsorted(_AZIMUTHS, azimuth, "right") - 1, 0, len(_AZIMUTHS) - 2)
    return interval, ((azimuth - _AZIMUTHS[interval]) / np.diff(_AZIMUTHS)[interval]).astype(np.float32)


def hair_distance(person: Identity, factors: Factors) -> Floats:
    """Signed distance (V,) of each vertex from the edge of the hair along y; positive where hair grows.

    The lower edge is given at the azimuths of ``_AZIMUTHS`` and interpolated between them. Ears have no hair.
    """
    age, length = aging(factors), person.hair_length
    front = person.hairline - 26 * person.balding * age
    temple = front + 1 - (7 * person.temple_recession + 10 * person.balding) * (0.4 + 0.6 * age)
    if person.fringe:
        front = temple = person.hairline + person.fringe * (-14 - person.hairline)
    edge = [front + person.widow_peak, front, temple]
    if length > 8:  # hangs over the ears
        side = min(length, 20) if length > 20 else -4
        edge += [-21, -11, side, length, length, length, length + 2, length + 6, length + 8]
    else:
        edge += [-22, -13, -8, length + 9, length + 6, -10, 10, 27, 31]
    edge_y = np.array(edge, np.float32)
    interval, position = _azimuth_intervals()
    distance = edge_y.take(interval) + np.diff(edge_y).take(interval) * position - template().points[1]
    distance[template().part == EAR] = _NO_HAIR
    return distance


def hair_thickness(distance: Floats, person: Identity) -> Floats:
    """How far the shell stands off the skull at each of its vertices, in template units.

    Args:
        distance: As from ``hair_distance``, shape (V,).
        person: The person.

    Returns:
        Shape (rows * columns,) of the hair grid; slightly negative outside the hair, where the shell lies inside the
        skull.
    """
    first, rows, columns = template().grids[HAIR_GRID]
    shell = slice(first, first + rows * columns)
    x, y, z = template().points[:, shell]
    grid = distance[shell].reshape(rows, columns)
    # the smallest distance of seven columns, so that hair also lies flat where the face is beside it
    near = np.min([np.roll(grid, step, 1) for step in (-3, -2, -1, 0, 1, 2, 3)], axis=0).ravel()
    bumps = sample(noise(1.0), np.arctan2(x, z) * 26 + person.seed % 97, y * 0.7 + 300)
    lift = smoothstep(-1, 11, near)
    side = 1 + 0.25 * person.parting * np.tanh(x / 14) * smoothstep(-20, -50, y)
    return (0.3 + person.hair_volume * side + (0.35 + 1.1 * person.curl) * bumps * 0.8) * lift - 0.9 * (1 - lift)


def _strands(points: Floats, person: Identity) -> Floats:
    """Noise (N,) that looks like strands at template coordinates, with mean 0 and standard deviation about 1."""
    x, y, z = points
    around = np.arctan2(x, z + 6) * 40
    phase = 2.5 * sample(noise(1.6), around * 1.2, y * 1.2)
    wave = person.curl * 1.8 * np.sin(y * (0.35 + 0.3 * person.curl) + 0.12 * around + phase)
    fine = sample(noise(0.9, 9.0), (around + wave) * 3.4, y * 1.6 + person.seed % 211)
    return 0.8 * fine + 0.45 * sample(noise(1.8, 5.0), around * 0.9 + wave, y * 0.6)


def paint_hair(points: Floats, distance: Floats, person: Identity, factors: Factors) -> tuple[Floats, Floats]:
    """Colour (3, N) and opacity (N,) of the shell.

    Args:
        points: Template coordinates, shape (3, N).
        distance: As from ``hair_distance``, at these points, shape (N,).
        person: The person.
        factors: Circumstances of the image; only the age is used.
    """
    strands = _strands(points, person)
    root = 1 - smoothstep(14, 0, distance) * 0.25
    color = column(hair_color(person, aging(factors))) * ((1 + 0.30 * strands) * root)
    return color, smoothstep(-1.2, 1.6, distance + 2.2 * strands)


def paint_scalp(
    albedo: Floats, gloss: Floats, points: Floats, distance: Floats, person: Identity, factors: Factors
) -> None:
    """Paint the roots of the hair on the skin, in place.

    Args:
        albedo: Colour of the skin, shape (3, N).
        gloss: Gloss of the skin, shape (N,).
        points: Template coordinates, shape (3, N).
        distance: As from ``hair_distance``, at these points, shape (N,).
        person: The person.
        factors: Circumstances of the image; only the age is used.
    """
    near = np.flatnonzero(distance > -4)
    strands = _strands(points[:, near], person)
    alpha = smoothstep(-2.6, 2.6, distance[near] + 2.2 * strands)
    colors = albedo.take(near, 1)
    blend(colors, column(hair_color(person, aging(factors))) * (0.8 + 0.2 * strands), alpha)
    put(albedo, near, colors)
    gloss[near] *= 1 - alpha
