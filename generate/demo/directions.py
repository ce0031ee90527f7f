"""Drawn images -> directions of the identity vector that a visitor moves: yaw, and what people differ in.

An attribute is a number that is measured on an image, such as its yaw. A ridge regression of the attribute on the
vectors of drawn images gives weights ``w``. The direction is ``C w``, where ``C`` is the covariance of what may change:
the noise for yaw (the person stays), the people for an attribute of the person. A vector is thus moved along
differences that images have, and stays in the range that the generator was trained on.

Shapes: ``N`` drawn images, ``D`` width of the vectors.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from generate.demo.population import Floats, Population
from generate.networks.masks import MaskRatio, draw_masks
from generate.vec2face import NUM_GRID_TOKENS, Vec2Face

_SEED = 0
_BATCH = 32
_RIDGE = 0.05
"""Ridge of the regressions, as a share of the mean variance of a dimension."""
_CURVE_PEOPLE = 24
_CURVE_AMOUNTS = tuple(range(-90, 91, 15))
_LEAST_STEP_DEGREES = 1.0
"""Points of the yaw curve that turn the head by less than this are left out."""


@dataclass(frozen=True)
class Direction:
    """A slider: its name, its ends, and the vector of one standard deviation among people."""

    name: str
    low: str
    high: str
    vector: Floats


@dataclass(frozen=True)
class YawCurve:
    """How far a head turns when its vector moves by ``amounts`` times ``vector``: ``degrees``, ascending, 0 at 0."""

    vector: Floats
    amounts: list[float]
    degrees: list[float]


@dataclass(frozen=True)
class DrawnSample:
    """Images of some people, two of each, one after the other."""

    vectors: Floats
    """Shape (N, D)."""
    images: torch.Tensor
    """In [-1, 1], shape (N, 3, 112, 112)."""


def draw_sample(generator: Vec2Face, people: Population, num_people: int) -> DrawnSample:
    """Two images of each of ``num_people`` people, as a dataset of the benchmark would show them."""
    identities = people.identities(num_people, _SEED)
    vectors = np.concatenate([people.images(row, 2, _SEED, number) for number, row in enumerate(identities)])
    return DrawnSample(vectors, draw_images(generator, vectors))


def draw_images(generator: Vec2Face, vectors: Floats) -> torch.Tensor:
    """One image per vector, clamped to [-1, 1], shape (N, 3, 112, 112); masks depend on the row."""
    noise, ratios = draw_masks(_SEED, 0, range(len(vectors)), NUM_GRID_TOKENS, MaskRatio())
    inputs = torch.from_numpy(vectors), torch.from_numpy(noise), torch.from_numpy(ratios)
    return in_batches(lambda *batch: generator(*batch).float().clamp(-1, 1), *inputs)


@torch.no_grad()
def in_batches(network: Callable[..., torch.Tensor], *inputs: torch.Tensor) -> torch.Tensor:
    """The outputs of a network over rows of its inputs, computed in batches."""
    batches = zip(*(values.split(_BATCH) for values in inputs), strict=True)
    return torch.cat([network(*batch) for batch in batches])


def ridge_weights(vectors: NDArray[np.floating], values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Weights (D,) of a linear prediction of ``values`` (N,) from ``vectors`` (N, D), both taken about their means."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    covariance = centred.T @ centred / len(centred)
    covariance[np.diag_indices_from(covariance)] += _RIDGE * np.trace(covariance) / len(covariance)
    target = centred.T @ (values.astype(np.float64) - values.mean(dtype=np.float64)) / len(centred)
    return np.linalg.solve(covariance, target)


def attribute_direction(sample: DrawnSample, values: NDArray[np.floating], people: Population) -> Floats:
    """The direction (D,) in which people differ with an attribute, one standard deviation of the people long.

    Args:
        sample: Drawn images.
        values: The attribute of each, shape (N,).
        people: Their distribution.
    """
    weights = ridge_weights(sample.vectors, values)
    direction = people.covariance @ weights
    return (direction / max(float(np.sqrt(weights @ direction)), 1e-12)).astype(np.float32)


def principal_directions(people: Population, num: int) -> list[Direction]:
    """The directions of largest variance among people, which have no names."""
    variances, directions = np.linalg.eigh(people.covariance)
    rows = (directions * np.sqrt(np.maximum(variances, 0))).T[::-1][:num].astype(np.float32)
    return [Direction(f"Difference {number}", "less", "more", row) for number, row in enumerate(rows, start=1)]


def yaw_curve(
    generator: Vec2Face, yaw: Callable[[torch.Tensor], torch.Tensor], sample: DrawnSample, people: Population
) -> YawCurve | None:
    """The direction that turns heads, and how far; None if the generator does not turn heads in either direction.

    Args:
        generator: The generator.
        yaw: Images -> degrees (B,).
        sample: Drawn images.
        people: Their distribution.
    """
    weights = ridge_weights(sample.vectors, in_batches(yaw, sample.images).numpy())
    noise = sample.vectors.reshape(-1, 2, sample.vectors.shape[1]).astype(np.float64)
    differences = noise[:, 1] - noise[:, 0]
    turning = differences.T @ (differences @ weights)
    direction: Floats = (turning / max(float(weights @ turning), 1e-12)).astype(np.float32)
    identities = people.identities(_CURVE_PEOPLE, _SEED)
    degrees = [
        float(in_batches(yaw, draw_images(generator, identities + np.float32(amount) * direction)).mean())
        for amount in _CURVE_AMOUNTS
    ]
    return _rising_part(direction, degrees)


def _rising_part(direction: Floats, degrees: list[float]) -> YawCurve | None:
    """The points around amount 0 that turn the head further and further."""
    zero = _CURVE_AMOUNTS.index(0)
    chosen = [zero]
    for number in range(zero + 1, len(degrees)):
        if degrees[number] >= degrees[chosen[-1]] + _LEAST_STEP_DEGREES:
            chosen.append(number)
    for number in range(zero - 1, -1, -1):
        if degrees[number] <= degrees[chosen[0]] - _LEAST_STEP_DEGREES:
            chosen.insert(0, number)
    if not chosen[0] < zero < chosen[-1]:
        return None
    turned = [round(degrees[number] - degrees[zero], 2) for number in chosen]
    return YawCurve(direction, [float(_CURVE_AMOUNTS[number]) for number in chosen], turned)
