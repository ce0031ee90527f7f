"""Render one face from an identity seed and an image seed.

Each face is rendered alone, in NumPy without BLAS. Its bits therefore depend neither on the other images of a call nor
on the number of processes or threads. V counts vertices.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from generate.render import camera, head, shading
from generate.render.people import Factors, Identity, aging, draw_factors, draw_identity
from generate.render.texture import Floats

IDENTITIES_PER_SEED = 1_000_000
PROTOCOL_IDENTITIES = 2**40  # first identity seed of the protocols; datasets use smaller ones


def factor_table(identity_seeds: Sequence[int], image_seeds: Sequence[int]) -> pd.DataFrame:
    """The true factors of images: one row per image with the two seeds, then the fields of ``Factors``.

    Args:
        identity_seeds: Person in each image, 0 or more.
        image_seeds: Number of the image among those of that person, 0 or more; as many as ``identity_seeds``.
    """
    seeds = [(int(i), int(j)) for i, j in zip(identity_seeds, image_seeds, strict=True)]
    return pd.DataFrame([{"identity_seed": i, "image_seed": j, **asdict(draw_factors(i, j))} for i, j in seeds])


def alignment_error(identity_seed: int, image_seed: int, factors: Factors) -> NDArray[np.float64]:
    """Difference between the alignment of a face by noisy landmarks and by the true ones, shape (4,).

    The numbers are the logarithm of the scale, the rotation in radians, and the shift of the image's centre in pixels,
    to the right and down. All are 0 if ``landmark_jitter`` is 0.

    Args:
        identity_seed: Person in the image, as for ``render_face``.
        image_seed: Number of the image among those of the person.
        factors: Circumstances of the image.
    """
    rng = np.random.default_rng([4, identity_seed, image_seed])
    surface = _expressive_surface(draw_identity(identity_seed), factors)[:, head.template().landmarks]
    head_to_camera = camera.rotation(factors.yaw_degrees, factors.pitch_degrees)
    landmarks = camera.project(surface, head_to_camera, factors.distance)[:2]
    a, b = camera.align(landmarks, factors, rng)
    exact_a, exact_b = camera.align(landmarks, replace(factors, landmark_jitter=0.0), rng)
    turn, centre = a / exact_a, complex(camera.SIZE, camera.SIZE) / 2
    shift = turn * (centre - exact_b) + b - centre
    return np.array([np.log(abs(turn)), np.angle(turn), shift.real, shift.imag])


def render_face(identity_seed: int, image_seed: int, factors: Factors) -> NDArray[np.uint8]:
    """One face, uint8 RGB, shape (112, 112, 3), aligned to the ArcFace template.

    Args:
        identity_seed: Person to show, 0 or more.
        image_seed: Number of the image among those of the person, 0 or more.
        factors: Circumstances of the image, usually ``draw_factors(identity_seed, image_seed)``.
    """
    person, rng = draw_identity(identity_seed), _image_rng(identity_seed, image_seed)
    surface, head_to_camera, placed = _place(person, factors, rng)
    fine = shading.shade(surface, head_to_camera, placed, person, factors)
    return shading.develop(camera.shrink(fine, factors.blur_pixels), factors, rng)


def face_landmarks(identity_seed: int, image_seed: int, factors: Factors) -> NDArray[np.float64]:
    """The true landmarks of the face that ``render_face`` renders, x and y in its pixels, shape (5, 2).

    Whole numbers are pixel centres. The order is that of the ArcFace template: the eye on the left of the image, the
    other eye, nose, left and right corner of the mouth. In profile a landmark may lie behind the head.

    Args:
        identity_seed: Person to show, as for ``render_face``.
        image_seed: Number of the image among those of the person.
        factors: Circumstances of the image.
    """
    _, _, placed = _place(draw_identity(identity_seed), factors, _image_rng(identity_seed, image_seed))
    return placed[:2, head.template().landmarks].T.astype(np.float64) / camera.SUPERSAMPLING - 0.5


def _image_rng(identity_seed: int, image_seed: int) -> np.random.Generator:
    """Source of the noise of one image."""
    return np.random.default_rng([4, identity_seed, image_seed])


def _place(person: Identity, factors: Factors, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Vertices (3, V) of a head, its rotation (3, 3), and the vertices in the fine image after alignment, (3, V)."""
    surface = _expressive_surface(person, factors)
    head_to_camera = camera.rotation(factors.yaw_degrees, factors.pitch_degrees)
    projected = camera.project(surface, head_to_camera, factors.distance)
    similarity = camera.align(projected[:2, head.template().landmarks], factors, rng)
    return surface, head_to_camera, camera.to_fine_image(projected, similarity)


@lru_cache(maxsize=64)
def _neutral_surface(identity_seed: int) -> Floats:
    """Vertices (3, V) of a person's head at the age of 20, without expression."""
    mesh, person = head.template(), draw_identity(identity_seed)
    points = mesh.points + head.weighted_fields(mesh.identity_fields, head.IDENTITY_FIELDS, person.shape)
    scale = np.array([[person.ear_flare], [person.ear_size], [person.ear_size]], np.float32)
    for side, grid in head.EAR_GRIDS.items():
        first, rows, columns = mesh.grids[grid]
        ear = slice(first, first + rows * columns)
        shift = (points[:, ear] - mesh.points[:, ear]).mean(1, keepdims=True)
        pivot = shift + np.array([[side * 39.0], [8.0], [-6.0]], np.float32)
        points[:, ear] = pivot + (points[:, ear] - pivot) * scale
    points.setflags(write=False)
    return points


def _expressive_surface(person: Identity, factors: Factors) -> Floats:
    """Vertices (3, V) of a person's head with expression, age and hair."""
    mesh = head.template()
    motion = {name: getattr(factors, name) for name in head.EXPRESSION_FIELDS if name != "age"}
    motion = {name: value for name, value in (motion | {"age": aging(factors)}).items() if value}
    displacement = head.weighted_fields(mesh.expression_fields, head.EXPRESSION_FIELDS, motion)
    surface = _neutral_surface(person.seed) + displacement
    shading.lift_hair(surface, person, factors)
    return surface
