"""Figures of the leaderboard as inline SVG: ROC, DET, score histograms, intervals, accuracy against number of images.

In: scores of networks on a protocol, or accuracies of rows. Out: one ``<svg>`` element each, by
``evaluate/pages/svg.py``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluate.metrics import roc
from evaluate.pages.svg import COLORS, GENUINE, IMPOSTOR, Axis, Plot, format_count_tick, format_percent_tick

MAX_CURVES = len(COLORS)
"""Rows of a table that are drawn: one per colour."""
_NUM_STEPS = 160  # points of a curve, evenly spaced in log FAR


@dataclass(frozen=True)
class Curve:
    """Scores of one network on one protocol of P pairs."""

    label: str
    color: str
    scores: NDArray
    """Cosine similarity per pair, shape (P,)."""
    is_genuine: NDArray
    """Shape (P,)."""


@dataclass(frozen=True)
class SizePoint:
    """A dataset in the figure of accuracy against number of images."""

    label: str
    num_images: int
    mean: float
    """Mean accuracy in per cent."""
    color: str
    is_filled: bool
    """Filled: measured here. Hollow: published."""
    spread: float | None = None
    """Uncertainty of the mean in per cent points, drawn as a bar."""


def roc_plot(title: str, curves: Sequence[Curve]) -> str:
    """True accept rate against false accept rate.

    The log axis of the false accept rate starts at the lowest rate that the impostor pairs resolve.
    """
    plot = Plot(_far_axis(curves), Axis("TAR", 0, 1), title=f"ROC, {title}")
    for curve in curves:
        far, tar = _roc_steps(curve, plot.x.low)
        plot.line(far, tar, curve.color, 'stroke-width="1.6"')
    return plot.svg()


def det_plot(title: str, curves: Sequence[Curve]) -> str:
    """False reject rate (1 - TAR) against false accept rate, both on log axes."""
    lowest = 1 / max(int(curve.is_genuine.sum()) for curve in curves)
    y = Axis("1 - TAR", lowest, 1, is_log=True, format_tick=_format_power_tick)
    plot = Plot(_far_axis(curves), y, title=f"DET, {title}")
    for curve in curves:
        far, tar = _roc_steps(curve, plot.x.low)
        plot.line(far, np.maximum(1 - tar, lowest), curve.color, 'stroke-width="1.6"')
    return plot.svg()


def histogram_plot(title: str, scores: NDArray, is_genuine: NDArray) -> str:
    """Histograms of the scores of genuine and of impostor pairs, each as shares of its pairs."""
    low, high = float(np.floor(scores.min() * 10) / 10), float(np.ceil(scores.max() * 10) / 10)
    edges = np.linspace(low, max(high, low + 0.1), 41)
    shares = [np.histogram(scores[part], edges)[0] / max(part.sum(), 1) for part in (is_genuine, ~is_genuine)]
    top = max(1e-6, float(np.max(shares)))
    y = Axis("share of pairs", 0, top * 1.05, format_tick=format_percent_tick)
    plot = Plot(Axis(f"cosine, {title}", edges[0], edges[-1]), y, width=270, height=190, title=title)
    for heights, color in zip(shares, (GENUINE, IMPOSTOR), strict=True):
        plot.bars(edges, heights, color)
    return plot.svg()


def size_plot(points: Sequence[SizePoint], series: dict[str, list[SizePoint]]) -> str:
    """Mean accuracy in per cent against number of training images, on a log axis.

    Args:
        points: All datasets.
        series: Name of a generator -> its datasets, smallest first; joined by a line with the name at its end.
    """
    images, means = [point.num_images for point in points], [point.mean for point in points]
    lowest_power = 10 ** math.floor(math.log10(min(images)))
    x = Axis("training images", lowest_power, max(images) * 3, is_log=True, format_tick=format_count_tick)
    y = Axis("mean of the five sets, %", math.floor(min(means) - 1), min(100.0, math.ceil(max(means) + 1)))
    plot = Plot(x, y, width=900, height=430, title="Accuracy against number of training images")
    for members in series.values():
        plot.line([point.num_images for point in members], [point.mean for point in members], members[0].color)
    for point in points:
        if point.spread:
            ends = [max(y.low, point.mean - point.spread), min(y.high, point.mean + point.spread)]
            plot.line([point.num_images] * 2, ends, point.color, 'stroke-width="2"')
        tip = f"{point.label}: {point.mean:.2f} %, {point.num_images:,} images"
        plot.dot(point.num_images, point.mean, point.color, tip=tip, is_filled=point.is_filled)
    labels = [(members[-1], name) for name, members in series.items()]
    labels += [(point, point.label) for point in points if point.is_filled]
    _write_labels(plot, labels)
    return plot.svg()


def interval_plot(
    ends: tuple[float, float], seeds: Sequence[float], axis: Axis, floor: float | None, color: str
) -> str:
    """An interval small enough for a table cell: a bar, a dot per seed, a dashed tick at the best floor.

    Args:
        ends: Lower and upper end of the interval, fractions.
        seeds: Accuracy of each seed, fractions.
        axis: Range that all cells of a column share.
        floor: Accuracy of the best row without training, a fraction; None draws no tick.
        color: Colour of bar and dots.
    """
    width, height = 120, 14

    def across(accuracy: float) -> float:
        return 4 + axis.position(accuracy) * (width - 8)

    tip = f"{100 * ends[0]:.2f} to {100 * ends[1]:.2f} %"
    parts = [f'<svg class="interval" viewBox="0 0 {width} {height}" width="{width}" height="{height}">']
    parts.append(f"<title>{tip}</title>")
    if floor is not None:
        x = f"{across(floor):.1f}"
        parts.append(f'<line class="floor" x1="{x}" y1="1" x2="{x}" y2="{height - 1}"/>')
    left, right = map(across, ends)
    parts.append(f'<line x1="{left:.1f}" y1="7" x2="{right:.1f}" y2="7" stroke="{color}" stroke-width="2"/>')
    radius = 3.5 if len(seeds) == 1 else 2.5
    for accuracy in seeds:
        parts.append(f'<circle cx="{across(accuracy):.1f}" cy="7" r="{radius}" fill="{color}" fill-opacity="0.8"/>')
    return "".join([*parts, "</svg>"])


def _far_axis(curves: Sequence[Curve]) -> Axis:
    lowest = 1 / max(int((~curve.is_genuine).sum()) for curve in curves)
    return Axis("FAR", lowest, 1, is_log=True, format_tick=_format_power_tick)


def _roc_steps(curve: Curve, lowest: float) -> tuple[NDArray, NDArray]:
    """False and true accept rates at evenly spaced points of a log axis: exact at these points, and few."""
    far, tar, _ = roc(curve.scores, curve.is_genuine)
    rates = np.geomspace(lowest, 1, _NUM_STEPS)
    return rates, tar[np.searchsorted(far, rates + 1e-12, side="right") - 1]


def _write_labels(plot: Plot, labels: Sequence[tuple[SizePoint, str]], gap: float = 12) -> None:
    """Write labels to the right of their points; move a label down where it would cover another one."""
    boxes: list[tuple[float, float, float]] = []  # left, right, height of each label written so far
    for point, text in sorted(labels, key=lambda label: -label[0].mean):
        across, down = plot.to_pixels(point.num_images, point.mean)
        width = 6.2 * len(text)
        target = down
        for left, right, other in sorted(boxes, key=lambda box: box[2]):
            if left < across + width and across < right and abs(other - target) < gap:
                target = other + gap
        boxes.append((across, across + width, target))
        plot.text(point.num_images, point.mean, text, point.color, shift=(8, 3.5 + target - down))


def _format_power_tick(tick: float) -> str:
    power = round(math.log10(tick))
    return "1" if power == 0 else f"1e{power}"
