"""Seeds in, rendered faces out; and a dataset of them on disk, with the true factors of every image.

A face is a function of its identity seed and its image seed alone. Each is rendered by itself in NumPy,
so its bits depend neither on the other images of a call nor on the number of processes or threads.
"""

from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from generate import appearance, camera, head
from generate.people import Factors, Identity, draw_factors, draw_identity, linear

RENDER_VERSION = 1
IDENTITIES_PER_SEED = 1_000_000
PROTOCOL_IDENTITIES = 2**40  # identity seeds from here on belong to the protocols; datasets stay below

Floats = NDArray[np.floating]


def render_faces(
    identity_seeds: Sequence[int],
    image_seeds: Sequence[int],
    *,
    factors: Sequence[Factors] | None = None,
) -> NDArray[np.uint8]:
    """Faces, uint8 RGB of shape (num, 112, 112, 3), aligned to the ArcFace template.

    Args:
        identity_seeds: Who is shown, shape (num,), 0 or more.
        image_seeds: Which image of that person, shape (num,), 0 or more.
        factors: Circumstances per image; by default ``draw_factors`` of the two seeds.
    """
    jobs = _jobs(identity_seeds, image_seeds, factors)
    faces = np.empty((len(jobs), camera.SIZE, camera.SIZE, 3), np.uint8)
    for index, job in enumerate(jobs):
        faces[index] = render_face(*job)
    return faces


def factor_table(
    identity_seeds: Sequence[int], image_seeds: Sequence[int], *, factors: Sequence[Factors] | None = None
) -> pd.DataFrame:
    """The true factors of the same images, one row each: the two seeds, then the fields of ``Factors``."""
    jobs = _jobs(identity_seeds, image_seeds, factors)
    return pd.DataFrame([{"identity_seed": i, "image_seed": j, **asdict(f)} for i, j, f in jobs])


def _jobs(
    identity_seeds: Sequence[int], image_seeds: Sequence[int], factors: Sequence[Factors] | None
) -> list[tuple[int, int, Factors]]:
    identities, images = [int(i) for i in identity_seeds], [int(j) for j in image_seeds]
    if factors is None:
        factors = [draw_factors(i, j) for i, j in zip(identities, images, strict=True)]
    return list(zip(identities, images, factors, strict=True))


def render_face(identity_seed: int, image_seed: int, factors: Factors) -> NDArray[np.uint8]:
    """One face, uint8 RGB of shape (112, 112, 3)."""
    person = draw_identity(identity_seed)
    rng = np.random.default_rng([4, identity_seed, image_seed])
    points = _pose_surface(person, factors)
    turn = camera.rotation(factors)
    projected = camera.project(points, turn, factors.distance)
    similarity = camera.align(_landmarks(projected, points), factors, rng)
    pixels = camera.to_pixels(projected, similarity)
    fine = _shade(points, pixels, turn, person, factors)
    return _develop(camera.shrink(fine, factors.blur_pixels), factors, rng)


def _landmarks(projected: Floats, points: Floats) -> Floats:
    return projected[head.template().landmarks, :2]


@lru_cache(maxsize=64)
def _surface(identity_seed: int) -> Floats:
    """Vertices (V, 3) of a person's head at rest, at twenty."""
    mesh, person = head.template(), draw_identity(identity_seed)
    points = mesh.points + head.weighted_fields(mesh.identity_fields, head.IDENTITY_FIELDS, person.shape)
    for ear, side in ((2, -1), (3, 1)):
        first, rows, columns = mesh.grids[ear]
        block = points[first : first + rows * columns]
        pivot = np.array([side * 39.0, 8, -6], np.float32) + (
            block.mean(0) - mesh.points[first : first + rows * columns].mean(0)
        )
        scale = np.array([person.ear_flare, person.ear_size, person.ear_size], np.float32)
        block[:] = pivot + (block - pivot) * scale
    points.setflags(write=False)
    return points


def _pose_surface(person: Identity, factors: Factors) -> Floats:
    """Vertices (V, 3) with expression, age and hair."""
    mesh = head.template()
    motion = {
        "mouth_open": factors.mouth_open,
        "smile": factors.smile,
        "brow_raise": factors.brow_raise,
        "frown": factors.frown,
        "pucker": factors.pucker,
        "age": appearance.aging(factors),
    }
    motion = {name: value for name, value in motion.items() if value}
    points = _surface(person.seed) + head.weighted_fields(mesh.expression_fields, head.EXPRESSION_FIELDS, motion)
    first, rows, columns = mesh.grids[1]
    shell = slice(first, first + rows * columns)
    x, y, z = mesh.points[shell].T
    distance = appearance.hair_distance(x, y, z, person, factors)
    thickness = appearance.hair_thickness(_eroded(distance.reshape(rows, columns)), x, y, z, person)
    points[shell] += head.grid_normals(points, mesh.grids[1]) * thickness[:, None]
    return points


def _eroded(distance: Floats) -> Floats:
    """The least of a few neighbouring columns, so that hair lies flat beside the face as it does above it."""
    return np.min([np.roll(distance, step, 1) for step in (-3, -2, -1, 0, 1, 2, 3)], axis=0).ravel()


def _shade(points: Floats, pixels: Floats, turn: Floats, person: Identity, factors: Factors) -> Floats:
    """Linear image (3, FINE, FINE): background, then head, hair and glasses, front-most first."""
    mesh = head.template()
    base = mesh.points
    light_camera = _light_direction(factors)
    light, view = light_camera @ turn, np.array([0, 0, 1], np.float32) @ turn
    solid = camera.rasterise(pixels, mesh.solid)
    glasses = camera.rasterise(pixels, mesh.glasses) if factors.glasses != "none" else None

    depth = np.full(camera.FINE**2, -1e4, np.float32)
    depth[solid.pixel] = solid.depth
    normals = np.zeros_like(points)
    for part in mesh.grids[:4]:
        normals[part[0] : part[0] + part[1] * part[2]] = head.grid_normals(points, part)
    growth = appearance.hair_distance(base[:, 0], base[:, 1], base[:, 2], person, factors)
    growth[mesh.part == head.EAR] = -99
    corners = [growth.take(corner) for corner in mesh.shell.T]
    grown = np.asfortranarray(
        mesh.shell[np.max(corners, axis=0) > -4]
    )  # only where hair is: what is behind the opening shows
    shell = camera.rasterise(pixels, grown, two_sided=True)
    values = np.concatenate([normals, base, growth[:, None], mesh.row[:, None]], 1)

    nx, ny, nz, x, y, z, hair, row = camera.interpolate(values, mesh.solid, solid)
    albedo, gloss = appearance.paint_head(x, y, z, hair, person, factors)
    cloth = row > 90
    if cloth.any():
        albedo[:, cloth] = linear(np.random.default_rng([5, factors.background_seed]).integers(10, 230, 3))[:, None]
    snx, sny, snz, sx, sy, sz, shair, _ = camera.interpolate(values, grown, shell)
    tint, opacity = appearance.paint_hair(sx, sy, sz, shair, person, factors)
    opacity = opacity * (shell.depth > depth[shell.pixel])
    shell_depth = depth.copy()
    solid_hair = opacity > 0.5
    shell_depth[shell.pixel[solid_hair]] = shell.depth[solid_hair]
    grid = shell_depth.reshape(camera.FINE, camera.FINE)
    coarse = grid[np.ix_(camera.FINE_OF_COARSE, camera.FINE_OF_COARSE)] / np.float32(camera.SUPERSAMPLING)
    lost = camera.shadow(coarse, light_camera)[np.ix_(camera.COARSE_OF_FINE, camera.COARSE_OF_FINE)].ravel()

    image = _background(factors)
    normal = np.stack([nx, ny, nz])
    lit = _light(normal, albedo, gloss, lost[solid.pixel], light, view, factors)
    image[:, solid.pixel] = lit
    facing = np.sign(snx * view[0] + sny * view[1] + snz * view[2])
    lit = _light_hair(np.stack([snx, sny, snz]) * facing, tint, lost[shell.pixel], light, view, factors)
    lit *= np.where(facing < 0, 0.35, 1)
    under = image[:, shell.pixel]
    image[:, shell.pixel] = under + (lit - under) * opacity
    if glasses is not None:
        seen = glasses.depth > shell_depth[glasses.pixel] - 1
        color = {"black": (24, 22, 24), "brown": (86, 52, 30), "metal": (150, 146, 140)}[factors.glasses]
        shine = 0.5 + 0.5 * factors.light_strength
        image[:, glasses.pixel[seen]] = linear(color)[:, None] * np.float32(shine)
    return image.reshape(3, camera.FINE, camera.FINE)


def _light_direction(factors: Factors) -> Floats:
    azimuth, elevation = np.radians([factors.light_azimuth_degrees, factors.light_elevation_degrees])
    return np.array(
        [np.sin(azimuth) * np.cos(elevation), -np.sin(elevation), np.cos(azimuth) * np.cos(elevation)], np.float32
    )


def _light_color(factors: Factors) -> Floats:
    warmth = factors.light_warmth
    return (factors.light_strength * np.array([1 + 0.16 * warmth, 1.0, 1 - 0.24 * warmth], np.float32))[:, None].astype(
        np.float32
    )


def _dot(a: Floats, b: Floats) -> Floats:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _power(x: Floats, exponent: int) -> Floats:
    """``x ** exponent`` for a power of two, by squaring; NumPy's own is many times as slow."""
    while exponent > 1:
        x, exponent = x * x, exponent // 2
    return x


def _light(
    normal: Floats, albedo: Floats, gloss: Floats, lost: Floats, light: Floats, view: Floats, factors: Factors
) -> Floats:
    """Linear colour (3, N): ambient from above, diffuse with a soft red terminator, specular."""
    normal = normal / np.sqrt((normal**2).sum(0) + 1e-9)
    facing = _dot(normal, light)
    open_share = 1 - 0.85 * lost
    wrap = np.array([0.22, 0.10, 0.08], np.float32)[:, None]
    diffuse = np.maximum((facing + wrap) / (1 + wrap), 0) * open_share
    ambient = factors.ambient * (0.72 - 0.28 * normal[1])
    middle = light + view
    middle = middle / np.sqrt((middle**2).sum() + 1e-9)
    shine = _power(np.maximum(_dot(normal, middle), 0), 16) * gloss * open_share * (facing > 0)
    color = _light_color(factors)
    return albedo * (ambient + diffuse * color) + 0.55 * shine * color


def _light_hair(normal: Floats, tint: Floats, lost: Floats, light: Floats, view: Floats, factors: Factors) -> Floats:
    """As ``_light`` with a highlight across the strands, which run down."""
    facing = _dot(normal, light)
    diffuse = np.maximum((facing + 0.3) / 1.3, 0) * (1 - 0.8 * lost)
    ambient = factors.ambient * (0.7 - 0.3 * normal[1])
    middle = light + view
    middle = middle / np.sqrt((middle**2).sum() + 1e-9)
    tangent = np.stack([-normal[1] * normal[0], 1 - normal[1] ** 2, -normal[1] * normal[2]])
    along = _dot(tangent, middle) / np.sqrt((tangent**2).sum(0) + 1e-6)
    shine = _power(np.maximum(1 - along**2, 0), 16) * np.maximum(facing, 0) * 0.07 * (1 - lost)
    color = _light_color(factors)
    return tint * (ambient + diffuse * color) + shine * color * (0.4 + tint)


def _background(factors: Factors) -> Floats:
    """Linear image (3, FINE * FINE): a gradient under soft blobs and out-of-focus edges, in muted colours."""
    rng = np.random.default_rng([6, factors.background_seed])
    tones = linear(rng.integers(5, 250, (5, 3)) * 0.35 + rng.integers(5, 250, (5, 1)) * 0.65)
    image = np.empty((3, camera.FINE, camera.FINE), np.float32)
    image[:] = tones[0][:, None, None]
    across = np.arange(camera.FINE, dtype=np.float32) / camera.FINE - 0.5
    for tone in tones[1:]:
        angle, sharpness, opacity = rng.uniform(0, 2 * np.pi), np.exp(rng.uniform(0.5, 4.5)), rng.uniform(0.3, 1)
        a, b = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        u, v = a * across[None] + b * across[:, None], a * across[:, None] - b * across[None]
        kind, offset = rng.integers(3), np.float32(rng.uniform(-0.5, 0.5))
        if kind == 0:  # an edge, such as a wall's
            field = u - offset
        elif kind == 1:  # a blob, such as a lamp
            field = np.float32(rng.uniform(0.05, 0.4)) - np.sqrt(
                (u - offset) ** 2 + (v / np.float32(rng.uniform(0.5, 2))) ** 2
            )
        else:  # a few bars, such as a window's
            field = np.sin(u * np.float32(rng.uniform(6, 26)) + offset * 6) * np.float32(0.06)
        mask = np.float32(opacity) / (1 + np.exp(np.clip(-field * np.float32(sharpness), -30, 30)))
        image += (tone[:, None, None] - image) * mask
    return image.reshape(3, -1)


def _develop(image: Floats, factors: Factors, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Exposure, white balance, tone curve, noise, 8 bits: (3, SIZE, SIZE) linear -> (SIZE, SIZE, 3)."""
    gain = np.float32(2.0**factors.exposure) * np.array([1, 1 + factors.tint, 1], np.float32)
    image = image * gain[:, None, None]
    image = image / (1 + 0.18 * np.maximum(image - 0.35, 0))
    encoded = 255 * np.clip(image, 0, 1) ** np.float32(1 / 2.2)
    grain = rng.integers(-128, 128, image.shape, dtype=np.int8).astype(np.float32) + rng.integers(
        -128, 128, image.shape, dtype=np.int8
    )
    encoded = encoded + grain * np.float32(factors.noise / 104.5)
    return np.clip(np.rint(encoded), 0, 255).astype(np.uint8).transpose(1, 2, 0)
