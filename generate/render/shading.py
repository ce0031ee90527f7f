"""Draw the posed head as a photograph: visibility, light and shadow, background, exposure and sensor noise.

In: a surface in head coordinates, its position in the image, a person and the circumstances. Out: a linear RGB image
(``shade``), and from that an 8-bit one (``develop``). V counts vertices, N pixels.
"""

import numpy as np
from numpy.typing import NDArray

from generate.render import camera, head
from generate.render.features import paint_beard, paint_brows, paint_eyes, paint_lips
from generate.render.hair import hair_distance, hair_thickness, paint_hair, paint_scalp
from generate.render.people import Factors, Identity, linear
from generate.render.skin import paint_skin
from generate.render.texture import Floats, column, put

_FRAMES = {"black": (24, 22, 24), "brown": (86, 52, 30), "metal": (150, 146, 140)}
_BARE = -4  # hair distance at which strands no longer reach, so that the shell is fully transparent


def shade(surface: Floats, head_to_camera: Floats, pixels: Floats, person: Identity, factors: Factors) -> Floats:
    """Linear RGB image of background, head, hair and glasses, shape (3, FINE, FINE).

    Args:
        surface: Head coordinates of the vertices, shape (3, V).
        head_to_camera: Rotation matrix, shape (3, 3).
        pixels: Coordinates of the vertices in the fine image, shape (3, V).
        person: Whom to draw.
        factors: Circumstances of the image.
    """
    mesh = head.template()
    growth = hair_distance(person, factors)
    values = [*_normals(surface), *mesh.points, growth]
    solid = camera.rasterise(pixels, mesh.solid)
    depth = np.full(camera.FINE**2, -1e4, np.float32)
    depth[solid.pixel] = solid.depth

    haired = mesh.shell[:, growth.take(mesh.shell).max(0) > _BARE]  # without these gaps the shell would hide the face
    shell = camera.rasterise(pixels, haired, two_sided=True)
    shell = shell.where(shell.depth > depth.take(shell.pixel))
    on_shell = camera.interpolate(values, pixels, haired, shell)
    tint, opacity = paint_hair(on_shell[3:6], on_shell[6], person, factors)
    hidden = np.zeros(camera.FINE**2, np.bool_)
    hidden[shell.pixel[opacity == 1]] = True
    dense = opacity > 0.5
    depth[shell.pixel[dense]] = shell.depth[dense]
    light = Light(head_to_camera, depth, factors)
    hair_color = light.on_hair(on_shell[:3], tint, shell.pixel)

    image = _background(factors)
    solid = solid.where(~hidden.take(solid.pixel))
    on_solid = camera.interpolate(values, pixels, mesh.solid, solid)
    albedo, gloss = _paint_head(on_solid[3:6], on_solid[6], person, factors)
    cloth = np.flatnonzero(mesh.cloth.take(solid.triangle))
    albedo[:, cloth] = column(linear(np.random.default_rng([5, factors.background_seed]).integers(10, 230, 3)))
    put(image, solid.pixel, light.on_skin(on_solid[:3], albedo, gloss, solid.pixel))
    under = image.take(shell.pixel, 1)
    put(image, shell.pixel, under + (hair_color - under) * opacity)
    if factors.glasses != "none":
        _draw_glasses(image, pixels, depth, factors)
    return image.reshape(3, camera.FINE, camera.FINE)


def _draw_glasses(image: Floats, pixels: Floats, depth: Floats, factors: Factors) -> None:
    """Draw the frame of the glasses into ``image`` (3, FINE * FINE) where ``depth`` (FINE * FINE,) is not nearer."""
    triangles = head.template().glasses
    frame = camera.rasterise(pixels, triangles)
    frame = frame.where(frame.depth > depth.take(frame.pixel) - 1)
    color = linear(_FRAMES[factors.glasses]) * np.float32(0.5 + 0.5 * factors.light_strength)
    put(image, frame.pixel, np.broadcast_to(column(color), (3, frame.pixel.size)))


def lift_hair(surface: Floats, person: Identity, factors: Factors) -> None:
    """Move the hair shell of a surface (3, V) off the skull, in place."""
    grid = head.template().grids[head.HAIR_GRID]
    first, rows, columns = grid
    thickness = hair_thickness(hair_distance(person, factors), person)
    surface[:, first : first + rows * columns] += head.grid_normals(surface, grid) * thickness


def _normals(surface: Floats) -> Floats:
    """Outward unit normals (3, V); zero for the glasses, which are not shaded."""
    normals = np.zeros_like(surface)
    for first, rows, columns in head.template().grids[: head.NUM_SHADED_GRIDS]:
        normals[:, first : first + rows * columns] = head.grid_normals(surface, (first, rows, columns))
    return normals


def _paint_head(points: Floats, distance: Floats, person: Identity, factors: Factors) -> tuple[Floats, Floats]:
    """Colour (3, N) and gloss (N,) of head and ears at template coordinates (3, N) and hair distances (N,)."""
    albedo, gloss = paint_skin(points, person, factors)
    paint_lips(albedo, gloss, points, person, factors)
    paint_beard(albedo, points, person, factors)
    paint_brows(albedo, points, person, factors)
    paint_eyes(albedo, gloss, points, person, factors)
    paint_scalp(albedo, gloss, points, distance, person, factors)
    return albedo, gloss


class Light:
    """One distant light that casts shadows, and ambient light. Its methods return lit colours, linear RGB (3, N).

    Args:
        head_to_camera: Rotation matrix, shape (3, 3).
        depth: Depth of each pixel of the fine image, shape (FINE * FINE,), very negative for background.
        factors: Direction, strength and colour of the light, and the ambient light.
    """

    def __init__(self, head_to_camera: Floats, depth: Floats, factors: Factors) -> None:
        azimuth, elevation = np.radians([factors.light_azimuth_degrees, factors.light_elevation_degrees])
        across, up, towards = (
            np.sin(azimuth) * np.cos(elevation),
            np.sin(elevation),
            np.cos(azimuth) * np.cos(elevation),
        )
        to_light = np.array([across, -up, towards], np.float32)
        self._light = _to_head_axes(to_light, head_to_camera)
        self._view = _to_head_axes((0, 0, 1), head_to_camera)
        halfway = np.add(self._light, self._view)
        self._halfway = (halfway / np.sqrt((halfway**2).sum() + 1e-9)).tolist()
        warmth = factors.light_warmth
        self._color = column(factors.light_strength * np.array([1 + 0.16 * warmth, 1.0, 1 - 0.24 * warmth]))
        self._ambient = factors.ambient
        grid = depth.reshape(camera.FINE, camera.FINE)
        coarse = grid[np.ix_(camera.FINE_OF_COARSE, camera.FINE_OF_COARSE)] / camera.SUPERSAMPLING
        lost = camera.shadow(coarse, to_light)
        self._lost = lost[np.ix_(camera.COARSE_OF_FINE, camera.COARSE_OF_FINE)].ravel()

    def on_skin(self, normal: Floats, albedo: Floats, gloss: Floats, pixel: NDArray[np.intp]) -> Floats:
        """Lit skin: diffuse light, which reaches into the shadow side most in red, and a highlight.

        Args:
            normal: Normals in head axes, shape (3, N); normalised in place.
            albedo: Colour, shape (3, N).
            gloss: Strength of the highlight, shape (N,).
            pixel: Indices into the fine image, shape (N,).
        """
        normal *= 1 / np.sqrt(_dot(normal, normal) + 1e-9)
        facing, open_share = _dot(normal, self._light), 1 - 0.85 * self._lost.take(pixel)
        shine = 0.55 * _power_16(np.maximum(_dot(normal, self._halfway), 0)) * gloss * open_share * (facing > 0)
        even = self._ambient * (0.72 - 0.28 * normal[1])
        lit = np.empty_like(albedo)
        for channel, base, color, wrap in zip(lit, albedo, self._color[:, 0].tolist(), (0.22, 0.10, 0.08), strict=True):
            diffuse = np.maximum((facing + wrap) * (color / (1 + wrap)), 0) * open_share
            np.add(base * (even + diffuse), shine * color, out=channel)
        return lit

    def on_hair(self, normal: Floats, tint: Floats, pixel: NDArray[np.intp]) -> Floats:
        """Lit hair: diffuse light, and a highlight across the strands, which run down. The shell's inside is dark.

        Args:
            normal: Normals in head axes, shape (3, N).
            tint: Colour, shape (3, N).
            pixel: Indices into the fine image, shape (N,).
        """
        side = np.sign(_dot(normal, self._view))
        nx, ny, nz = normal * side
        facing, lost = _dot((nx, ny, nz), self._light), self._lost.take(pixel)
        diffuse = np.maximum((facing + 0.3) / 1.3, 0) * (1 - 0.8 * lost)
        tangent = (-ny * nx, 1 - ny * ny, -ny * nz)
        along = _dot(tangent, self._halfway)
        along_squared = along * along / (_dot(tangent, tangent) + 1e-6)
        shine = _power_16(np.maximum(1 - along_squared, 0)) * np.maximum(facing, 0) * 0.07 * (1 - lost)
        lit = tint * (self._ambient * (0.7 - 0.3 * ny) + diffuse * self._color) + shine * self._color * (0.4 + tint)
        return lit * np.where(side < 0, np.float32(0.35), np.float32(1))


def _to_head_axes(direction: np.ndarray | tuple[float, ...], head_to_camera: Floats) -> list[float]:
    return (np.asarray(direction, np.float32)[:, None] * head_to_camera).sum(0).tolist()


def _dot(a: Floats | tuple[Floats, ...], b: Floats | tuple[Floats, ...] | list[float]) -> Floats:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _power_16(x: Floats) -> Floats:
    """``x ** 16`` by repeated squaring, many times faster than NumPy's power."""
    for _ in range(4):
        x = x * x
    return x


def _background(factors: Factors) -> Floats:
    """Linear RGB image (3, FINE * FINE) of an out-of-focus background: soft edges, blobs and bars in muted colours.

    It has so little detail that it is drawn in coarse pixels and enlarged.
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
    """Photograph of a linear image: exposure, tint, tone curve and noise applied.

    Args:
        image: Linear RGB, shape (3, SIZE, SIZE).
        factors: Exposure, tint and noise.
        rng: Source of the noise.

    Returns:
        sRGB, uint8, shape (SIZE, SIZE, 3).
    """
    gain = 2.0**factors.exposure * np.array([1, 1 + factors.tint, 1], np.float32)
    image = image * gain[:, None, None].astype(np.float32)
    image = image / (1 + 0.18 * np.maximum(image - 0.35, 0))
    encoded = 255 * np.clip(image, 0, 1) ** np.float32(1 / 2.2)
    grain = rng.integers(-128, 128, (2, *image.shape), dtype=np.int8).astype(np.float32).sum(0)
    encoded += grain * (factors.noise / 104.5)
    return np.clip(np.rint(encoded), 0, 255).astype(np.uint8).transpose(1, 2, 0)
