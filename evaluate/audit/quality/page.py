"""Quality sections of the card and the published audits -> tables and plots of the audit's page.

The numbers of the dataset stand in the card; those of public datasets come from ``reports/published_audits.csv``.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench.runs.card_parts.audit import PairsSection
from bench.runs.card_parts.quality import DetailFigures, Distances, PerceptualFigures, QualitySection
from bench.runs.cards import AuditCard
from evaluate.audit.quality.published import PublishedAudit
from evaluate.pages.svg import COLORS, GREY, Axis, Plot

_WIDTH, _HEIGHT = 660, 230
_LABELS = {
    "frechet": ("Fréchet distance", "lower is nearer to real faces"),
    "kid": ("kernel distance (KID)", "lower is nearer; about 0 for sets of one distribution"),
    "precision": ("precision", "share of images that lie among real ones"),
    "recall": ("recall", "share of real images that lie among ours"),
    "density": ("density", "about 1 for sets of one distribution; above 1 where images crowd together"),
    "coverage": ("coverage", "share of real images with one of ours among their nearest neighbours"),
    "d_intra": ("D_intra of deviations", "share of real variation that the images of one identity cover"),
}

TableRow = tuple[str, ...]
"""Cells of a table, as text."""


def distance_rows(quality: QualitySection) -> list[TableRow]:
    """Measure, value of the dataset, value of two halves of the real people, meaning."""
    rows: list[TableRow] = []
    for name, (label, meaning) in _LABELS.items():
        ours, halves = (_text(getattr(distances, name)) for distances in (quality.ours, quality.real_halves))
        if name == "kid":
            ours, halves = (_with_spread(distances) for distances in (quality.ours, quality.real_halves))
        rows.append((label, ours, halves, meaning))
    return rows


def diversity_rows(card: AuditCard) -> list[TableRow]:
    """Measure, value of the dataset, value of the real faces (empty without them), meaning."""
    ours = card.diversity_scores
    if ours is None:
        return []
    theirs = card.quality.diversity if card.quality else None
    meanings = {
        "vendi_images": ("Vendi score of images", "number of effectively different images"),
        "vendi_identities": ("Vendi score of identities", "the same of the centres of identities"),
        "u_class": ("U_class", f"share of identities with no earlier one within cosine distance {ours.radius:g}"),
        "c_intra": ("C_intra", "share of images within that distance of their identity's centre"),
    }
    rows = [
        (label, _text(getattr(ours, name)), _text(getattr(theirs, name)) if theirs else "", meaning)
        for name, (label, meaning) in meanings.items()
    ]
    return rows + _lpips_rows(ours.lpips, theirs.lpips if theirs else None)


def _lpips_rows(ours: PerceptualFigures | None, theirs: PerceptualFigures | None) -> list[TableRow]:
    """Rows of perceptual distances; none where they were not measured."""
    if ours is None:
        return []
    meanings = {
        "within": ("LPIPS within identities", f"mean perceptual distance of {ours.num_within:,} pairs of one identity"),
        "across": ("LPIPS across identities", f"the same of {ours.num_across:,} pairs of two identities"),
    }
    return [
        (label, _text(getattr(ours, name)), _text(getattr(theirs, name)) if theirs else "", meaning)
        for name, (label, meaning) in meanings.items()
    ]


def octave_plot(detail: DetailFigures, quality: QualitySection | None) -> str:
    """Power by octave on a log axis, of the dataset and, if there are any, of the real faces."""
    curves = [("this set", detail, COLORS[1])]
    if quality:
        curves.append((quality.reference, quality.detail, GREY))
    values = [max(value, 1e-3) for _, figures, _ in curves for value in figures.octave_power.values()]
    octaves = list(detail.octave_power)
    names = {float(position): octave for position, octave in enumerate(octaves)}
    label = "octave of spatial frequency, cycles per pixel"
    x = Axis(label, -0.4, len(octaves) - 0.4, format_tick=lambda tick: names.get(tick, ""))
    low, high = 10 ** np.floor(np.log10(min(values))), 10 ** np.ceil(np.log10(max(values) * 1.01))
    plot = Plot(x, Axis("variance of the grey level", low, high, is_log=True), _WIDTH, _HEIGHT, title="power by octave")
    for number, (name, figures, color) in enumerate(curves):
        powers = [max(figures.octave_power[octave], 1e-3) for octave in octaves]
        plot.line(range(len(octaves)), powers, color, 'stroke-width="1.6"')
        for position, power in enumerate(powers):
            plot.dot(position, power, color, tip=f"{name}, {octaves[position]}: {power:.3g}")
        plot.text(len(octaves) - 0.4, high, name, color, shift=(-190, 14 + 14 * number))
    return plot.svg()


def standing_rows(card: AuditCard, published: Sequence[PublishedAudit]) -> list[tuple[TableRow, bool]]:
    """Cells of the table of public datasets, the highest Fisher ratio first, and whether a row is this dataset's."""
    rows = [(audit.fisher_ratio, _published_cells(audit), False) for audit in published]
    if card.pairs and card.pairs.fisher_ratio is not None:
        rows.append((card.pairs.fisher_ratio, _own_cells(card, card.pairs), True))
    return [(cells, is_own) for _, cells, is_own in sorted(rows, key=lambda row: -row[0])]


def accuracy_plot(card: AuditCard, published: Sequence[PublishedAudit]) -> str:
    """Accuracy of networks trained on public datasets against the dataset's Fisher ratio; a line marks this dataset."""
    known = [(audit.fisher_ratio, audit.accuracy, audit.dataset) for audit in published if audit.accuracy is not None]
    own = card.pairs.fisher_ratio if card.pairs else None
    ratios = [ratio for ratio, _, _ in known] + ([own] if own else [])
    x = Axis("Fisher ratio", min(ratios) / 1.5, max(ratios) * 2, is_log=True, log_steps=(1, 2, 5))
    accuracies = [accuracy for _, accuracy, _ in known]
    y = Axis("mean accuracy, per cent", min(accuracies) - 2, max(accuracies) + 2)
    plot = Plot(x, y, _WIDTH, _HEIGHT, title="separability of a dataset against accuracy of networks trained on it")
    for ratio, accuracy, name in known:
        plot.dot(ratio, accuracy, COLORS[0], tip=f"{name}: Fisher ratio {ratio:.2f}, accuracy {accuracy:.2f} %")
        has_one_above = any(1 <= r / ratio < 2 and 0 < a - accuracy < 2 for r, a, _ in known)
        plot.text(ratio, accuracy, name, "currentColor", shift=(6, 14 if has_one_above else -5))
    if own:
        plot.line([own] * 2, [y.low, y.high], COLORS[1], 'stroke-dasharray="3 3"')
        plot.text(own, y.low, card.name, COLORS[1], shift=(5, -6))
    return plot.svg()


def rank_agreement(published: Sequence[PublishedAudit], min_ratio: float) -> tuple[int, float]:
    """Number of datasets with a Fisher ratio of at least ``min_ratio``, and Spearman's correlation to accuracy."""
    known = [(a.fisher_ratio, a.accuracy) for a in published if a.accuracy is not None and a.fisher_ratio >= min_ratio]
    ratios, accuracies = np.array(known, dtype=float).T
    return len(known), float(np.corrcoef(_ranks(ratios), _ranks(accuracies))[0, 1])


def _ranks(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Position of each of some distinct values in ascending order."""
    return np.argsort(np.argsort(values))


def _published_cells(audit: PublishedAudit) -> TableRow:
    return (
        audit.dataset,
        f"{audit.num_images:,}",
        f"{audit.genuine_mean:.3f}",
        f"{audit.impostor_mean:.3f}",
        f"{audit.eer:.2%}",
        f"{audit.fisher_ratio:.2f}",
        f"{audit.match_median:.3f}",
        f"{audit.match_p99:.3f}",
        f"{audit.match_max:.3f}",
        f"{audit.match_above_half:.2%}",
        "" if audit.accuracy is None else f"{audit.accuracy:.2f}",
    )


def _own_cells(card: AuditCard, pairs: PairsSection) -> TableRow:
    scores = card.diversity_scores
    match = ("", "", "", "")
    if card.privacy:
        nearest_match = card.privacy.judges[0].matches
        match = (
            f"{nearest_match.median:.3f}",
            f"{nearest_match.p99:.3f}",
            f"{nearest_match.max:.3f}",
            f"{nearest_match.share_above_half:.2%}",
        )
    elif card.leakage:
        nearest, above = card.leakage[0].image_cosine, card.leakage[0].share_of_images_above["0.5"]
        match = (f"{nearest.p50:.3f}", f"{nearest.p99:.3f}", f"{nearest.max:.3f}", f"{above:.2%}")
    return (
        card.name,
        f"{card.num_images:,}",
        _text(pairs.genuine.mean),
        _text(pairs.impostor.mean),
        f"{scores.eer:.2%}" if scores and scores.eer is not None else "",
        f"{pairs.fisher_ratio:.2f}",
        *match,
        "",
    )


def _with_spread(distances: Distances) -> str:
    return f"{distances.kid:.4f} ± {distances.kid_std:.4f}"


def _text(value: float | None) -> str:
    """Three decimals below ten, one above."""
    if value is None:
        return ""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"
