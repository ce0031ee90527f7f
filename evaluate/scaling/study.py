"""Accuracy against the size of the dataset: curves of a sweep and of published rows, fitted by two rival forms."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.markdown import markdown_table
from evaluate.leaderboard import published
from evaluate.scaling.fit import MIN_POINTS, Comparison, Figure, Sizes, compare_forms
from evaluate.scaling.results import NUM_DRAWS, Setting, group_by_size, resampled_errors

PUBLISHED_PATH = Path(__file__).parent.parent.parent / "reports" / "published.csv"
PUBLISHED_STD = 0.0015
"""Standard deviation assumed for a published mean accuracy, a fraction: papers print neither seeds nor scores."""


@dataclass(frozen=True)
class Curve:
    """Datasets that differ in size alone, with the fits of both forms."""

    title: str
    sizes: Sizes
    errors: NDArray
    """1 - accuracy, mean over seeds and test sets, shape (P,)."""
    low: NDArray
    high: NDArray
    """95 % interval of each error, shape (P,)."""
    comparison: Comparison
    interval_over: str
    """What the draws behind the intervals vary."""
    is_published: bool = False


def curves_of_sweep(settings: Sequence[Setting], fields: Sequence[str]) -> tuple[list[Curve], dict[str, str]]:
    """The curves of a sweep that varies the size of its datasets.

    Args:
        settings: Its settings.
        fields: Its varied fields, dotted.

    Returns:
        The curves, and title -> reason for each group of settings that cannot be fitted.
    """
    curves, problems = [], {}
    for title, members in group_by_size(settings, fields).items():
        if len({(member.num_identities, member.num_images) for member in members}) < 2:
            continue
        try:
            curves.append(_curve_of_settings(title, members))
        except InputError as error:
            problems[title] = str(error)
    return curves, problems


@cache
def published_curves(path: Path = PUBLISHED_PATH) -> tuple[Curve, ...]:
    """A curve for each generator of ``published.csv`` with three numbers of identities or more.

    Images per identity are taken as equal within a curve, since papers change them together with the identities.
    """
    curves = []
    for name, rows in published.group_by_size(published.read_published(path)).items():
        known = [(row.num_identities, row.mean) for row in rows if row.num_identities and row.mean]
        identities = np.array([num_identities for num_identities, _ in known], dtype=float)
        if len(set(identities.tolist())) < MIN_POINTS:
            continue
        errors = np.array([1 - mean / 100 for _, mean in known])
        noise = np.random.default_rng(0).normal(0, PUBLISHED_STD, size=(NUM_DRAWS, len(errors)))
        over = f"an assumed standard deviation of {100 * PUBLISHED_STD:g} points"
        curves.append(_make_curve(name, Sizes(identities, np.ones(len(errors))), errors, errors + noise, over, True))
    return tuple(curves)


def describe_curves(curves: Sequence[Curve]) -> str:
    """The fits of several curves as Markdown: parameters with intervals, gains, and what the points can tell."""
    return "\n\n".join(f"## {curve.title}\n\n{describe_curve(curve)}" for curve in curves)


def describe_curve(curve: Curve) -> str:
    """The fits of one curve as a Markdown table and a verdict."""
    header = ["form", "parameters", "rms of log error", "left out", "ten times more identities add"]
    verdict = f"{curve.comparison.verdict} Intervals are of 95 %, over {curve.interval_over}."
    return f"{markdown_table(header, fit_cells(curve))}\n\n{verdict}"


def fit_cells(curve: Curve) -> list[list[str]]:
    """Text of one line per form: its name, parameters, residuals, and the gain in points."""
    lines = []
    for fit in curve.comparison.fits:
        parameters = ", ".join(f"{name} {_format(figure)}" for name, figure in fit.parameters.items())
        left_out = "-" if fit.left_out_rms is None else f"{fit.left_out_rms:.4f}"
        gain = fit.tenfold_gain
        points = f"{100 * gain.value:.2f} points ({100 * gain.low:.2f} to {100 * gain.high:.2f})"
        lines.append([fit.form, parameters, f"{fit.rms:.4f}", left_out, points])
    return lines


def _format(figure: Figure) -> str:
    return f"{figure.value:.3g} ({figure.low:.3g} to {figure.high:.3g})"


def _curve_of_settings(title: str, finished: Sequence[Setting]) -> Curve:
    """The curve of settings of a sweep, over the seeds that all of them have: the sweep may still run."""
    seeds = set.intersection(*({point.seed for point in setting.points} for setting in finished))
    if not seeds:
        raise InputError("its settings have no finished seed in common; wait until the sweep has run")
    members = [setting.of_seeds(seeds) for setting in finished]
    identities = np.array([member.num_identities for member in members], dtype=float)
    images = np.array([member.num_images for member in members]) / identities
    errors = np.array([1 - member.mean_accuracy for member in members])
    over = f"{len(seeds)} seeds and the test pairs" if len(seeds) > 1 else "the test pairs of one seed"
    return _make_curve(title, Sizes(identities, images), errors, resampled_errors(members), over, False)


def _make_curve(
    title: str, sizes: Sizes, errors: NDArray, draws: NDArray, interval_over: str, is_published: bool
) -> Curve:
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    return Curve(title, sizes, errors, low, high, compare_forms(sizes, errors, draws), interval_over, is_published)
