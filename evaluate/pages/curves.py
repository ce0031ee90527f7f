"""Figures of errors by group and of searches as inline SVG, from the points that result cards hold."""

from collections.abc import Mapping, Sequence

import numpy as np

from bench.runs.card_parts.groups import GroupErrors
from bench.runs.card_parts.identification import GallerySearch
from evaluate.pages.svg import COLORS, Axis, Plot, format_percent_tick

MAX_CURVES = len(COLORS)
"""Curves of a figure: one per colour."""
_MAX_NAMES = 4  # more names would cover each other; the legend has the colours of all
_LINE = 'stroke-width="1.6"'


def group_rates_plot(errors: GroupErrors, rate: str, title: str) -> str:
    """FMR or FNMR of every group with its interval, one column per group in the order of the legend.

    Args:
        errors: Errors at one threshold.
        rate: ``fmr`` or ``fnmr``.
        title: Title of the figure.
    """
    values = [getattr(group, rate) for group in errors.groups]
    intervals = [getattr(group, f"{rate}_interval") for group in errors.groups]
    top = max(1e-6, *values, *(end for interval in intervals for end in interval if end is not None))
    names = [group.group for group in errors.groups]

    def name_of(tick: float) -> str:
        position = round(tick)
        is_group = abs(tick - position) < 1e-6 and 0 <= position < len(names)
        return names[position] if is_group and len(names) <= _MAX_NAMES else ""

    y = Axis(rate.upper(), 0, top * 1.05, format_tick=format_percent_tick)
    x = Axis("", -0.5, len(names) - 0.5, format_tick=name_of)
    plot = Plot(x, y, title=title)
    for position, (name, value, (low, high)) in enumerate(zip(names, values, intervals, strict=True)):
        color = COLORS[position % len(COLORS)]
        if low is not None and high is not None:
            plot.line([position] * 2, [low, high], color, 'stroke-width="2"')
        plot.dot(position, value, color, tip=f"{name}: {100 * value:.3g} %")
    return plot.svg()


def group_det_plot(errors: GroupErrors, title: str) -> str:
    """FNMR against the group's own FMR, on log axes, a curve for each of the first groups."""
    groups = [group for group in errors.groups if group.curve][:MAX_CURVES]
    lowest_x = min(min(group.curve["fmr"]) for group in groups)
    highest_x = max(max(group.curve["fmr"]) for group in groups)
    reached = [rate for group in groups for rate in group.curve["fnmr"] if rate > 0]
    lowest_y = min(0.1, 10.0 ** np.floor(np.log10(min(reached, default=0.01))))
    x = Axis("FMR of the group", lowest_x, highest_x, is_log=True)
    plot = Plot(x, Axis("FNMR", lowest_y, 1, is_log=True), title=title)
    for group, color in zip(groups, COLORS, strict=False):
        plot.line(group.curve["fmr"], np.maximum(group.curve["fnmr"], lowest_y), color, _LINE)
    return plot.svg()


def cmc_plot(searches: Mapping[str, GallerySearch], title: str) -> str:
    """Share of mated searches found within each rank, a curve for each search."""
    drawn = {name: search for name, search in searches.items() if search.cmc}
    longest = max(len(search.cmc) for search in drawn.values())
    lowest = min(search.cmc[0] for search in drawn.values())
    y = Axis("found within the rank", np.floor(lowest * 10) / 10 if lowest < 1 else 0.9, 1)
    plot = Plot(Axis("rank", 1, max(longest, 2), is_log=True, log_steps=(1, 2, 5)), y, title=title)
    for search, color in zip(drawn.values(), COLORS, strict=False):
        plot.line(range(1, 1 + len(search.cmc)), search.cmc, color, _LINE)
    return plot.svg()


def tpir_plot(searches: Mapping[str, GallerySearch], title: str) -> str:
    """TPIR at rank 1 against FPIR on a log axis, a curve for each open-set search; empty without one."""
    drawn = [search for search in searches.values() if search.curve]
    if not drawn:
        return ""
    lowest = min(min(search.curve["fpir"]) for search in drawn)
    plot = Plot(Axis("FPIR", lowest, 1, is_log=True), Axis("TPIR", 0, 1), title=title)
    for search, color in zip(drawn, COLORS, strict=False):
        plot.line(search.curve["fpir"], search.curve["tpir"], color, _LINE)
    return plot.svg()


def legend(names: Sequence[str]) -> list[tuple[str, str]]:
    """Name and colour of each of the first curves."""
    return list(zip(names, COLORS, strict=False))
