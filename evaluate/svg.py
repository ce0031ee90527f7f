"""Scores and accuracies -> figures, as inline SVG: ROC, DET, score histograms, accuracy against number of images.

Written by hand, since a figure that lies inside the page is searchable, sharp in print and needs no second file.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np
from numpy.typing import NDArray

from evaluate.metrics import roc

COLORS = ("#0b6e99", "#d1495b", "#2e8b57", "#e08e0b", "#6a4c93", "#8c564b", "#1f9e89", "#b5179e")
GENUINE, IMPOSTOR, GREY = "#0b6e99", "#d1495b", "#8a8f98"
MAX_CURVES = len(COLORS)

_MARGIN = (52, 12, 14, 36)  # left, right, top, bottom, in pixels
_NUM_STEPS = 160


@dataclass(frozen=True)
class Axis:
    """One axis: range, scale and label. ``format`` writes a tick."""

    label: str
    low: float
    high: float
    is_log: bool = False
    format: Callable[[float], str] = "{:g}".format

    def share(self, value: float) -> float:
        """Place on the axis: 0 at ``low``, 1 at ``high``."""
        if self.is_log:
            return (math.log10(value) - math.log10(self.low)) / (math.log10(self.high) - math.log10(self.low))
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Round values inside the range: powers of ten, or about five steps of 1, 2 or 5."""
        if self.is_log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            return [10.0**power for power in range(first, last + 1)]
        rough = (self.high - self.low) / 6
        power = 10 ** math.floor(math.log10(rough))
        step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        return [round(i * step, 10) for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


@dataclass
class Plot:
    """An SVG with two axes that marks are added to, in data coordinates."""

    x: Axis
    y: Axis
    width: int = 330
    height: int = 250
    title: str = ""
    marks: list[str] = field(default_factory=list)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Pixels of a point."""
        left, right, top, bottom = _MARGIN
        across = left + self.x.share(x) * (self.width - left - right)
        return across, self.height - bottom - self.y.share(y) * (self.height - top - bottom)

    def line(self, xs: Sequence[float] | NDArray, ys: Sequence[float] | NDArray, color: str, extra: str = "") -> None:
        """A line through points."""
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in (self.place(*point) for point in zip(xs, ys, strict=True)))
        self.marks.append(f'<polyline points="{points}" fill="none" stroke="{color}" {extra}/>')

    def dot(self, x: float, y: float, color: str, *, tip: str, is_filled: bool = True, radius: float = 3.5) -> None:
        """A round mark with a tooltip."""
        across, down = self.place(x, y)
        fill = color if is_filled else "#fff"
        self.marks.append(
            f'<circle cx="{across:.1f}" cy="{down:.1f}" r="{radius}" fill="{fill}" stroke="{color}">'
            f"<title>{escape(tip)}</title></circle>"
        )

    def text(self, x: float, y: float, text: str, color: str, *, shift: tuple[float, float] = (0, 0)) -> None:
        """A label that starts at a point, moved by ``shift`` pixels."""
        across, down = self.place(x, y)
        self.marks.append(
            f'<text x="{across + shift[0]:.1f}" y="{down + shift[1]:.1f}" fill="{color}">{escape(text)}</text>'
        )

    def bars(self, edges: NDArray, heights: NDArray, color: str) -> None:
        """A filled outline over bins."""
        xs, ys = np.repeat(edges, 2), np.concatenate([[0], np.repeat(heights, 2), [0]])
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in (self.place(*point) for point in zip(xs, ys, strict=True)))
        self.marks.append(f'<polygon points="{points}" fill="{color}" fill-opacity="0.35" stroke="{color}"/>')

    def svg(self) -> str:
        """The figure."""
        left, right, top, bottom = _MARGIN
        parts = [f'<svg class="plot" viewBox="0 0 {self.width} {self.height}" role="img">']
        parts.append(f"<title>{escape(self.title)}</title>")
        for tick in self.x.ticks():
            across = left + self.x.share(tick) * (self.width - left - right)
            base = self.height - bottom
            parts.append(f'<line class="grid" x1="{across:.1f}" y1="{top}" x2="{across:.1f}" y2="{base}"/>')
            label = escape(self.x.format(tick))
            parts.append(f'<text x="{across:.1f}" y="{base + 14}" text-anchor="middle">{label}</text>')
        for tick in self.y.ticks():
            down = self.height - bottom - self.y.share(tick) * (self.height - top - bottom)
            parts.append(f'<line class="grid" x1="{left}" y1="{down:.1f}" x2="{self.width - right}" y2="{down:.1f}"/>')
            label = escape(self.y.format(tick))
            parts.append(f'<text x="{left - 6}" y="{down + 3.5:.1f}" text-anchor="end">{label}</text>')
        middle = (left + self.width - right) / 2, (top + self.height - bottom) / 2
        parts.append(f'<text class="label" x="{middle[0]}" y="{self.height - 5}">{escape(self.x.label)}</text>')
        turned = f'transform="rotate(-90 12 {middle[1]})"'
        parts.append(f'<text class="label" x="12" y="{middle[1]}" {turned}>{escape(self.y.label)}</text>')
        return "".join([*parts, *self.marks, "</svg>"])


@dataclass(frozen=True)
class Curve:
    """One network's scores on one protocol."""

    label: str
    color: str
    scores: NDArray
    is_genuine: NDArray


def roc_plot(title: str, curves: Sequence[Curve]) -> str:
    """True accept rate against false accept rate on a log axis, down to what the impostors resolve."""
    plot = Plot(_far_axis(curves), Axis("TAR", 0, 1), title=f"ROC, {title}")
    for curve in curves:
        far, tar = _steps(curve, plot.x.low)
        plot.line(far, tar, curve.color, 'stroke-width="1.6"')
    return plot.svg()


def det_plot(title: str, curves: Sequence[Curve]) -> str:
    """False reject rate against false accept rate, both on log axes."""
    lowest = 1 / max(int(curve.is_genuine.sum()) for curve in curves)
    plot = Plot(_far_axis(curves), Axis("1 - TAR", lowest, 1, is_log=True, format=_power), title=f"DET, {title}")
    for curve in curves:
        far, tar = _steps(curve, plot.x.low)
        plot.line(far, np.maximum(1 - tar, lowest), curve.color, 'stroke-width="1.6"')
    return plot.svg()


def histogram_plot(title: str, scores: NDArray, is_genuine: NDArray) -> str:
    """Shares of genuine and impostor pairs by score."""
    low, high = float(np.floor(scores.min() * 10) / 10), float(np.ceil(scores.max() * 10) / 10)
    edges = np.linspace(low, max(high, low + 0.1), 41)
    shares = [np.histogram(scores[part], edges)[0] / max(part.sum(), 1) for part in (is_genuine, ~is_genuine)]
    top = max(1e-6, float(np.max(shares)))
    share = Axis("share of pairs", 0, top * 1.05, format=lambda tick: f"{100 * tick:g}%")
    plot = Plot(Axis(f"cosine, {title}", edges[0], edges[-1]), share, width=270, height=190, title=title)
    for heights, color in zip(shares, (GENUINE, IMPOSTOR), strict=True):
        plot.bars(edges, heights, color)
    return plot.svg()


@dataclass(frozen=True)
class SizePoint:
    """A dataset in the figure of accuracy against size; accuracies in per cent."""

    label: str
    num_images: int
    mean: float
    color: str
    is_filled: bool
    spread: float | None = None


def size_plot(points: Sequence[SizePoint], lines: dict[str, list[SizePoint]]) -> str:
    """Mean accuracy in per cent against number of training images, on a log axis.

    Args:
        points: All datasets.
        lines: Those of one generator in several sizes, smallest first, joined and named at the end of the line.
    """
    images, means = [point.num_images for point in points], [point.mean for point in points]
    x = Axis("training images", 10 ** math.floor(math.log10(min(images))), max(images) * 3, is_log=True, format=_count)
    y = Axis("mean of the five sets, %", math.floor(min(means) - 1), min(100.0, math.ceil(max(means) + 1)))
    plot = Plot(x, y, width=900, height=430, title="Accuracy against number of training images")
    for members in lines.values():
        plot.line([one.num_images for one in members], [one.mean for one in members], members[0].color)
    for point in points:
        if point.spread:
            ends = [max(y.low, point.mean - point.spread), min(y.high, point.mean + point.spread)]
            plot.line([point.num_images] * 2, ends, point.color, 'stroke-width="2"')
        tip = f"{point.label}: {point.mean:.2f} %, {point.num_images:,} images"
        plot.dot(point.num_images, point.mean, point.color, tip=tip, is_filled=point.is_filled)
    labels = [(members[-1], name) for name, members in lines.items()]
    labels += [(point, point.label) for point in points if point.is_filled]
    _write_apart(plot, labels)
    return plot.svg()


def interval_plot(
    ends: tuple[float, float], seeds: Sequence[float], axis: Axis, floor: float | None, color: str
) -> str:
    """A bar over the interval, a dot per seed, and a dashed tick at the best floor; small enough for a cell."""
    width, height = 120, 14

    def across(accuracy: float) -> float:
        return 4 + axis.share(accuracy) * (width - 8)

    tip = f"{100 * ends[0]:.2f} to {100 * ends[1]:.2f} %"
    parts = [f'<svg class="interval" viewBox="0 0 {width} {height}" width="{width}" height="{height}">']
    parts.append(f"<title>{tip}</title>")
    if floor is not None:
        parts.append(
            f'<line class="floor" x1="{across(floor):.1f}" y1="1" x2="{across(floor):.1f}" y2="{height - 1}"/>'
        )
    left, right = map(across, ends)
    parts.append(f'<line x1="{left:.1f}" y1="7" x2="{right:.1f}" y2="7" stroke="{color}" stroke-width="2"/>')
    radius = 3.5 if len(seeds) == 1 else 2.5
    parts += [
        f'<circle cx="{across(one):.1f}" cy="7" r="{radius}" fill="{color}" fill-opacity="0.8"/>' for one in seeds
    ]
    return "".join([*parts, "</svg>"])


def _far_axis(curves: Sequence[Curve]) -> Axis:
    lowest = 1 / max(int((~curve.is_genuine).sum()) for curve in curves)
    return Axis("FAR", lowest, 1, is_log=True, format=_power)


def _steps(curve: Curve, lowest: float) -> tuple[NDArray, NDArray]:
    """The ROC as a step curve at evenly spaced rates of a log axis: exact there, and small."""
    far, tar, _ = roc(curve.scores, curve.is_genuine)
    rates = np.geomspace(lowest, 1, _NUM_STEPS)
    return rates, tar[np.searchsorted(far, rates + 1e-12, side="right") - 1]


def _write_apart(plot: Plot, labels: Sequence[tuple[SizePoint, str]], gap: float = 12) -> None:
    """Labels right of their points, those that would lie on each other moved down."""
    taken: list[tuple[float, float, float]] = []
    for point, text in sorted(labels, key=lambda item: -item[0].mean):
        across, down = plot.place(point.num_images, point.mean)
        width = 6.2 * len(text)
        target = down
        for left, right, row in sorted(taken, key=lambda box: box[2]):
            if left < across + width and across < right and abs(row - target) < gap:
                target = row + gap
        taken.append((across, across + width, target))
        plot.text(point.num_images, point.mean, text, point.color, shift=(8, 3.5 + target - down))


def _power(tick: float) -> str:
    power = round(math.log10(tick))
    return "1" if power == 0 else f"1e{power}"


def _count(tick: float) -> str:
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if tick >= size:
            return f"{tick / size:g} {unit}"
    return f"{tick:g}"
