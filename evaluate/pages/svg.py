"""Plots as inline SVG: numbers in data coordinates -> one ``<svg>`` element for a page.

The project draws in two ways. The HTML pages of the leaderboard and of the audit use this module, for four reasons:

- A figure inside the page needs no second file.
- Its labels can be searched, and its dots have tooltips.
- Equal cards give equal bytes, so that a test can compare a committed page with its cards.
- The last step of every benchmark renders a page and must not import matplotlib.

Figures that stand alone as PNG files are drawn with matplotlib, such as the one of ``reports/make_overview.py``.
Fonts and the colours of axes come from the style sheets of the pages (``evaluate/pages``).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np
from numpy.typing import NDArray

COLORS = ("#0b6e99", "#d1495b", "#2e8b57", "#e08e0b", "#6a4c93", "#8c564b", "#1f9e89", "#b5179e")
GENUINE, IMPOSTOR, GREY = "#0b6e99", "#d1495b", "#8a8f98"

_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 14, 36  # margins in pixels
_LETTER, _LINE_HEIGHT = 6.2, 13.0  # width and height of a label's letters in pixels, with room to spare
_LEADER = 16  # pixels between the axes and the labels at their right
_LONGEST_NAME = 44  # letters; longer names are cut, so that the axes keep their room


@dataclass(frozen=True)
class Axis:
    """One axis of a plot: label, range and scale."""

    label: str
    low: float
    high: float
    is_log: bool = False
    format_tick: Callable[[float], str] = "{:g}".format
    """Value of a tick -> its text."""
    log_steps: tuple[int, ...] = (1,)
    """Ticks of each power of ten on a log axis: (1, 2, 5) gives 1, 2, 5, 10, 20 and so on."""

    def position(self, value: float) -> float:
        """Position of a value along the axis: 0 at ``low``, 1 at ``high``."""
        if self.is_log:
            return (math.log10(value) - math.log10(self.low)) / (math.log10(self.high) - math.log10(self.low))
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Round values within the range.

        On a log axis they are ``log_steps`` times powers of ten, otherwise at most six steps of 1, 2 or 5 times a power
        of ten.
        """
        if self.is_log:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            ticks = [step * 10.0**power for power in range(first, last + 1) for step in self.log_steps]
            return [tick for tick in ticks if self.low * (1 - 1e-9) <= tick <= self.high * (1 + 1e-9)]
        rough = (self.high - self.low) / 6
        power = 10 ** math.floor(math.log10(rough))
        step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        return [round(i * step, 10) for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


@dataclass
class Plot:
    """A figure with two axes. Its methods draw in data coordinates, and ``svg`` returns the figure as text."""

    x: Axis
    y: Axis
    width: int = 330
    height: int = 250
    title: str = ""
    names: Sequence[str] = ()
    """All names that ``name_line`` will write. The figure keeps room for the longest at its right."""
    marks: list[str] = field(default_factory=list)
    """SVG elements that were drawn so far, in order."""
    _named: list[tuple[float, float, str, str]] = field(default_factory=list)
    """Ends of named lines: pixels from the left and from the top, name, colour."""

    def to_pixels(self, x: float, y: float) -> tuple[float, float]:
        """Pixels of a point, from the left and from the top."""
        return self._across(x), self._down(y)

    def line(self, xs: Sequence[float] | NDArray, ys: Sequence[float] | NDArray, color: str, extra: str = "") -> None:
        """Draw a line through points.

        Args:
            xs: Coordinates, shape (N,).
            ys: Coordinates, shape (N,).
            color: Colour of the stroke.
            extra: Further attributes of the SVG element, such as ``stroke-width="2"``.
        """
        self.marks.append(f'<polyline points="{self._points(xs, ys)}" fill="none" stroke="{color}" {extra}/>')

    def dot(self, x: float, y: float, color: str, *, tip: str, is_filled: bool = True, radius: float = 3.5) -> None:
        """Draw a round mark with a tooltip; ``radius`` is in pixels."""
        across, down = self.to_pixels(x, y)
        fill = color if is_filled else "var(--page, #fff)"
        self.marks.append(
            f'<circle cx="{across:.1f}" cy="{down:.1f}" r="{radius}" fill="{fill}" stroke="{color}">'
            f"<title>{escape(tip)}</title></circle>"
        )

    def text(self, x: float, y: float, text: str, color: str, *, shift: tuple[float, float] = (0, 0)) -> None:
        """Write a label that starts at a point, moved right and down by ``shift`` pixels."""
        across, down = self.to_pixels(x, y)
        self.marks.append(
            f'<text x="{across + shift[0]:.1f}" y="{down + shift[1]:.1f}" fill="{color}">{escape(text)}</text>'
        )

    def name_line(self, x: float, y: float, name: str, color: str) -> None:
        """Write the name of a line at the right of the axes, level with its end (x, y) as far as other names allow."""
        across, down = self.to_pixels(x, y)
        self._named.append((across, down, name, color))

    def bars(self, edges: NDArray, heights: NDArray, color: str) -> None:
        """Draw a histogram as one filled outline.

        Args:
            edges: Edges of the bins, shape (N + 1,).
            heights: Heights of the bins, shape (N,).
            color: Colour of the outline and, translucent, of the area.
        """
        xs, ys = np.repeat(edges, 2), np.concatenate([[0], np.repeat(heights, 2), [0]])
        points = self._points(xs, ys)
        self.marks.append(f'<polygon points="{points}" fill="{color}" fill-opacity="0.35" stroke="{color}"/>')

    def svg(self) -> str:
        """The figure as an SVG element: title, grid, ticks, axis labels, then the marks."""
        parts = [f'<svg class="plot" viewBox="0 0 {self.width} {self.height}" role="img">']
        parts.append(f"<title>{escape(self.title)}</title>")
        right, base = self._right, self.height - _BOTTOM
        for tick in self.x.ticks():
            across = self._across(tick)
            parts.append(f'<line class="grid" x1="{across:.1f}" y1="{_TOP}" x2="{across:.1f}" y2="{base}"/>')
            label = escape(self.x.format_tick(tick))
            parts.append(f'<text x="{across:.1f}" y="{base + 14}" text-anchor="middle">{label}</text>')
        for tick in self.y.ticks():
            down = self._down(tick)
            parts.append(f'<line class="grid" x1="{_LEFT}" y1="{down:.1f}" x2="{right}" y2="{down:.1f}"/>')
            label = escape(self.y.format_tick(tick))
            parts.append(f'<text x="{_LEFT - 6}" y="{down + 3.5:.1f}" text-anchor="end">{label}</text>')
        middle_x, middle_y = (_LEFT + right) / 2, (_TOP + base) / 2
        parts.append(f'<text class="label" x="{middle_x}" y="{self.height - 5}">{escape(self.x.label)}</text>')
        rotation = f'transform="rotate(-90 12 {middle_y})"'
        parts.append(f'<text class="label" x="12" y="{middle_y}" {rotation}>{escape(self.y.label)}</text>')
        return "".join([*parts, *self.marks, *self._names_of_lines(), "</svg>"])

    @property
    def _right(self) -> float:
        """Right end of the axes, in pixels."""
        longest = max((min(len(name), _LONGEST_NAME) for name in self.names), default=0)
        return self.width - _RIGHT - (_LEADER + _LETTER * longest if longest else 0)

    def _names_of_lines(self) -> list[str]:
        """A dotted line from each end to its name; the names keep the order of the ends and do not overlap."""
        ends = sorted(self._named, key=lambda end: end[1])
        room = self.height - _BOTTOM - _TOP
        gap = min(_LINE_HEIGHT, room / max(1, len(ends) - 1))
        heights = spread([down for _, down, *_ in ends], gap, _TOP, self.height - _BOTTOM)
        elements = []
        for (across, down, name, color), height in zip(ends, heights, strict=True):
            points = (
                f"{across:.1f},{down:.1f} {self._right:.1f},{height:.1f} {self._right + _LEADER - 4:.1f},{height:.1f}"
            )
            elements.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-dasharray="1 3"/>')
            start = self._right + _LEADER
            shown = name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 3]}..."
            whole = f"<title>{escape(name)}</title>" if shown != name else ""
            elements.append(
                f'<text x="{start:.1f}" y="{height + 3.5:.1f}" fill="{color}">{whole}{escape(shown)}</text>'
            )
        return elements

    def _across(self, x: float) -> float:
        return _LEFT + self.x.position(x) * (self._right - _LEFT)

    def _down(self, y: float) -> float:
        return self.height - _BOTTOM - self.y.position(y) * (self.height - _TOP - _BOTTOM)

    def _points(self, xs: Sequence[float] | NDArray, ys: Sequence[float] | NDArray) -> str:
        pixels = [self.to_pixels(x, y) for x, y in zip(xs, ys, strict=True)]
        return " ".join(f"{across:.1f},{down:.1f}" for across, down in pixels)


def spread(heights: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Ascending heights moved as little as needed to be ``gap`` apart and, where there is room, from low to high.

    Heights that are too close form a block of equal gaps, centred on their mean.
    """
    blocks: list[list[float]] = []  # sum of heights, each less its offset in the block; number of heights
    for height in heights:
        blocks.append([height, 1])
        while len(blocks) > 1 and _start(blocks[-2], gap, low, high) + blocks[-2][1] * gap > _start(
            blocks[-1], gap, low, high
        ):
            total, number = blocks.pop()
            blocks[-1][0] += total - number * gap * blocks[-1][1]
            blocks[-1][1] += number
    return [_start(block, gap, low, high) + i * gap for block in blocks for i in range(int(block[1]))]


def _start(block: Sequence[float], gap: float, low: float, high: float) -> float:
    total, number = block
    return max(low, min(total / number, high - (number - 1) * gap))


def format_percent_tick(tick: float) -> str:
    """A fraction as per cent: 0.25 -> ``25%``."""
    return f"{100 * tick:g}%"


def format_count_tick(tick: float) -> str:
    """A count in thousands or millions: 20000 -> ``20 k``."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if tick >= size:
            return f"{tick / size:g} {unit}"
    return f"{tick:g}"
