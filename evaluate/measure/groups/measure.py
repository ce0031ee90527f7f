"""A network on faces of people who belong to groups -> the group section of a result card.

Refuses what the faces cannot resolve: by the rule of 30 errors, a false match rate f needs 30 / f impostor comparisons
in every group. Legend: K faces, I identities, G groups, D dimensions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.runs.card_parts.groups import FairnessMeasure, GroupErrors, GroupRates, GroupResult
from evaluate.layouts.face_table import FaceTable
from evaluate.measure.groups.comparisons import Comparisons, compare_all
from evaluate.measure.groups.rates import GroupedComparisons, genuine_within, impostors_within
from evaluate.measure.groups.resampling import (
    GroupEstimate,
    estimate_groups,
    middle_95,
    p_value,
    shuffled_measures,
)

FMRS = ("1e-2", "1e-3", "1e-4")
"""False match rates of result cards, as the cards write them."""
MIN_ERRORS = 30
"""Errors that a rate needs to be trusted: the rule of 30."""
MIN_IDENTITIES = 10
"""Fewest identities of a group; with fewer, a bootstrap over identities is unreliable."""
ALL_GROUPS = "all groups, equal weights"
_CURVE_POINTS = 24


@dataclass(frozen=True)
class Grouping:
    """One attribute of the people of a set."""

    name: str
    """Such as ``skin``."""
    groups: tuple[str, ...]
    """Names of the G groups."""
    labels: NDArray[np.int64]
    """Group of each identity, shape (I,); -1 for one that belongs to none."""


def measure_groups(embeddings: NDArray[np.floating], table: FaceTable, *, seed: int = 0) -> GroupResult:
    """Errors by every attribute of a set, at each of ``FMRS`` that its groups resolve.

    Args:
        embeddings: Unit embeddings of ``table.faces``, shape (K, D).
        table: The faces, their identities and attributes.
        seed: Seed of bootstrap and shuffles.

    Raises:
        InputError: If an attribute has one group only, a group is too small for all of ``FMRS``, or an embedding is not
            finite.
    """
    check_group_set(table)
    groupings = groupings_of(table)
    labels = [grouping.labels for grouping in groupings]
    comparisons = compare_all(embeddings, table.identity_ids, highest_fmr=float(FMRS[0]), groupings=labels)
    attributes: dict[str, dict[str, GroupErrors | None]] = {}
    for grouping in groupings:
        attributes[grouping.name] = {
            fmr: group_errors(comparisons, grouping, fmr, seed=seed) if _resolves(comparisons, grouping, fmr) else None
            for fmr in FMRS
        }
    return group_result(attributes, table)


def group_result(attributes: dict[str, dict[str, GroupErrors | None]], table: FaceTable) -> GroupResult:
    """The result of a set: its size and digest beside the errors, by attribute and rate."""
    return GroupResult(
        attributes=attributes,
        num_images=len(table.faces),
        num_identities=len(table.identity_names),
        sha256=table.sha256,
        dropped=table.dropped,
    )


def groupings_of(table: FaceTable) -> list[Grouping]:
    """The attributes of a table, each with its groups in alphabetical order.

    Raises:
        InputError: If there is no attribute, or one has a single group.
    """
    if not table.attributes:
        raise InputError(f"{table.name} states no group; add a column of groups to its table")
    groupings = []
    for name, values in table.attributes.items():
        groups = tuple(sorted({value for value in values if value}))
        if len(groups) < 2:
            raise InputError(f"{table.name}: {name} has {len(groups)} group, {list(groups)}; give two or more groups")
        position = {group: index for index, group in enumerate(groups)}
        labels = np.array([position.get(value, -1) for value in values], dtype=np.int64)
        groupings.append(Grouping(name, groups, labels))
    return groupings


def check_group_set(table: FaceTable) -> None:
    """Refuse a set that cannot be measured, before its faces are embedded.

    Raises:
        InputError: If an attribute has one group only, or a group is too small for all of ``FMRS``.
    """
    for grouping in groupings_of(table):
        check_resolution(np.bincount(table.identity_ids), grouping, FMRS[0])


def check_resolution(num_images: NDArray[np.integer], grouping: Grouping, fmr: str) -> None:
    """Refuse a false match rate that some group cannot resolve.

    Args:
        num_images: Faces of each identity, shape (I,).
        grouping: The attribute.
        fmr: The false match rate.

    Raises:
        InputError: Names the group, its comparisons, and the lowest rate that every group resolves.
    """
    num_impostors = impostors_within(num_images, grouping.labels)
    num_genuine = genuine_within(num_images, grouping.labels)
    for group, name in enumerate(grouping.groups):
        num_identities = int(np.count_nonzero(grouping.labels == group))
        what = f"{grouping.name} {name}"
        if num_impostors[group] == 0 or num_identities < MIN_IDENTITIES:
            raise InputError(
                f"{what} has {num_identities} identities and {num_impostors[group]:.0f} impostor comparisons; give "
                f"{MIN_IDENTITIES} identities or more, or leave the group out"
            )
        if num_genuine[group] == 0:
            raise InputError(f"{what} has one image of each person; give two or more images of some")
    smallest = int(np.argmin(num_impostors))
    if num_impostors[smallest] * float(fmr) < MIN_ERRORS - 1e-9:
        raise InputError(
            f"FMR {fmr} needs {MIN_ERRORS / float(fmr):,.0f} impostor comparisons in every group ({MIN_ERRORS} "
            f"errors), but {grouping.name} {grouping.groups[smallest]} has {num_impostors[smallest]:,.0f}; give an FMR "
            f"of {MIN_ERRORS / num_impostors[smallest]:.2g} or above, or more faces"
        )


def _resolves(comparisons: Comparisons, grouping: Grouping, fmr: str) -> bool:
    num_impostors = impostors_within(comparisons.num_images, grouping.labels)
    return bool(num_impostors.min() * float(fmr) >= MIN_ERRORS - 1e-9)


def group_errors(
    comparisons: Comparisons, grouping: Grouping, fmr: str, *, reference: str | None = None, seed: int = 0
) -> GroupErrors:
    """Errors of the groups of one attribute at one threshold, with intervals and with measures for shuffled labels.

    Args:
        comparisons: All comparisons of the set.
        grouping: The attribute.
        fmr: False match rate that sets the threshold, such as ``1e-3``.
        reference: Group whose impostors set the threshold; None takes all groups, equally weighted.
        seed: Seed of bootstrap and shuffles.

    Raises:
        InputError: If the reference is no group, or its threshold lies below all impostor scores that were kept.
    """
    position, comparisons = position_of(reference, grouping), comparisons.for_fmr(float(fmr))
    grouped = GroupedComparisons(comparisons, grouping.labels, position)
    estimate = estimate_groups(grouped, float(fmr), seed=seed)
    shuffled = shuffled_measures(comparisons, grouping.labels, float(fmr), reference=position, seed=seed)
    measures = {}
    for name, value in estimate.measures.items():
        is_finite = bool(np.isfinite(value))
        measures[name] = FairnessMeasure(
            value=value if is_finite else None,
            interval=middle_95(estimate.resampled_measures[name]),
            null=middle_95(shuffled[name]),
            p_value=p_value(name, value, shuffled[name]) if is_finite else None,
        )
    return GroupErrors(
        threshold=estimate.rates.threshold,
        threshold_interval=middle_95(estimate.thresholds),
        threshold_from=ALL_GROUPS if reference is None else reference,
        groups=[_group_rates(grouping, grouped, estimate, group, float(fmr)) for group in range(grouped.num_groups)],
        measures=measures,
        notes=tuple(_notes(grouping.groups, estimate)),
    )


def position_of(reference: str | None, grouping: Grouping) -> int | None:
    """Position of a named group; None for None.

    Raises:
        InputError: If there is no such group.
    """
    if reference is None:
        return None
    if reference not in grouping.groups:
        raise InputError(
            f"{grouping.name} has no group {reference!r}; choose the reference from {', '.join(grouping.groups)}"
        )
    return grouping.groups.index(reference)


def _group_rates(
    grouping: Grouping, grouped: GroupedComparisons, estimate: GroupEstimate, group: int, fmr: float
) -> GroupRates:
    is_member = grouping.labels == group
    return GroupRates(
        group=grouping.groups[group],
        num_identities=int(is_member.sum()),
        num_images=int(grouped.num_images[is_member].sum()),
        num_impostors=int(estimate.num_impostors[group]),
        num_genuine=int(estimate.num_genuine[group]),
        fmr=float(estimate.rates.fmr[group]),
        fmr_interval=middle_95(estimate.fmr[:, group]),
        fnmr=float(estimate.rates.fnmr[group]),
        fnmr_interval=middle_95(estimate.fnmr[:, group]),
        curve=_curve(grouped, group, fmr),
    )


def _curve(grouped: GroupedComparisons, group: int, fmr: float) -> dict[str, list[float]]:
    """DET of a group over the false match rates that its kept impostors resolve; empty if these are fewer than two."""
    num_impostors = grouped.num_impostors()[group]
    num_kept = grouped.num_kept(group)
    if num_kept < fmr * num_impostors:
        grouped = grouped.whole
        num_kept = grouped.num_kept(group)
    if num_kept < 2:
        return {}
    fmrs = np.geomspace(1 / num_impostors, num_kept / num_impostors, _CURVE_POINTS)
    fnmrs = grouped.curve(group, fmrs)
    return {"fmr": [float(f"{value:.4g}") for value in fmrs], "fnmr": [round(float(each), 6) for each in fnmrs]}


def _notes(groups: Sequence[str], estimate: GroupEstimate) -> list[str]:
    """Remarks on rates that rest on too few errors."""
    notes = []
    for name, rates, num in (
        ("FMR", estimate.rates.fmr, estimate.num_impostors),
        ("FNMR", estimate.rates.fnmr, estimate.num_genuine),
    ):
        errors = np.rint(rates * num).astype(int)
        without = [group for group, count in zip(groups, errors, strict=True) if count == 0]
        few = [f"{group} {count}" for group, count in zip(groups, errors, strict=True) if 0 < count < MIN_ERRORS]
        if without:
            notes.append(
                f"no error behind the {name} of {', '.join(without)}: its ratio to the smallest is undefined, and the "
                "geometric mean takes half an error instead"
            )
        if few:
            notes.append(f"fewer than {MIN_ERRORS} errors behind the {name} of {', '.join(few)}")
    return notes
