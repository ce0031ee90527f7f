"""Error against the size of a dataset: two rival forms, fitted by least squares on the logarithm of the error.

| form | error of N identities with M images each |
|---|---|
| floor | a + b (N/N0)^-c (M/M0)^-d: a power law that ends at the floor a |
| log-linear | p - q log10(N/N0) - r log10(M/M0): each tenfold size takes away the same number of points |

N0 and M0 are the geometric means of the sizes. d and r are left out where M does not vary. Legend: P points, R draws, K
candidates. Both forms are a factor times a curve of one or two further parameters, so for each candidate curve the best
factor is known: its logarithm is the mean of the log ratios of error and curve. All candidates of a grid are tried, for
all draws at once, and the best is refined, which needs no start values. Errors are fractions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from evaluate.measure.uncertainty.bootstrap import interval

Form = Literal["floor", "log-linear"]
Scaled = tuple[NDArray, NDArray]
"""log10 of N/N0 and of M/M0, shape (P,) each."""
MIN_POINTS = 3
"""Sizes that a fit needs; the form with a floor needs more than it has parameters."""
DECISIVE_SHARE = 0.95
"""Share of the draws in which a form must predict left-out points better to count as the better one."""
_TENFOLD = 10.0
_MIN_ERROR = 1e-6
_MIN_CURVE = 1e-9
_DRAWS_PER_BLOCK = 50
_REFINEMENTS = tuple(np.geomspace(0.35, 0.005, 16))
"""Relative widths of the grids around the best candidate; the coarse grid has steps of up to 42 %."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of P datasets."""

    identities: NDArray
    """Shape (P,)."""
    images: NDArray
    """Images per identity, shape (P,)."""


@dataclass(frozen=True)
class Figure:
    """A number with its 95 % interval over the draws."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Fit:
    """One form, fitted."""

    form: Form
    parameters: dict[str, Figure]
    """By the letters of the module's table. a, b, p, q and r are errors, fractions."""
    rms: float
    """Root mean square of the residuals of the log error."""
    left_out_rms: float | None
    """The same for each point as predicted from all others; None with too few points."""
    tenfold_gain: Figure
    """Accuracy, a fraction, that ten times more identities than the largest set would add, images as in that set."""
    predict: Callable[[NDArray, NDArray], NDArray]
    """Identities and images per identity, shape (P,) each -> errors, shape (P,)."""


@dataclass(frozen=True)
class Comparison:
    """Both forms on the same points."""

    fits: tuple[Fit, ...]
    """Log-linear first; the form with a floor only where there are points enough."""
    floor_share: float | None
    """Share of the draws in which the form with a floor predicts left-out points better; None without that form."""
    verdict: str
    """What the points say about the two forms, in sentences."""


def compare_forms(sizes: Sizes, errors: NDArray, draws: NDArray) -> Comparison:
    """Fit both forms, with intervals, and say whether the points can tell them apart.

    Args:
        sizes: Sizes of the datasets.
        errors: Error of each, 1 - accuracy, shape (P,).
        draws: Errors of resampled seeds and pairs, shape (R, P).

    Raises:
        InputError: If there are fewer than three sizes, or all have as many identities.
    """
    num_sizes = len({*zip(sizes.identities.tolist(), sizes.images.tolist(), strict=True)})
    if num_sizes < MIN_POINTS or np.ptp(sizes.identities) == 0:
        raise InputError(f"{num_sizes} sizes are too few for a fit; give {MIN_POINTS} with two numbers of identities")
    log_errors = np.log(np.maximum(np.vstack([errors, draws]), _MIN_ERROR))  # row 0: as measured
    has_images = bool(np.ptp(sizes.images) > 0)
    fits, losses = [], {}
    forms: tuple[Form, ...] = ("log-linear", "floor")
    for form in forms:
        num_parameters = (3 if form == "floor" else 2) + has_images
        if num_sizes <= num_parameters and form == "floor":
            continue
        fit, loss = _fit(form, sizes, log_errors, has_left_out=num_sizes > num_parameters + 1)
        fits.append(fit)
        losses[form] = loss
    share = None
    if len(losses) == 2 and losses["floor"] is not None and losses["log-linear"] is not None:
        share = float(np.mean(losses["floor"][1:] < losses["log-linear"][1:]))
    return Comparison(tuple(fits), share, _verdict(tuple(fits), share, num_sizes))


def _fit(form: Form, sizes: Sizes, log_errors: NDArray, *, has_left_out: bool) -> tuple[Fit, NDArray | None]:
    """The fit, and for each row of ``log_errors`` the squared error of left-out points; None without ``has_left_out``.

    Args:
        form: Form to fit.
        sizes: Sizes of the datasets.
        log_errors: Log errors as measured and of the draws, shape (1 + R, P).
        has_left_out: Whether there are points enough to leave one out.
    """
    scaled = _scaled(sizes, sizes.identities, sizes.images)
    best = _best_curves(form, log_errors, scaled)  # (1 + R, 3)
    log_curves = np.log(_curve(form, best, scaled))
    factors = np.exp(np.mean(log_errors - log_curves, axis=1))  # (1 + R,)
    parameters = _parameters(form, best, factors, has_images=bool(np.ptp(sizes.images) > 0))
    largest = int(np.argmax(sizes.identities * 1e6 + sizes.images))
    ends = np.array([1.0, _TENFOLD]) * sizes.identities[largest]
    ends_images = np.repeat(sizes.images[largest], 2)
    at_ends = factors[:, None] * _curve(form, best, _scaled(sizes, ends, ends_images))  # (1 + R, 2)
    gains = np.maximum(at_ends[:, 0], 0) - np.maximum(at_ends[:, 1], 0)
    residuals = log_errors[0] - np.log(factors[0]) - log_curves[0]
    loss = _left_out_losses(form, log_errors, scaled) if has_left_out else None

    def predict(identities: NDArray, images: NDArray) -> NDArray:
        return np.maximum(factors[0] * _curve(form, best[:1], _scaled(sizes, identities, images))[0], 0)

    fit = Fit(
        form,
        {name: _with_interval(values) for name, values in parameters.items()},
        float(np.sqrt(np.mean(residuals**2))),
        None if loss is None else float(np.sqrt(loss[0] / log_errors.shape[1])),
        _with_interval(gains),
        predict,
    )
    return fit, loss


def _best_curves(form: Form, log_errors: NDArray, scaled: Scaled) -> NDArray:
    """Parameters of the curve of least squares for each row of ``log_errors``, shape (1 + R, 3).

    The columns are offset, exponent or 1, and the weight of the images (0 where they do not vary). The best candidate
    of a coarse grid is refined by ever smaller grids around it.
    """
    has_images = bool(np.ptp(scaled[1]) > 0)
    candidates = _candidates(form, scaled, has_images=has_images)
    log_curves = np.log(_curve(form, candidates, scaled))
    centered = log_curves - log_curves.mean(axis=1, keepdims=True)
    norms = np.sum(centered**2, axis=1)
    rows = log_errors - log_errors.mean(axis=1, keepdims=True)
    blocks = [rows[start : start + _DRAWS_PER_BLOCK] for start in range(0, len(rows), _DRAWS_PER_BLOCK)]
    best = candidates[np.concatenate([np.argmin(norms - 2 * block @ centered.T, axis=1) for block in blocks])]
    shift = np.array([_reach(scaled) if form == "log-linear" else 0.0, 0.0, 0.0])
    for width in _REFINEMENTS:
        steps = np.exp(width * np.linspace(-1, 1, 5))
        fixed = np.ones(1)
        axes = (steps, steps if form == "floor" else fixed, steps if has_images else fixed)
        factors = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        near = (best[:, None] + shift) * factors - shift  # (1 + R, candidates near it, 3)
        curves = _curve(form, near, scaled)
        losses = np.var(log_errors[:, None] - np.log(np.maximum(curves, _MIN_CURVE)), axis=-1)
        losses[np.any(curves <= _MIN_CURVE, axis=-1)] = np.inf
        best = near[np.arange(len(near)), np.argmin(losses, axis=1)]
    return best


def _candidates(form: Form, scaled: Scaled, *, has_images: bool) -> NDArray:
    """Parameters of the coarse grid, shape (K, 3), whose curves are positive at all sizes."""
    weights = np.concatenate([[0.0], np.geomspace(0.01, 4, 40)]) if has_images else np.zeros(1)
    if form == "floor":
        offsets = np.concatenate([[0.0], np.geomspace(1e-3, 1e3, 40)])
        exponents = np.geomspace(0.01, 5, 40)
    else:
        reach = _reach(scaled)
        offsets = np.geomspace(1e-2, 1e3 * reach, 400) - reach
        exponents = np.ones(1)
    grid = np.stack(np.meshgrid(offsets, exponents, weights, indexing="ij"), axis=-1).reshape(-1, 3)
    return grid[np.all(_curve(form, grid, scaled) > _MIN_CURVE, axis=1)]


def _reach(scaled: Scaled) -> float:
    """Added to the offset of a log-linear candidate, it gives a positive number, which the refinement multiplies."""
    return float(np.ptp(scaled[0])) + 4


def _scaled(sizes: Sizes, identities: NDArray, images: NDArray) -> Scaled:
    """log10 of N/N0 and of M/M0, shape (P,) each."""
    centers = [np.mean(np.log10(values)) for values in (sizes.identities, sizes.images)]
    return np.log10(identities) - centers[0], np.log10(images) - centers[1]


def _curve(form: Form, candidates: NDArray, scaled: Scaled) -> NDArray:
    """Candidate curves before their factor, shape (..., P).

    Args:
        form: Form of the curves.
        candidates: Their parameters, shape (..., 3).
        scaled: log10 of the sizes, shape (P,) each.
    """
    offset, exponent, weight = (candidates[..., [column]] for column in range(3))
    identities, images = scaled
    if form == "floor":
        return offset + 10.0 ** (-exponent * identities - weight * images)
    return offset - identities - weight * images


def _left_out_losses(form: Form, log_errors: NDArray, scaled: Scaled) -> NDArray:
    """Sum over the points of the squared log error of their prediction from all others, shape (1 + R,)."""
    total = np.zeros(len(log_errors))
    for left_out in range(log_errors.shape[1]):
        others = np.arange(log_errors.shape[1]) != left_out
        best = _best_curves(form, log_errors[:, others], (scaled[0][others], scaled[1][others]))
        log_curves = np.log(np.maximum(_curve(form, best, scaled), _MIN_CURVE))
        shift = np.mean(log_errors[:, others] - log_curves[:, others], axis=1)
        total += (log_errors[:, left_out] - log_curves[:, left_out] - shift) ** 2
    return total


def _parameters(form: Form, best: NDArray, factors: NDArray, *, has_images: bool) -> dict[str, NDArray]:
    """Parameters by the letters of the module's table, shape (1 + R,) each."""
    offset, exponent, weight = best.T
    if form == "floor":
        named = {"a": factors * offset, "b": factors, "c": exponent}
        return named | ({"d": weight} if has_images else {})
    named = {"p": factors * offset, "q": factors}
    return named | ({"r": factors * weight} if has_images else {})


def _with_interval(values: NDArray) -> Figure:
    return Figure(float(values[0]), *interval(values[1:]))


def _verdict(fits: tuple[Fit, ...], share: float | None, num_sizes: int) -> str:
    floors = [fit for fit in fits if fit.form == "floor"]
    if not floors:
        return f"{num_sizes} sizes are too few to ask for a floor: only the log-linear form was fitted."
    floor = floors[0].parameters["a"]
    touches_zero = floor.low < 0.01 * floors[0].parameters["b"].value
    about_floor = "The floor a cannot be told from 0." if touches_zero else "The floor a is apart from 0."
    if share is None:
        text = f"{num_sizes} sizes are too few to leave one out, so only the floor can tell the two forms apart."
    elif share >= DECISIVE_SHARE:
        text = (
            f"The form with a floor is the better one: it predicts left-out sizes better in {share:.0%} of the draws."
        )
    elif share <= 1 - DECISIVE_SHARE:
        text = (
            f"The log-linear form is the better one: it predicts left-out sizes better in {1 - share:.0%} of the draws."
        )
    else:
        text = (
            "The points cannot tell the two forms apart: the form with a floor predicts left-out sizes better in "
            f"{share:.0%} of the draws."
        )
    return f"{text} {about_floor}"
