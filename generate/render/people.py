"""Draw people and the circumstances of their images from seeds.

In: an identity seed and an image seed. Out: the person (``Identity``) and the circumstances of one image (``Factors``).
The two are independent, so that only the face identifies the person. An identity depends on the identity seed
alone. Circumstances (light, background, clothes, pose, age, ...) are drawn from both seeds, from the same distributions
for everybody.
"""

from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np

from generate.render.head import IDENTITY_FIELDS

_SKIN = np.array(  # sRGB, from light to dark
    [(246, 214, 194), (234, 192, 164), (222, 172, 138), (198, 142, 104), (156, 102, 70), (112, 70, 48), (76, 48, 36)]
)
_HAIR = {  # sRGB
    "black": (26, 22, 20),
    "brown": (66, 44, 30),
    "chestnut": (104, 64, 36),
    "blond": (190, 150, 92),
    "red": (142, 66, 30),
}
_EYES = {
    "brown": (70, 42, 24),
    "hazel": (116, 90, 50),
    "green": (98, 116, 80),
    "blue": (92, 128, 158),
    "grey": (124, 134, 140),
}
_MASCULINE = {  # shift of a field per unit of masculinity, in standard deviations
    "brow_ridge": 0.9, "jaw_width": 0.5, "jaw_angle": 0.8, "lower_face": 0.4, "neck_width": 0.9, "chin_width": 0.5,
    "nose_projection": 0.2, "upper_lip": -0.4, "brow_height": 0.4,
}  # fmt: skip
BEARDS = ("none", "none", "stubble", "moustache", "goatee", "full")


def linear(srgb: np.ndarray | tuple[float, ...]) -> np.ndarray:
    """Linear light in [0, 1] of sRGB values in [0, 255], float32; approximates sRGB by a gamma of 2.2."""
    return ((np.asarray(srgb, np.float32) / 255) ** 2.2).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Identity:
    """The lasting features of a person. Colours are linear RGB, lengths pixels of a frontal face."""

    seed: int
    shape: MappingProxyType[str, float]  # name of a field of the head -> coefficient, in standard deviations
    masculinity: float  # -1 feminine to 1 masculine
    skin: np.ndarray
    skin_tone: float  # 0 light to 1 dark
    ruddiness: float
    freckles: float
    moles: np.ndarray  # (num_moles, 3): template x, y, radius
    lip_color: np.ndarray
    lip_fullness: tuple[float, float]
    cupid_bow: float
    eye_color: np.ndarray
    eye_width: float
    eye_opening: tuple[float, float]  # of the upper lid above, and of the lower lid below, the line of the eye
    eye_tilt: float
    lid_crease: float
    lashes: float
    brow_thickness: float
    brow_height: float
    brow_arch: float
    brow_length: float
    brow_gap: float
    hair_name: str
    hair_color: np.ndarray
    hairline: float  # y at the middle of the forehead
    temple_recession: float
    widow_peak: float
    hair_length: float  # y at which it ends at the sides; up to 8 the ears are free
    fringe: float  # 0 none to 1 down to the brows
    parting: float  # -1 left to 1 right
    hair_volume: float
    curl: float
    beard: str
    beard_density: float
    ear_size: float
    ear_flare: float
    balding: float  # how far the hairline recedes until the age of 80: 0 not at all, 1 most


@lru_cache(maxsize=256)
def draw_identity(seed: int) -> Identity:
    """The person of an identity seed.

    The order of the random draws must not change: it decides which person a seed gives.
    """
    rng = np.random.default_rng([1, seed])
    masculinity = float(rng.choice([-1, 1]) * rng.uniform(0.35, 1))
    shape = _draw_shape(rng, masculinity)
    tone = float(rng.uniform(0, 1))
    position = tone * (len(_SKIN) - 1)
    skin = np.array([np.interp(position, range(len(_SKIN)), channel) for channel in _SKIN.T])
    skin = linear(np.clip(skin * (1 + rng.normal(0, 1, 3) * (0.02, 0.02, 0.03)), 20, 255))
    hair_name = _pick(rng, _hair_weights(tone))
    hair_color = linear(np.clip(np.array(_HAIR[hair_name]) * rng.uniform(0.8, 1.25), 8, 255))
    eye_color = linear(np.array(_EYES[_pick(rng, _eye_weights(tone))]) * rng.uniform(0.8, 1.2))
    lip_tint = linear((176, 82, 78)) * (1 - 0.75 * tone) + skin * np.array([1.0, 0.72, 0.78]) * tone
    mix = rng.uniform(0.3, 0.85) - 0.15 * masculinity
    hair_length = _draw_hair_length(rng, masculinity)
    moles = _draw_moles(rng)
    return Identity(
        seed=seed,
        shape=MappingProxyType(shape),
        masculinity=masculinity,
        skin=skin,
        skin_tone=tone,
        lip_color=(lip_tint * mix + skin * (1 - mix)).astype(np.float32),
        eye_color=eye_color,
        hair_name=hair_name,
        hair_color=hair_color,
        hair_length=hair_length,
        moles=moles,
        **_draw_features(rng, masculinity, tone),
        **_draw_hair(rng, masculinity),
    )


def _draw_shape(rng: np.random.Generator, masculinity: float) -> dict[str, float]:
    """Name of each field of the head -> coefficient, in standard deviations."""
    coefficients = np.clip(rng.standard_normal(len(IDENTITY_FIELDS)), -2, 2)
    shape = dict(zip(IDENTITY_FIELDS, coefficients.tolist(), strict=True))
    for field, shift in _MASCULINE.items():
        shape[field] += shift * masculinity
    return shape


def _hair_weights(tone: float) -> dict[str, float]:
    return {
        "black": 0.25 + tone,
        "brown": 0.3,
        "chestnut": 0.3 * (tone < 0.6),
        "blond": 0.3 * (tone < 0.4),
        "red": 0.16 * (tone < 0.3),
    }


def _eye_weights(tone: float) -> dict[str, float]:
    return {
        "brown": 0.4 + 2 * tone,
        "hazel": 0.25,
        "green": 0.15 * (tone < 0.5),
        "blue": 0.3 * (tone < 0.45),
        "grey": 0.15 * (tone < 0.45),
    }


def _pick(rng: np.random.Generator, weights: dict[str, float]) -> str:
    shares = np.array(list(weights.values()))
    return str(rng.choice(list(weights), p=shares / shares.sum()))


def _draw_hair_length(rng: np.random.Generator, masculinity: float) -> float:
    if masculinity > 0:
        return float(rng.choice([-8, -4, 2, 12], p=[0.4, 0.3, 0.2, 0.1]))
    return float(rng.choice([-4, 14, 40, 80, 100], p=[0.1, 0.15, 0.2, 0.25, 0.3]))


def _draw_moles(rng: np.random.Generator) -> np.ndarray:
    """Template x, y and radius of each mole, shape (num_moles, 3)."""
    num = int(rng.choice([0, 1, 2, 3, 4], p=[0.3, 0.25, 0.2, 0.15, 0.1]))
    return np.stack([rng.uniform(-30, 30, num), rng.uniform(-30, 52, num), rng.uniform(0.6, 1.25, num)], 1)


def _draw_features(rng: np.random.Generator, masculinity: float, tone: float) -> dict[str, Any]:
    """Fields of ``Identity`` for skin marks, lips, eyes and brows."""
    return {
        "ruddiness": float(rng.uniform(0, 1)),
        "freckles": float(max(0, rng.normal(-0.4, 0.7)) * (tone < 0.5)),
        "lip_fullness": (
            float(rng.uniform(2.0, 5.2) - 0.4 * masculinity),
            float(rng.uniform(2.8, 6.6) - 0.4 * masculinity),
        ),
        "cupid_bow": float(rng.uniform(0, 0.45)),
        "eye_width": float(rng.uniform(7.3, 9.4)),
        "eye_opening": (float(rng.uniform(2.6, 4.3) - 0.25 * masculinity), float(rng.uniform(1.6, 2.7))),
        "eye_tilt": float(rng.normal(0.03, 0.09)),
        "lid_crease": float(rng.uniform(0, 1)),
        "lashes": float(0.5 - 0.35 * masculinity + rng.uniform(0, 0.3)),
        "brow_thickness": float(np.clip(rng.normal(1.9 + 0.5 * masculinity, 0.6), 0.7, 3.6)),
        "brow_height": float(rng.normal(10.6 - 0.8 * masculinity, 1.2)),
        "brow_arch": float(rng.normal(1.8 - 0.9 * masculinity, 1.0)),
        "brow_length": float(rng.uniform(9.5, 13.5)),
        "brow_gap": float(rng.normal(0, 1.2)),
    }


def _draw_hair(rng: np.random.Generator, masculinity: float) -> dict[str, Any]:
    """Fields of ``Identity`` for hair, beard and ears."""
    return {
        "hairline": float(rng.uniform(-44, -30)),
        "temple_recession": float(rng.uniform(0, 1) * (0.6 + 0.4 * masculinity)),
        "widow_peak": float(max(0, rng.normal(0, 2.5))),
        "fringe": float(rng.choice([0, 0.5, 1.0], p=[0.7, 0.15, 0.15])),
        "parting": float(rng.uniform(-1, 1)),
        "hair_volume": float(rng.uniform(1.5, 7.0)),
        "curl": float(rng.choice([0, 0.35, 0.7, 1.0], p=[0.4, 0.25, 0.2, 0.15])),
        "beard": str(rng.choice(BEARDS)) if masculinity > 0 else "none",
        "beard_density": float(rng.uniform(0.55, 0.95)),
        "ear_size": float(rng.normal(1, 0.09)),
        "ear_flare": float(rng.uniform(0.55, 1.5)),
        "balding": float(max(0, rng.uniform(-0.6, 1)) * (masculinity > 0)),
    }


def coarse_look(identity: Identity) -> tuple[int, str, bool, bool]:
    """Coarse appearance, for finding impostors who look alike.

    Returns:
        Skin tone in thirds (0 light to 2 dark), "dark" or "fair" hair, whether the hair is long, whether there is a
        beard.
    """
    hair = "dark" if identity.hair_name in ("black", "brown") else "fair"
    return (
        int(identity.skin_tone * 2.999),
        hair,
        identity.hair_length > 20,
        identity.beard in ("goatee", "full", "moustache"),
    )


@dataclass(frozen=True)
class Factors:
    """The circumstances of one image; faces.parquet holds them as the true nuisance factors.

    Angles are degrees. Yaw is positive where the nose points to the right of the image, pitch where it points down.
    Expressions run from 0 (none) to about 1 unless a comment says otherwise.
    """

    yaw_degrees: float
    pitch_degrees: float
    roll_degrees: float  # remains after alignment
    landmark_jitter: float  # standard deviation of the landmarks before alignment, pixels
    distance: float  # from the camera to the head, in pixels of the face
    age_years: float
    smile: float
    mouth_open: float  # 0 to 9 pixels
    brow_raise: float
    frown: float
    pucker: float
    eye_closing: float
    gaze_x: float  # -1 to 1
    gaze_y: float  # -1 to 1
    light_azimuth_degrees: float
    light_elevation_degrees: float
    light_strength: float
    light_warmth: float  # negative blue, positive yellow; standard deviation 0.45
    ambient: float
    exposure: float  # stops
    tint: float  # gain of green less 1; positive green, negative magenta
    glasses: str  # none, black, brown or metal
    beard_growth: float  # 0 short to 1 full; only people with a beard show it
    background_seed: int
    blur_pixels: float
    noise: float  # standard deviation of the sensor noise, of 255


def aging(factors: Factors) -> float:
    """Age on the scale of the age fields: 0 at 20 years or less, 1 at 80 years, linear between."""
    return float(np.clip((factors.age_years - 20) / 60, 0, 1))


def draw_factors(identity_seed: int, image_seed: int) -> Factors:
    """The random circumstances of an image; use ``dataclasses.replace`` to fix some of them."""
    rng = np.random.default_rng([2, identity_seed, image_seed])
    wide = rng.uniform() < 0.45
    light_azimuth, light_elevation = rng.normal(0, 48), rng.normal(25, 22)
    return Factors(
        yaw_degrees=float(rng.uniform(-90, 90) if wide else np.clip(rng.normal(0, 22), -60, 60)),
        pitch_degrees=float(np.clip(rng.normal(0, 9), -24, 24)),
        roll_degrees=float(rng.normal(0, 2.0)),
        landmark_jitter=float(rng.uniform(0, 0.9)),
        distance=float(rng.uniform(280, 900)),
        age_years=float(rng.uniform(18, 80)),
        smile=float(max(0, rng.normal(0.3, 0.45))),
        mouth_open=float(max(0, rng.normal(-2, 3.2))),
        brow_raise=float(max(0, rng.normal(-0.2, 0.5))),
        frown=float(max(0, rng.normal(-0.3, 0.5))),
        pucker=float(max(0, rng.normal(-0.7, 0.5))),
        eye_closing=float(1.0 if rng.uniform() < 0.03 else np.clip(rng.normal(0.08, 0.15), 0, 0.7)),
        gaze_x=float(np.clip(rng.normal(0, 0.4), -1, 1)),
        gaze_y=float(np.clip(rng.normal(0, 0.3), -1, 1)),
        light_azimuth_degrees=float(np.clip(light_azimuth, -110, 110)),
        light_elevation_degrees=float(np.clip(light_elevation, -25, 80)),
        light_strength=float(rng.uniform(0.3, 1.15)),
        light_warmth=float(rng.normal(0, 0.45)),
        ambient=float(rng.uniform(0.16, 0.55)),
        exposure=float(rng.normal(0, 0.32)),
        tint=float(rng.normal(0, 0.025)),
        glasses=str(rng.choice(["none", "black", "brown", "metal"], p=[0.84, 0.07, 0.04, 0.05])),
        beard_growth=float(np.clip(rng.normal(0.85, 0.25), 0, 1)),
        background_seed=int(rng.integers(2**31)),
        blur_pixels=float(max(0, rng.normal(0.35, 0.4))),
        noise=float(abs(rng.normal(0, 3.0))),
    )
