"""Write what a sweep found into its folder: table.csv, figures as SVG files, scaling.json, and one HTML page.

Equal plans and cards give equal bytes. Neither this module nor what it imports may import torch, mlflow or pandas.
"""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from bench.config.overrides import describe_change
from bench.errors import InputError
from bench.files import write_json, write_text
from bench.runs.sweeps.plan_file import SweepPlan, read_plan
from bench.runs.sweeps.points import short_names
from evaluate.leaderboard.protocol_names import protocol_title
from evaluate.pages.render import render_page
from evaluate.scaling.figures import field_plots, size_plots
from evaluate.scaling.results import Setting, read_settings_of_sweep
from evaluate.scaling.study import (
    PUBLISHED_PATH,
    Curve,
    curves_of_sweep,
    describe_curves,
    fit_cells,
    published_curves,
)

PAGE_NAME = "index.html"
_SVG_STYLE = "text{font:11px sans-serif}text:not([fill]){fill:#333}.grid{stroke:#ddd}.label{text-anchor:middle}"


def write_sweep(directory: Path) -> str:
    """Write table, figures, fits and page of a sweep, from its plan and the results that are finished.

    Args:
        directory: ``runs/sweeps/NAME``.

    Returns:
        The fits as text, and the paths of the files.

    Raises:
        InputError: If there is no plan, no point is finished, or a card or scores are broken.
    """
    plan = read_plan(directory)
    settings = read_settings_of_sweep(plan, directory.parent.parent)
    if not settings:
        raise InputError(f"no point of sweep {plan.name} is finished; run it: make sweep SWEEP={plan.name}")
    curves, problems = curves_of_sweep(settings, plan.fields)
    figures = field_plots(settings, plan.fields) | _titled_size_plots(curves)
    write_text(directory / "table.csv", sweep_csv(plan, settings))
    for title, svg in figures.items():
        write_text(directory / f"{re.sub('[^a-z0-9]+', '_', title.lower())}.svg", stand_alone(svg))
    if curves:
        write_json(directory / "scaling.json", [_curve_values(curve) for curve in curves])
    write_text(directory / PAGE_NAME, _page(plan, settings, figures, curves, problems))
    text = f"{describe_curves(curves)}\n\n" if curves else ""
    return f"{text}table  {directory / 'table.csv'}\npage   {directory / PAGE_NAME}"


def write_published_study(out: Path) -> str:
    """Fit the published rows, write their figure as an SVG file, and return the fits as text.

    Args:
        out: File to write.
    """
    curves = published_curves()
    write_text(out, stand_alone(size_plots(curves)["identities"]))
    return f"{describe_curves(curves)}\n\nfigure  {out}"


def sweep_csv(plan: SweepPlan, settings: Sequence[Setting]) -> str:
    """One line per point, finished or not; accuracies are fractions."""
    titles = short_names(plan.fields)
    protocols = list(dict.fromkeys(name for setting in settings for card in setting.cards for name in card.protocols))
    cards = {
        point.label: card for setting in settings for point, card in zip(setting.points, setting.cards, strict=True)
    }
    measured = ["mean_accuracy", "mean_standard_error", *protocols, "num_images", "num_identities", "hours"]
    columns = ["base", *titles.values(), "seed", "state", *measured, "result"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", restval="")
    writer.writeheader()
    for point in plan.points:
        line: dict[str, Any] = {"base": point.base, "seed": point.seed, "state": point.state, "result": point.result}
        line |= {titles[field]: describe_change("", value)[1:] for field, value in point.values.items()}
        if card := cards.get(point.label):
            line |= {name: result.accuracy for name, result in card.protocols.items()}
            line |= {"mean_accuracy": card.mean_accuracy, "mean_standard_error": card.mean_standard_error}
            line["hours"] = sum(cost.seconds for cost in card.stage_costs.values()) / 3600
            if card.dataset:
                line |= {"num_images": card.dataset.num_images, "num_identities": card.dataset.num_identities}
        writer.writerow(line)
    return text.getvalue()


def stand_alone(svg: str) -> str:
    """An SVG element of a page as a file of its own, with the styles that the page gives it."""
    head, _, body = svg.partition(">")
    return f'{head} xmlns="http://www.w3.org/2000/svg"><style>{_SVG_STYLE}</style>{body}\n'


def _titled_size_plots(curves: Sequence[Curve]) -> dict[str, str]:
    """Error against size for the sweep's curves alone, and together with the published ones."""
    plots = {f"error against {along}": svg for along, svg in size_plots(curves).items()}
    if curves and PUBLISHED_PATH.exists():
        both = size_plots([*curves, *published_curves()])
        plots["error against identities, with published rows"] = both["identities"]
    return plots


def _curve_values(curve: Curve) -> dict[str, Any]:
    """The points and fits of a curve as values for JSON."""
    fits = [
        {
            "form": fit.form,
            "parameters": {name: asdict(figure) for name, figure in fit.parameters.items()},
            "rms": fit.rms,
            "left_out_rms": fit.left_out_rms,
            "tenfold_gain": asdict(fit.tenfold_gain),
        }
        for fit in curve.comparison.fits
    ]
    points = {
        "num_identities": curve.sizes.identities,
        "images_per_identity": curve.sizes.images,
        "error": curve.errors,
        "low": curve.low,
        "high": curve.high,
    }
    return {
        "title": curve.title,
        "points": {name: np.asarray(values).tolist() for name, values in points.items()},
        "fits": fits,
        "floor_share": curve.comparison.floor_share,
        "verdict": curve.comparison.verdict,
        "interval_over": curve.interval_over,
    }


def _page(
    plan: SweepPlan,
    settings: Sequence[Setting],
    figures: dict[str, str],
    curves: Sequence[Curve],
    problems: dict[str, str],
) -> str:
    protocols = list(dict.fromkeys(name for setting in settings for name in setting.cards[0].protocols))
    titles = short_names(plan.fields)
    return render_page(
        "sweep.html",
        plan=plan,
        fixed=[describe_change(*item) for item in plan.fixed.items()],
        num_finished=sum(point.state == "finished" for point in plan.points),
        failed=[point for point in plan.points if point.problem],
        header=["base", *titles.values(), "seeds", "mean", "std over seeds", "images", "identities"]
        + [protocol_title(name) for name in protocols],
        rows=[_cells(setting, plan.fields, protocols) for setting in settings],
        num_labels=1 + len(titles),
        figures={title: Markup(svg) for title, svg in figures.items()},
        curves=[(curve, fit_cells(curve)) for curve in curves],
        problems=problems,
    )


def _cells(setting: Setting, fields: Sequence[str], protocols: Sequence[str]) -> list[str]:
    values = [describe_change("", setting.values[field])[1:] if field in setting.values else "-" for field in fields]
    std = "-" if setting.seed_std is None else f"{100 * setting.seed_std:.2f}"
    mean = f"{100 * setting.mean_accuracy:.2f}"
    counts = [f"{setting.num_images:,}", f"{setting.num_identities:,}"]
    accuracies = [f"{100 * setting.accuracy(name):.2f}" for name in protocols]
    return [setting.base, *values, str(len(setting.cards)), mean, std, *counts, *accuracies]
