"""Figures of a sweep as inline SVG: accuracy against each varied field, and error against size with both fits."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.config.overrides import describe_change
from bench.runs.sweeps.points import short_names
from evaluate.pages.svg import COLORS, GREY, Axis, Plot, format_count_tick
from evaluate.scaling.results import Setting
from evaluate.scaling.study import Curve

_WIDTH, _HEIGHT = 860, 400
_LOG_RATIO = 8
"""A field with positive values gets a log axis if the largest is at least this many times the smallest."""
_MAX_LINES = 24
_NUM_STEPS = 120


def field_plots(settings: Sequence[Setting], fields: Sequence[str]) -> dict[str, str]:
    """Accuracy against each varied field, a line for each combination of the others; dots are seeds.

    Args:
        settings: Settings of a sweep.
        fields: Its varied fields, dotted.

    Returns:
        Title of each figure -> SVG.
    """
    titles = short_names(fields)
    varied = [field for field in fields if _num_values(settings, field) > 1]
    return {f"accuracy against {titles[field]}": _field_plot(settings, field, titles) for field in varied}


def size_plots(curves: Sequence[Curve]) -> dict[str, str]:
    """Error against identities for all curves in one figure, and against images per identity where these vary.

    Lines are the fits: solid the log-linear form, dashed the one with a floor, both up to ten times the largest size.
    """
    plots = {"identities": _size_plot(curves, "identities")} if curves else {}
    of_images = [curve for curve in curves if np.ptp(curve.sizes.images) > 0]
    return plots | ({"images per identity": _size_plot(of_images, "images")} if of_images else {})


def _num_values(settings: Sequence[Setting], field: str) -> int:
    return len({describe_change(field, setting.values.get(field)) for setting in settings})


def _field_plot(settings: Sequence[Setting], field: str, titles: dict[str, str]) -> str:
    values = list(
        {describe_change("", setting.values.get(field)): setting.values.get(field) for setting in settings}.values()
    )
    positions, axis = _value_axis(values, titles[field])
    accuracies = [100 * (card.mean_accuracy or 0) for setting in settings for card in setting.cards]
    spread = max(max(accuracies) - min(accuracies), 0.5)
    y = Axis("mean accuracy, %", min(accuracies) - 0.1 * spread, max(accuracies) + 0.1 * spread)
    lines: dict[str, list[Setting]] = {}
    for setting in settings:
        others = [describe_change(titles[other], value) for other, value in setting.values.items() if other != field]
        lines.setdefault(" ".join([setting.base, *others]), []).append(setting)
    drawn = dict(list(lines.items())[:_MAX_LINES])
    title_of_figure = f"Accuracy against {titles[field]}"
    plot = Plot(axis, y, width=_WIDTH, height=_HEIGHT, title=title_of_figure, names=list(drawn))
    for number, (title, members) in enumerate(drawn.items()):
        color = COLORS[number % len(COLORS)]
        xs = [positions[describe_change("", member.values.get(field))] for member in members]
        order = np.argsort(xs)
        means = [100 * member.mean_accuracy for member in members]
        plot.line([xs[i] for i in order], [means[i] for i in order], color, 'stroke-width="1.8"')
        for x, member in zip(xs, members, strict=True):
            for card in member.cards:
                tip = f"{title} {describe_change(titles[field], member.values.get(field))} seed {card.seed}"
                accuracy = 100 * (card.mean_accuracy or 0)
                plot.dot(x, accuracy, color, tip=f"{tip}: {accuracy:.2f} %", radius=2.5)
        plot.name_line(xs[order[-1]], means[order[-1]], title, color)
    return plot.svg()


def _value_axis(values: Sequence[Any], title: str) -> tuple[dict[str, float], Axis]:
    """Text of a value -> its position, and the axis: numbers as they are, other values side by side."""
    texts = [describe_change("", value) for value in values]
    are_numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    if not are_numbers:
        names = [text.removeprefix("=") for text in texts]
        ticks = {float(number): name[:24] for number, name in enumerate(names)}
        axis = Axis(title, -0.5, len(values) - 0.5, format_tick=lambda tick: ticks.get(tick, ""))
        return {text: float(number) for number, text in enumerate(texts)}, axis
    numbers = [float(value) for value in values]
    low, high = min(numbers), max(numbers)
    positions = dict(zip(texts, numbers, strict=True))
    if low > 0 and high / low >= _LOG_RATIO:
        return positions, Axis(title, low / 1.3, high * 1.3, is_log=True, log_steps=(1, 2, 5))
    margin = 0.1 * (high - low)
    return positions, Axis(title, low - margin, high + margin)


def _size_plot(curves: Sequence[Curve], along: str) -> str:
    """Error in per cent against identities or images per identity, both on log axes."""
    sizes = np.concatenate([getattr(curve.sizes, along) for curve in curves])
    errors = 100 * np.concatenate([edge for curve in curves for edge in (curve.low, curve.high)])
    x_axis = Axis(
        {"identities": "training identities", "images": "images per identity"}[along],
        sizes.min() / 1.5,
        sizes.max() * (12 if along == "identities" else 1.5),
        is_log=True,
        format_tick=format_count_tick,
        log_steps=(1,) if sizes.max() / sizes.min() > 1000 else (1, 2, 5),
    )
    low = max(errors.min() * 0.6, 0.01)
    y_axis = Axis("error (100 - accuracy), %", low, min(errors.max() * 1.2, 100), is_log=True, log_steps=(1, 2, 3, 5))
    names = [_name(curve, along, other) for curve in curves for other in set(_other_sizes(curve, along).tolist())]
    plot = Plot(x_axis, y_axis, width=_WIDTH, height=460, title=f"Error against {along}", names=names)
    for number, curve in enumerate(curves):
        color = GREY if curve.is_published else COLORS[number % len(COLORS)]
        _draw_curve(plot, curve, along, color)
    return plot.svg()


def _draw_curve(plot: Plot, curve: Curve, along: str, color: str) -> None:
    """Dots with intervals, and the fits, for each value of the size that is not on the x axis."""
    xs = getattr(curve.sizes, along)
    others = _other_sizes(curve, along)
    for other in sorted(set(others.tolist())):
        members = np.flatnonzero(others == other)
        reach = 10 if along == "identities" else 1
        steps = np.geomspace(xs[members].min(), xs[members].max() * reach, _NUM_STEPS)
        same = np.full(_NUM_STEPS, other)
        sizes = (steps, same) if along == "identities" else (same, steps)
        last = members[int(np.argmax(xs[members]))]
        end = (xs[last], 100 * curve.errors[last])
        for fit in curve.comparison.fits:
            errors = 100 * fit.predict(*sizes)
            is_shown = (errors >= plot.y.low) & (errors <= plot.y.high)
            dash = 'stroke-dasharray="5 4"' if fit.form == "floor" else 'stroke-opacity="0.7"'
            plot.line(steps[is_shown], errors[is_shown], color, dash)
            if fit.form == "floor" and is_shown[-1]:
                end = (steps[-1], errors[-1])
        for i in members:
            ends = [100 * min(max(edge, 1e-6), 1) for edge in (curve.low[i], curve.high[i])]
            plot.line([xs[i], xs[i]], [max(end, plot.y.low) for end in ends], color, 'stroke-width="2"')
            tip = f"{curve.title}: {curve.sizes.identities[i]:,.0f} identities"
            if np.ptp(curve.sizes.images) > 0:
                tip += f" x {curve.sizes.images[i]:g} images"
            tip += f", error {100 * curve.errors[i]:.2f} %"
            plot.dot(xs[i], 100 * curve.errors[i], color, tip=tip, is_filled=not curve.is_published)
        plot.name_line(*end, _name(curve, along, other), color)


def _other_sizes(curve: Curve, along: str) -> NDArray[np.float64]:
    """The size of each point that is not on the x axis."""
    return curve.sizes.images if along == "identities" else curve.sizes.identities


def _name(curve: Curve, along: str, other: float) -> str:
    """Name of the line of a curve at one value of the size that is not on the x axis."""
    if np.ptp(_other_sizes(curve, along)) == 0:
        return curve.title
    return f"{curve.title}, {other:g} {'images' if along == 'identities' else 'identities'}"
