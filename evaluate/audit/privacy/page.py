"""The privacy section of the card -> sentences and table rows of the audit's page.

The sentences state what was measured. They never call a dataset safe: another judge may see more.
"""

from bench.runs.card_parts.privacy import JudgeSection, Matches, PrivacySection

_KINDS = {"centre": "centre of a person's images", "image": "any image of a person"}

TableRow = tuple[str, ...]
"""Cells of a table, as text."""


def sentence(privacy: PrivacySection, judge: JudgeSection) -> str:
    """What one judge sees, with the error of its threshold and its control."""
    by_centre = judge.membership["centre"]
    low, high = by_centre.interval
    return (
        f"By {judge.network} at cosine {judge.threshold:.3f} (false match rate {judge.search_rate:.2g} per search, "
        f"measured on {judge.num_searches:,} real images and {judge.num_pairs:,} pairs), "
        f"{judge.num_identities_above:,} of {privacy.num_identities:,} identities ({judge.num_images_above:,} of "
        f"{privacy.num_images:,} images) have a nearest training person above it; of the images of held-out people "
        f"{judge.num_control_images_above:,} of {privacy.num_control_images:,} have. AUC of membership "
        f"{by_centre.auc:.3f} [{low:.3f}, {high:.3f}]. Other judges may see more."
    )


def membership_rows(privacy: PrivacySection) -> list[TableRow]:
    """Judge, score, area under the curve, its interval, and the true positive rate at each false positive rate."""
    rows = []
    for judge in privacy.judges:
        for kind, figures in judge.membership.items():
            low, high = figures.interval
            rates = ["too few" if rate is None else f"{rate:.2%}" for rate in figures.tpr_at_fpr.values()]
            rows.append((judge.network, _KINDS[kind], f"{figures.auc:.3f}", f"[{low:.3f}, {high:.3f}]", *rates))
    return rows


def match_rows(privacy: PrivacySection) -> list[TableRow]:
    """Judge, images, and quantiles of their cosine to the nearest image of a member."""
    rows = []
    for judge in privacy.judges:
        rows.append((judge.network, f"synthetic images ({judge.matches.num:,})", *_match_cells(judge.matches)))
        controls = judge.control_matches
        rows.append((judge.network, f"images of held-out people ({controls.num:,})", *_match_cells(controls)))
    return rows


def hub_rows(privacy: PrivacySection) -> list[TableRow]:
    """Judge, member, number of nearest images, and share of control images nearest to this member too."""
    return [
        (judge.network, hub.member, str(hub.num_nearest), f"{hub.share_of_controls:.2%}")
        for judge in privacy.judges
        for hub in judge.hubs
    ]


def _match_cells(matches: Matches) -> TableRow:
    return (f"{matches.median:.3f}", f"{matches.p99:.3f}", f"{matches.max:.3f}", f"{matches.share_above_half:.2%}")
