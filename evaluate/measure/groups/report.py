"""A network's file and a set of people of known groups -> errors by group as text, JSON and a page with figures."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from bench.errors import InputError
from bench.files import write_json, write_text
from bench.machine.device import choose_device
from bench.markdown import markdown_table
from bench.names import look_up
from bench.runs.card_parts.groups import GroupErrors, GroupResult, Interval
from evaluate.layouts.face_table import FaceTable
from evaluate.measure.embed import embed, load_network
from evaluate.measure.groups.comparisons import Comparisons, compare_all
from evaluate.measure.groups.difference import group_differences
from evaluate.measure.groups.measure import Grouping, check_resolution, group_errors, group_result, groupings_of
from evaluate.measure.groups.sources import open_group_set
from evaluate.metrics import FARS
from evaluate.pages.curves import group_det_plot, group_rates_plot, legend
from evaluate.pages.render import render_page


@dataclass(frozen=True)
class GroupQuestion:
    """What to measure on a set."""

    path: Path
    """The set."""
    table: Path | None = None
    """Groups of its people, where the set states none."""
    fmrs: Sequence[str] = ("1e-2",)
    """False match rates that set the threshold."""
    attributes: Sequence[str] = field(default_factory=tuple)
    """Attributes to measure; empty for all."""
    reference: str | None = None
    """Group whose impostors set the threshold; None takes all groups, equally weighted."""
    drop_shared: bool = False
    """Whether to leave out people who stand in two groups."""


def report_groups(
    network: Path,
    question: GroupQuestion,
    out: Path,
    *,
    against: Path | None = None,
    device: str = "auto",
    seed: int = 0,
) -> str:
    """Measure a network by group, and compare it with another one.

    Args:
        network: File of the network.
        question: The set, and what to measure on it.
        out: Folder for ``groups.json`` and ``groups.html``.
        against: File of a second network, whose errors are subtracted by group and measure on the same resamples.
        device: auto, cpu, cuda or cuda:N.
        seed: Seed of bootstrap and shuffles.

    Returns:
        The tables as Markdown, and the path of the page.

    Raises:
        InputError: If the set, its table or a network is missing or malformed, a rate, an attribute or a reference is
            unknown, or a group has too few people or comparisons for a rate.
    """
    for fmr in question.fmrs:
        look_up("false match rate", fmr, dict.fromkeys(FARS))
    table = open_group_set(question.path, question.table, drop_shared=question.drop_shared)
    groupings = _chosen(table, question.attributes)
    highest = max(float(fmr) for fmr in question.fmrs)
    for grouping in groupings:
        for fmr in question.fmrs:
            check_resolution(np.bincount(table.identity_ids), grouping, fmr)
    comparisons = _compare(network, table, groupings, device, highest)
    result = _measure(comparisons, groupings, question, table, seed)
    sections = [
        _section(attribute, fmr, errors)
        for attribute, by_fmr in result.attributes.items()
        for fmr, errors in by_fmr.items()
        if errors is not None
    ]
    if against is not None:
        other = _compare(against, table, groupings, device, highest)
        sections += [
            _difference_section((network, comparisons), (against, other), grouping, fmr, question.reference, seed)
            for grouping in groupings
            for fmr in question.fmrs
        ]
    return _write(out, f"Errors by group: {network.stem} on {table.name}", result, sections)


def _chosen(table: FaceTable, names: Sequence[str]) -> list[Grouping]:
    groupings = {grouping.name: grouping for grouping in groupings_of(table)}
    return [look_up("attribute", name, groupings) for name in names] if names else list(groupings.values())


def _compare(
    path: Path, table: FaceTable, groupings: Sequence[Grouping], device: str, highest_fmr: float
) -> Comparisons:
    labels = [grouping.labels for grouping in groupings]
    chosen = choose_device(device)
    embeddings = embed(load_network(path, chosen), table.faces, device=chosen)
    try:
        return compare_all(embeddings, table.identity_ids, highest_fmr=highest_fmr, groupings=labels)
    except InputError as error:
        raise InputError(f"{path} on {table.name}: {error}") from None


def _measure(
    comparisons: Comparisons, groupings: Sequence[Grouping], question: GroupQuestion, table: FaceTable, seed: int
) -> GroupResult:
    """Errors of every attribute at every rate."""
    attributes: dict[str, dict[str, GroupErrors | None]] = {
        grouping.name: {
            fmr: group_errors(comparisons, grouping, fmr, reference=question.reference, seed=seed)
            for fmr in question.fmrs
        }
        for grouping in groupings
    }
    return group_result(attributes, table)


def _section(attribute: str, fmr: str, errors: GroupErrors) -> dict[str, Any]:
    """Tables and figures of one attribute at one rate."""
    rates = [["group", "people", "images", "impostors", "genuine", "FMR %", "95 % interval", "FNMR %", "95 % interval"]]
    for group in errors.groups:
        counts = (group.num_identities, group.num_images, group.num_impostors, group.num_genuine)
        rates.append(
            [group.group, *(f"{count:,}" for count in counts), f"{100 * group.fmr:.3g}", _percent(group.fmr_interval),
             f"{100 * group.fnmr:.2f}", _percent(group.fnmr_interval)]
        )  # fmt: skip
    measures = [["measure", "value", "95 % interval", "95 % with shuffled labels", "p"]]
    for name, measure in errors.measures.items():
        value = "infinite" if measure.value is None else f"{measure.value:.4g}"
        p = "-" if measure.p_value is None else f"{measure.p_value:.3f}"
        measures.append([name.replace("_", " "), value, _ends(measure.interval), _ends(measure.null), p])
    notes = [
        f"Threshold {errors.threshold:.4f} {_ends(errors.threshold_interval)}, from the impostors of "
        f"{errors.threshold_from}.",
        *errors.notes,
    ]
    figures = [
        ("FNMR by group", group_rates_plot(errors, "fnmr", f"FNMR by {attribute}")),
        ("FMR by group", group_rates_plot(errors, "fmr", f"FMR by {attribute}")),
        ("DET by group", group_det_plot(errors, f"DET by {attribute}")),
    ]
    return {
        "title": f"{attribute}, FMR {fmr}",
        "notes": notes,
        "tables": [rates, measures],
        "figures": [(caption, Markup(figure)) for caption, figure in figures],
        "legend": legend([group.group for group in errors.groups]),
    }


def _difference_section(
    first: tuple[Path, Comparisons],
    second: tuple[Path, Comparisons],
    grouping: Grouping,
    fmr: str,
    reference: str | None,
    seed: int,
) -> dict[str, Any]:
    """Table of the differences of two networks."""
    rows = [["", first[0].stem, second[0].stem, "difference", "95 % interval", "beyond chance"]]
    for each in group_differences(first[1], second[1], grouping, fmr, reference=reference, seed=seed):
        difference = f"{each.first - each.second:+.4f}"
        interval = _ends((each.low, each.high))
        rows.append([each.name.replace("_", " "), f"{each.first:.4f}", f"{each.second:.4f}", difference, interval,
                     "yes" if each.is_beyond_chance else "no"])  # fmt: skip
    return {
        "title": f"{first[0].stem} minus {second[0].stem}: {grouping.name}, FMR {fmr}",
        "notes": ["Rates are fractions. Both networks are measured on the same faces and the same resamples."],
        "tables": [rows],
        "figures": [],
        "legend": [],
    }


def _write(out: Path, title: str, result: GroupResult, sections: Sequence[dict[str, Any]]) -> str:
    paragraphs = [
        f"{result.num_images:,} images of {result.num_identities:,} people; every face is compared with every other. "
        "An impostor comparison belongs to a group if both its people do. All groups share one threshold. Intervals "
        "are from a bootstrap over people with the threshold chosen anew; shuffled labels show what chance gives.",
        *(f"Left out: {num} people {reason}." for reason, num in result.dropped.items()),
    ]
    write_json(out / "groups.json", result.model_dump(mode="json"))
    write_text(out / "groups.html", render_page("people.html", title=title, paragraphs=paragraphs, sections=sections))
    lines = [f"# {title}", ""]
    for section in sections:
        lines += [f"## {section['title']}", "", *section["notes"], ""]
        for rows in section["tables"]:
            lines += [markdown_table(rows[0], rows[1:], align=[":--", *["--:"] * (len(rows[0]) - 1)]), ""]
    return "\n".join([*lines, f"report {out / 'groups.html'}"])


def _percent(interval: Interval) -> str:
    return _ends(
        (None if interval[0] is None else 100 * interval[0], None if interval[1] is None else 100 * interval[1])
    )


def _ends(interval: Interval) -> str:
    """Both ends in brackets; a dash for an end that is infinite or undefined."""
    return "[" + ", ".join("-" if end is None else f"{end:.4g}" for end in interval) + "]"
