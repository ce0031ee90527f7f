"""Errors of a network by group of people: fields of a result card. ``evaluate/measure/groups`` computes them.

All rates are fractions. FMR is the false match rate, FNMR the false non-match rate.
"""

from pydantic import Field

from bench.machine.facts import Section

Interval = tuple[float | None, float | None]
"""Ends of 95 per cent; an infinite or undefined end is null."""


class GroupRates(Section):
    """The errors of one group at the threshold that all groups share."""

    group: str
    num_identities: int
    num_images: int
    num_impostors: int = Field(description="comparisons of two people of the group")
    num_genuine: int = Field(description="comparisons of two images of one person of the group")
    fmr: float = Field(ge=0, le=1)
    fmr_interval: Interval
    fnmr: float = Field(ge=0, le=1)
    fnmr_interval: Interval
    curve: dict[str, list[float]] = Field({}, description="points of the DET: fmr ascending, fnmr")


class FairnessMeasure(Section):
    """One measure of the inequality between groups."""

    value: float | None = Field(description="null where a zero error makes it infinite")
    interval: Interval = Field(description="bootstrap over identities within groups, threshold chosen anew each time")
    null: Interval = Field(description="2.5 to 97.5 per cent of the measure with the group labels of people shuffled")
    p_value: float | None = Field(description="share of shuffles that are at least as unequal; null if value is null")


class GroupErrors(Section):
    """Errors by group at one threshold."""

    threshold: float = Field(description="cosine; a score at or above it is a match")
    threshold_interval: Interval
    threshold_from: str = Field(description="impostors that set the threshold: 'all groups, equal weights', or a group")
    groups: list[GroupRates]
    measures: dict[str, FairnessMeasure]
    notes: tuple[str, ...] = ()


class GroupResult(Section):
    """One test set whose people belong to groups; every face is compared with every other."""

    attributes: dict[str, dict[str, GroupErrors | None]] = Field(
        description="attribute -> FMR, as in 1e-2 -> errors; null where a group has too few impostors for that FMR"
    )
    num_images: int
    num_identities: int
    sha256: str = Field(description="of the set as evaluated")
    copy_known_as: str | None = None
    dropped: dict[str, int] = Field({}, description="reason -> number of identities that were left out")
