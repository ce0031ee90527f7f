"""Settings of a benchmark -> the distributions of its identity vectors and of the noise between images of one person.

They are those of ``generate.identities.sample_identities`` and ``generate.draw.perturbation.perturb``, with three
simplifications for a page: centres from a file (``identities: file``) are replaced by the Gaussian that fits them, only
some of many ``differences`` are kept, and vectors are not optimised (AttrOP).

Shapes: ``N`` vectors, ``D`` their width.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.config.generator import Vec2FaceGenerator, weight_path
from bench.errors import InputError
from bench.files import read_array
from generate.draw.perturbation import perturb
from generate.draw.pose.image_rows import vectors_with_circumstances
from generate.identities import fitted_gaussian, read_vectors

_MAX_DIFFERENCES = 512

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Population:
    """Whom a generator draws, and how the images of one person differ."""

    mean: Floats
    """Mean identity vector, shape (D,)."""
    spread: Floats | None
    """Matrix (D, D): standard normal numbers times it, plus the mean, are a person; None for the identity matrix."""
    noise_kind: Literal["directions", "differences", "circumstances"]
    noise: Floats | None
    """``directions``: matrix (D, D) for standard normal numbers, None for the identity matrix. ``differences``: rows
    (M, D), one of which is drawn. ``circumstances``: such rows, whose last numbers are the image's circumstances."""
    sigma: float
    """Strength of the noise in the settings, the mean over images."""

    def identities(self, num: int, seed: int) -> Floats:
        """Identity vectors, shape (num, D)."""
        normal = np.random.default_rng([seed, 0]).standard_normal((num, len(self.mean)), dtype=np.float32)
        return self.mean + (normal if self.spread is None else normal @ self.spread)

    def images(self, identity: Floats, num: int, seed: int, number: int) -> Floats:
        """Vectors of ``num`` images of the person ``identity``, shape (num, D); ``number`` decides the noise."""
        sigma = np.full(num, self.sigma, np.float32)
        random = {"seed": seed, "identity_id": number}
        if self.noise_kind == "circumstances" and self.noise is not None:
            own_yaw = np.full(num, np.nan)
            return vectors_with_circumstances(identity, sigma, own_yaw, self.noise, **random)
        return perturb(
            identity,
            sigma,
            **random,
            directions=self.noise if self.noise_kind == "directions" else None,
            differences=self.noise if self.noise_kind == "differences" else None,
        )

    @property
    def covariance(self) -> NDArray[np.float64]:
        """Covariance of the identity vectors, shape (D, D)."""
        spread = np.eye(len(self.mean)) if self.spread is None else self.spread.astype(np.float64)
        return spread.T @ spread


def population(settings: Vec2FaceGenerator, weights: Path, feature_dim: int) -> Population:
    """The distributions of a benchmark.

    Args:
        settings: Section ``generator`` of the benchmark.
        weights: Folder of weights and arrays.
        feature_dim: Width of the vectors that the generator takes.

    Raises:
        InputError: If an array cannot be read or has another width.
    """
    mean, spread = np.zeros(feature_dim, np.float32), None
    if settings.identities != "gaussian" and settings.centers:
        mean, spread = fitted_gaussian(read_vectors(weight_path(settings.centers, weights), feature_dim))
    perturbation = settings.perturbation
    name = perturbation.differences or perturbation.directions
    noise = _read_noise(weight_path(name, weights), feature_dim) if name else None
    sigma = float(np.dot(perturbation.sigmas, perturbation.shares))
    kind: Literal["directions", "differences", "circumstances"] = "directions"
    if perturbation.circumstances:
        kind = "circumstances"
    elif perturbation.differences:
        kind = "differences"
    return Population(mean, spread, kind, noise, sigma)


def _read_noise(path: Path, feature_dim: int) -> Floats:
    noise = read_array(path).astype(np.float32)
    if noise.ndim != 2 or noise.shape[1] != feature_dim:
        raise InputError(f"{path} has shape {noise.shape}; give rows of {feature_dim} numbers, as the generator takes")
    if len(noise) <= max(_MAX_DIFFERENCES, feature_dim):
        return noise
    return noise[np.linspace(0, len(noise) - 1, _MAX_DIFFERENCES).astype(int)]
