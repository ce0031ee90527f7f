"""The circumstances of an image as 50 numbers, which a generator of rendered faces takes behind the identity features.

A feature of an identity network leaves out light, pose and expression, so that a generator that is conditioned on it
alone paints the average of them. The renderer knows them for every image. A generator that takes them as input learns
to follow them, and a new image gets the yaw that its numbers state.

| numbers | hold |
|---|---|
| yaw | degrees, and sine and cosine of the angle and of its double |
| pitch, roll, distance | degrees; the inverse of the distance |
| alignment | scale, rotation (radians) and shift (pixels) by which detection errors moved the face |
| age, expression, gaze | as in the renderer's factors |
| light | azimuth and elevation (degrees, sine or cosine as well), strength, warmth, ambient, exposure, tint |
| glasses | one number per kind, 1 for the kind that is worn |
| beard_growth, blur, noise | as in the renderer's factors |
| corners | mean colours of the four corners of the image |

Every number is shifted and scaled to a mean near 0 and a standard deviation near 1 by constants of the renderer's
distribution. Shapes: ``N`` images, ``C`` = 50 circumstances, ``D`` width of the identity features.
"""

from collections.abc import Mapping

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

ALIGNMENT = ("align_scale", "align_rotation", "align_x", "align_y")
"""Logarithm of the scale, radians, and pixels right and down: what landmark errors add to the alignment of a face."""
GLASSES = ("none", "black", "brown", "metal")
_CORNER = 14
"""Side in pixels of the squares whose mean colours are used."""
_CORNERS = tuple(f"{row}_{column}_{colour}" for row in "tb" for column in "lr" for colour in "rgb")
_SCALES: dict[str, tuple[float, float]] = {
    "yaw": (0, 38),
    "yaw_sin": (0, 0.5),
    "yaw_cos": (0.8, 0.25),
    "yaw_sin_2": (0, 0.65),
    "yaw_cos_2": (0.45, 0.6),
    "pitch": (0, 9),
    "roll": (0, 2),
    "nearness": (0.0019, 0.0007),
    **dict.fromkeys(ALIGNMENT[:2], (0, 0.01)),
    **dict.fromkeys(ALIGNMENT[2:], (0, 0.27)),
    "age_years": (49, 18),
    "smile": (0.37, 0.35),
    "mouth_open": (0.5, 1.2),
    "brow_raise": (0.11, 0.22),
    "frown": (0.08, 0.18),
    "pucker": (0.02, 0.09),
    "eye_closing": (0.13, 0.18),
    "gaze_x": (0, 0.4),
    "gaze_y": (0, 0.3),
    "light_azimuth": (0, 46),
    "light_azimuth_sin": (0, 0.6),
    "light_azimuth_cos": (0.7, 0.35),
    "light_elevation": (25, 22),
    "light_elevation_cos": (0.85, 0.17),
    "light_strength": (0.73, 0.24),
    "light_warmth": (0, 0.45),
    "ambient": (0.35, 0.11),
    "exposure": (0, 0.32),
    "tint": (0, 0.025),
    "glasses_none": (0.84, 0.37),
    "glasses_black": (0.07, 0.25),
    "glasses_brown": (0.04, 0.2),
    "glasses_metal": (0.05, 0.22),
    "beard_growth": (0.8, 0.19),
    "blur_pixels": (0.4, 0.34),
    "noise": (2.4, 1.8),
    **dict.fromkeys(_CORNERS, (-0.06, 0.34)),
}
"""Name of every number, in their order -> mean and standard deviation in the renderer's distribution, rounded."""
NAMES = tuple(_SCALES)
NUM_CIRCUMSTANCES = len(NAMES)
_MEANS, _DEVIATIONS = np.array(list(_SCALES.values()), np.float64).T
_YAW = tuple(name for name in NAMES if name.startswith("yaw"))
_LOWEST = ("blur_pixels", "noise")


def encode(
    factors: Mapping[str, NDArray], alignment: NDArray[np.floating], images: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """The circumstances of images, shape (N, C).

    Args:
        factors: The renderer's factors by name (columns of faces.parquet), shape (N,) each.
        alignment: ``generate.render.face.alignment_error`` of each face, in the order of ``ALIGNMENT``, (N, 4).
        images: The images, uint8 RGB, shape (N, 112, 112, 3).
    """
    azimuth, elevation = np.radians(factors["light_azimuth_degrees"]), np.radians(factors["light_elevation_degrees"])
    values: dict[str, NDArray] = dict(_yaw_values(np.asarray(factors["yaw_degrees"])))
    values |= {"pitch": factors["pitch_degrees"], "roll": factors["roll_degrees"]}
    values |= {"nearness": 1 / np.asarray(factors["distance"])}
    values |= dict(zip(ALIGNMENT, alignment.T, strict=True))
    values |= {"light_azimuth": factors["light_azimuth_degrees"], "light_elevation": factors["light_elevation_degrees"]}
    values |= {"light_azimuth_sin": np.sin(azimuth), "light_azimuth_cos": np.cos(azimuth)}
    values |= {"light_elevation_cos": np.cos(elevation)}
    values |= {f"glasses_{kind}": np.asarray(factors["glasses"]) == kind for kind in GLASSES}
    values |= dict(zip(_CORNERS, _corner_colours(images).T, strict=True))
    values |= {name: factors[name] for name in NAMES if name in factors}
    table = np.stack([np.asarray(values[name], np.float64) for name in NAMES], axis=1)
    return ((table - _MEANS) / _DEVIATIONS).astype(np.float32)


def yaw_of(circumstances: NDArray[np.floating]) -> NDArray[np.float64]:
    """Yaw in degrees that circumstances state, shape (N,)."""
    column = NAMES.index("yaw")
    return circumstances[..., column].astype(np.float64) * _DEVIATIONS[column] + _MEANS[column]


def with_yaw(circumstances: NDArray[np.float32], degrees: NDArray[np.floating] | float) -> NDArray[np.float32]:
    """The circumstances (N, C) with another yaw, in degrees, one for all or shape (N,)."""
    changed = circumstances.copy()
    for name, values in _yaw_values(np.asarray(degrees, np.float64)).items():
        column = NAMES.index(name)
        changed[..., column] = (values - _MEANS[column]) / _DEVIATIONS[column]
    return changed


def yaw_scales() -> tuple[int, list[tuple[float, float]]]:
    """Position of the first of the five numbers of the yaw, and (mean, deviation) of each, see ``_yaw_values``."""
    return NAMES.index(_YAW[0]), [_SCALES[name] for name in _YAW]


def change_of(name: str) -> NDArray[np.float32]:
    """Vector, shape (C,), that raises the circumstance ``name`` by one standard deviation."""
    change = np.zeros(NUM_CIRCUMSTANCES, np.float32)
    change[NAMES.index(name)] = 1
    return change


def with_clear_view(circumstances: NDArray[np.float32]) -> NDArray[np.float32]:
    """The circumstances (N, C) of the same images without lens blur and sensor noise."""
    changed = circumstances.copy()
    for name in _LOWEST:
        column = NAMES.index(name)
        changed[..., column] = -_MEANS[column] / _DEVIATIONS[column]
    return changed


def neutral_circumstances() -> NDArray[np.float32]:
    """Circumstances of a clear image from the front, in even light, without glasses and expression, shape (C,).

    Everything else is as it is on average.
    """
    values: dict[str, float] = dict(zip(NAMES, _MEANS.tolist(), strict=True))
    values |= dict.fromkeys(("smile", "mouth_open", "brow_raise", "frown", "pucker", *_LOWEST), 0.0)
    values |= {"light_azimuth_cos": 1.0, "light_elevation_cos": float(np.cos(np.radians(values["light_elevation"])))}
    values |= {f"glasses_{kind}": float(kind == "none") for kind in GLASSES}
    row = (np.array([values[name] for name in NAMES]) - _MEANS) / _DEVIATIONS
    return with_yaw(row.astype(np.float32), 0.0)


class PaddedFeatures(nn.Module):
    """Identity features with zeros in place of the circumstances, as wide as the vectors of a generator.

    A cosine between them and such a vector compares the identity features alone where the vector has zeros too.

    Args:
        network: Images (B, 3, 112, 112) to identity features (B, D).
        num_circumstances: Zeros to append.
    """

    def __init__(self, network: nn.Module, num_circumstances: int) -> None:
        super().__init__()
        self.network, self.num_circumstances = network, num_circumstances

    def forward(self, images: Tensor) -> Tensor:
        """Features, then zeros, (B, D + num_circumstances)."""
        return F.pad(self.network(images), (0, self.num_circumstances))


def _yaw_values(degrees: NDArray[np.floating]) -> dict[str, NDArray]:
    angle = np.radians(degrees)
    values = (degrees, np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle))
    return dict(zip(_YAW, values, strict=True))


def _corner_colours(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean colours of the corners in [-1, 1], (N, 12): top left, top right, bottom left, bottom right; RGB each."""
    ends = (slice(None, _CORNER), slice(-_CORNER, None))
    corners = [images[:, rows, columns].mean(axis=(1, 2)) for rows in ends for columns in ends]
    return np.concatenate(corners, axis=1) / 127.5 - 1
