"""Surface and light in, the photograph out: reflection, background, what hides what, exposure and noise."""

import numpy as np
from numpy.typing import NDArray

from generate.render import camera, head
from generate.render.features import paint_beard, paint_brows, paint_eyes, paint_lips
from generate.render.hair import hair_distance, hair_thickness, paint_hair, paint_scalp
from generate.render.people import Factors, Identity, linear
from generate.render.skin import paint_skin
from generate.render.texture import Floats, column, put

_FRAMES = {"black": (24, 22, 24), "brown": (86, 52, 30), "metal": (150, 146, 140)}
_BARE = -4  # no hair at this distance beyond its edge, whatever the strands


def shade(surface: Floats, turn: Floats, pixels: Floats, person: Identity, factors: Factors) -> Floats:
    """Linear image (3, FINE, FINE): background, then head, hair and glasses, front-most first.

    Args:
        surface: Head coordinates of the vertices, (3, V).
        turn: Rotation from head to camera axes, (3, 3).
        pixels: Coordinates of the vertices in the fine image, (3, V).
        person: Who it is.
        factors: Under which circumstances.
    """
    mesh = head.template()
    growth = hair_distance(person, factors)
    values = [*_normals(surface), *mesh.points, growth]
    solid = camera.rasterise(pixels, mesh.solid)
    depth = np.full(camera.FINE**2, -1e4, np.float32)
    depth[solid.pixel] = solid.depth

    grown = mesh.shell[:, growth.take(mesh.shell).max(0) > _BARE]  # what is behind the opening for the face shows
    shell = camera.rasterise(pixels, grown, two_sided=True)
    shell = shell.where(shell.depth > depth.take(shell.pixel))
    nx, ny, nz, x, y, z, distance = camera.interpolate(values, pixels, grown, shell)
    tint, opacity = paint_hair(x, y, z, distance, person, factors)
    hidden = np.zeros(camera.FINE**2, np.bool_)
    hidden[shell.pixel[opacity == 1]] = True
    dense = opacity > 0.5
    depth[shell.pixel[dense]] = shell.depth[dense]
    light = Light(turn, depth, factors)
    hair_color = light.on_hair(np.stack([nx, ny, nz]), tint, shell.pixel)

    image = _background(factors)
    solid = solid.where(~hidden.take(solid.pixel))
    at = camera.interpolate(values, pixels, mesh.solid, solid)
    albedo, gloss = _paint_head(at[3:], person, factors)
    cloth = np.flatnonzero(mesh.cloth.take(solid.triangle))
    albedo[:, cloth] = column(linear(np.random.default_rng([5, factors.background_seed]).integers(10, 230, 3)))
    put(image, solid.pixel, light.on_skin(at[:3], albedo, gloss, solid.pixel))
    under = image.take(shell.pixel, 1)
    put(image, shell.pixel, under + (hair_color - under) * opacity)
    if factors.glasses != "none":
        frame = camera.rasterise(pixels, mesh.glasses)
        frame = frame.where(frame.depth > depth.take(frame.pixel) - 1)
        color = linear(_FRAMES[factors.glasses]) * np.float32(0.5 + 0.5 * factors.light_strength)
        put(image, frame.pixel, np.broadcast_to(column(color), (3, frame.pixel.size)))
    return image.reshape(3, camera.FINE, camera.FINE)


def lift_hair(surface: Floats, person: Identity, factors: Factors) -> None:
    """Move the shell of the hair, part of the surface (3, V), off the skull, in place."""
    grid = head.template().grids[head.HAIR_GRID]
    first, rows, columns = grid
    thickness = hair_thickness(hair_distance(person, factors), person)
    surface[:, first : first + rows * columns] += head.grid_normals(surface, grid) * thickness


def _normals(surface: Floats) -> Floats:
    normals = np.zeros_like(surface)
    for first, rows, columns in head.template().grids[: head.NUM_SHADED_GRIDS]:
        normals[:, first : first + rows * columns] = head.grid_normals(surface, (first, rows, columns))
    return normals


def _paint_head(at: Floats, person: Identity, factors: Factors) -> tuple[Floats, Floats]:
    """Colour (3, N) and gloss (N,) of head and ears at template coordinates and hair distances, (4, N)."""
    x, y, z, distance = at
    albedo, gloss = paint_skin(x, y, z, person, factors)
    paint_lips(albedo, gloss, x, y, z, person, factors)
    paint_beard(albedo, x, y, z, person, factors)
    paint_brows(albedo, x, y, z, person, factors)
    paint_eyes(albedo, gloss, x, y, z, person, factors)
    paint_scalp(albedo, gloss, x, y, z, distance, person, factors)
    return albedo, gloss


class Light:
    """One distant light with its shadow, and an even light from everywhere; colours out are linear RGB (3, N)."""

    def __init__(self, turn: Floats, depth: Floats, factors: Factors) -> None:
        azimuth, elevation = np.radians([factors.light_azimuth_degrees, factors.light_elevation_degrees])
        across, up, towards = (
            np.sin(azimuth) * np.cos(elevation),
            np.sin(elevation),
            np.cos(azimuth) * np.cos(elevation),
        )
        to_light = np.array([across, -up, towards], np.float32)
        self._light, self._view = _rotate_back(to_light, turn), _rotate_back((0, 0, 1), turn)
        middle = np.add(self._light, self._view)
        self._middle = (middle / np.sqrt((middle**2).sum() + 1e-9)).tolist()
        warmth = factors.light_warmth
        self._color = column(factors.light_strength * np.array([1 + 0.16 * warmth, 1.0, 1 - 0.24 * warmth]))
        self._ambient = factors.ambient
        grid = depth.reshape(camera.FINE, camera.FINE)
        coarse = grid[np.ix_(camera.FINE_OF_COARSE, camera.FINE_OF_COARSE)] / camera.SUPERSAMPLING
        lost = camera.shadow(coarse, to_light)
        self._lost = lost[np.ix_(camera.COARSE_OF_FINE, camera.COARSE_OF_FINE)].ravel()

    def on_skin(self, normal: Floats, albedo: Floats, gloss: Floats, pixel: NDArray[np.intp]) -> Floats:
        """Diffuse with a soft red terminator, and specular."""
        normal *= 1 / np.sqrt(_dot(normal, normal) + 1e-9)
        facing, open_share = _dot(normal, self._light), 1 - 0.85 * self._lost.take(pixel)
        shine = 0.55 * _sixteenth(np.maximum(_dot(normal, self._middle), 0)) * gloss * open_share * (facing > 0)
        even = self._ambient * (0.72 - 0.28 * normal[1])
        lit = np.empty_like(albedo)
        for channel, base, color, wrap in zip(lit, albedo, self._color[:, 0].tolist(), (0.22, 0.10, 0.08), strict=True):
            diffuse = np.maximum((facing + wrap) * (color / (1 + wrap)), 0) * open_share
            np.add(base * (even + diffuse), shine * color, out=channel)
        return lit

    def on_hair(self, normal: Floats, tint: Floats, pixel: NDArray[np.intp]) -> Floats:
        """As skin, with a highlight across the strands, which run down; the inside of the shell is dark."""
        side = np.sign(_dot(normal, self._view))
        nx, ny, nz = normal * side
        facing, lost = _dot((nx, ny, nz), self._light), self._lost.take(pixel)
        diffuse = np.maximum((facing + 0.3) / 1.3, 0) * (1 - 0.8 * lost)
        tangent = (-ny * nx, 1 - ny * ny, -ny * nz)
        along = _dot(tangent, self._middle)
        along_squared = along * along / (_dot(tangent, tangent) + 1e-6)
        shine = _sixteenth(np.maximum(1 - along_squared, 0)) * np.maximum(facing, 0) * 0.07 * (1 - lost)
        lit = tint * (self._ambient * (0.7 - 0.3 * ny) + diffuse * self._color) + shine * self._color * (0.4 + tint)
        return lit * np.where(side < 0, np.float32(0.35), np.float32(1))


def _rotate_back(direction: np.ndarray | tuple[float, ...], turn: Floats) -> list[float]:
    return (np.asarray(direction, np.float32)[:, None] * turn).sum(0).tolist()


def _dot(a: Floats | tuple[Floats, ...], b: Floats | tuple[Floats, ...] | list[float]) -> Floats:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _sixteenth(x: Floats) -> Floats:
    """``x ** 16`` by squaring; NumPy's own is many times as slow."""
    for _ in range(4):
        x = x * x
    return x


def _background(factors: Factors) -> Floats:
    """Linear image (3, FINE * FINE): a gradient under soft blobs and out-of-focus edges, in muted colours.

    It is drawn on coarse pixels, which hold all of its detail.
    """
    rng = np.random.default_rng([6, factors.background_seed])
    tones = linear(rng.integers(5, 250, (5, 3)) * 0.35 + rng.integers(5, 250, (5, 1)) * 0.65)
    image = np.empty((3, camera.SIZE, camera.SIZE), np.float32)
    image[:] = tones[0][:, None, None]
    across = np.arange(camera.SIZE, dtype=np.float32) / camera.SIZE - 0.5
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
    fine = camera.COARSE_OF_FINE
    return image.take(fine, 1).take(fine, 2).reshape(3, -1)


def develop(image: Floats, factors: Factors, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Exposure, white balance, tone curve, noise, 8 bits: (3, SIZE, SIZE) linear -> (SIZE, SIZE, 3)."""
    gain = 2.0**factors.exposure * np.array([1, 1 + factors.tint, 1], np.float32)
    image = image * gain[:, None, None].astype(np.float32)
    image = image / (1 + 0.18 * np.maximum(image - 0.35, 0))
    encoded = 255 * np.clip(image, 0, 1) ** np.float32(1 / 2.2)
    grain = rng.integers(-128, 128, (2, *image.shape), dtype=np.int8).astype(np.float32).sum(0)
    encoded += grain * (factors.noise / 104.5)
    return np.clip(np.rint(encoded), 0, 255).astype(np.uint8).transpose(1, 2, 0)
