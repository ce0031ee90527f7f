"""The card of an audit -> one HTML page that needs no other file. Template: ``evaluate/pages/audit.html``.

All numbers of the page stand in the card, except those of public datasets, which ``reports/published_audits.csv``
holds. The page shows no images, so that an audit of photographs can be published.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from bench.errors import python_command
from bench.runs.card_parts.audit import Distribution, Histogram, LeakageSection, MirrorAxisPart, PairsSection
from bench.runs.cards import AuditCard
from evaluate.audit.makeup import makeup_figure, makeup_rows
from evaluate.audit.privacy.page import hub_rows, match_rows, membership_rows, sentence
from evaluate.audit.quality.page import (
    accuracy_plot,
    distance_rows,
    diversity_rows,
    octave_plot,
    rank_agreement,
    standing_rows,
)
from evaluate.audit.quality.published import JUDGE, PublishedAudit, read_published_audits
from evaluate.pages.render import render_page
from evaluate.pages.svg import COLORS, GENUINE, GREY, IMPOSTOR, Axis, Plot, format_count_tick, format_percent_tick

_WIDTH, _HEIGHT = 330, 230
WELL_SEPARATED = 3
"""Fisher ratio above which a higher one no longer predicts a better trained network, among public datasets."""
_DASHED = 'stroke-dasharray="3 3"'

Figure = tuple[str, str, str]
"""Name of a number of the audit, its value, and its meaning in words. No plot."""


def render_audit(card: AuditCard) -> str:
    """The page as text; equal cards give equal bytes."""
    published = read_published_audits()
    return render_page(
        "audit.html",
        card=card,
        glance=at_a_glance(card),
        figures=_figures(card, published),
        distances=distance_rows(card.quality) if card.quality else [],
        diversity=diversity_rows(card),
        standing=standing_rows(card, published),
        agreement=[rank_agreement(published, ratio) for ratio in (0, WELL_SEPARATED)],
        well_separated=WELL_SEPARATED,
        makeup=[(makeup, makeup_rows(makeup)) for makeup in card.makeup],
        judge=JUDGE,
        **_privacy_tables(card),
        count="{:,}".format,
    )


def at_a_glance(card: AuditCard) -> list[Figure]:
    """The main numbers, in the order of the page and of the terminal."""
    figures = _image_figures(card)
    if card.images.mirror_axis:
        figures.append(_axis_figure(card.images.mirror_axis))
    figures += [makeup_figure(makeup) for makeup in card.makeup]
    return figures + _network_figures(card) + _quality_figures(card)


def _privacy_tables(card: AuditCard) -> dict[str, Any]:
    """Sentences and tables of the section about privacy; empty without it."""
    if card.privacy is None:
        return {}
    return {
        "sentences": [sentence(card.privacy, judge) for judge in card.privacy.judges],
        "membership": membership_rows(card.privacy),
        "matches": match_rows(card.privacy),
        "hubs": hub_rows(card.privacy),
    }


def _image_figures(card: AuditCard) -> list[Figure]:
    images, exact, near = card.images, card.duplicates.exact, card.duplicates.near
    return [
        ("Images", f"{card.num_images:,}", f"{images.num_broken:,} broken"),
        (
            "Identities",
            f"{card.num_identities:,}",
            f"{images.per_identity.min:g} to {images.per_identity.max:g} images each, "
            f"median {images.per_identity.p50:g}; {images.num_identities_of_one_image:,} have one",
        ),
        (
            "Exact duplicates",
            f"{exact.num_images:,}",
            "images with the pixels of an earlier image, "
            f"{exact.num_images_across_identities:,} of them under another identity",
        ),
        (
            "Near duplicates",
            f"{near.num_pairs:,}",
            f"pairs of images, {near.num_pairs_across_identities:,} across identities",
        ),
    ]


def _axis_figure(axis: MirrorAxisPart) -> Figure:
    """The mirror axis of the mean face, with the command that moves it to the middle."""
    left = axis.pixels_left
    meaning = f"mean of {axis.num_faces:,} faces; it correlates by {axis.symmetry:.3f} with its mirror image"
    if abs(left) < 1:
        return "Mirror axis", "in the middle", meaning
    advice = f"to centre it as in test sets: {python_command(f'bench convert --shift-right {left:.0f}')}"
    return "Mirror axis", f"{abs(left):g} pixels {'left' if left > 0 else 'right'}", f"{meaning}; {advice}"


def _network_figures(card: AuditCard) -> list[Figure]:
    figures = []
    if card.separation:
        for threshold, unique in card.separation.unique.items():
            meaning = f"by the greedy rule at cosine {threshold}; {unique.earlier:,} by the official rule"
            figures.append((f"Unique identities at {threshold}", f"{unique.kept:,}", meaning))
    if card.consistency and card.consistency.to_others.num:
        below = card.consistency.share_below["0.3"]
        meaning = f"mean cosine of an image to its identity's other images; {below:.2%} are below 0.3"
        figures.append(("Consistency", f"{card.consistency.to_others.mean:.3f}", meaning))
    if card.pairs and card.pairs.fisher_ratio is not None:
        genuine, impostor = card.pairs.genuine, card.pairs.impostor
        meaning = (
            f"genuine {genuine.mean:.3f} ± {genuine.std:.3f}, impostor {impostor.mean:.3f} ± {impostor.std:.3f}, "
            "over all pairs"
        )
        figures.append(("Fisher ratio", f"{card.pairs.fisher_ratio:.2f}", meaning))
    if card.colour_order:
        ratio = card.colour_order.fisher_ratio
        meaning = f"Fisher ratio {ratio.as_stored:.2f} as stored, {ratio.exchanged:.2f} with red and blue exchanged"
        figures.append(("Colour order", card.colour_order.order, meaning))
    for leakage in card.leakage:
        meaning = (
            f"identities with a cosine above {leakage.identity_threshold:g} to one of {leakage.num_identities:,} there"
        )
        figures.append((f"Shared with {leakage.reference}", f"{leakage.num_identities_above:,}", meaning))
    return figures


def _quality_figures(card: AuditCard) -> list[Figure]:
    figures, quality = [], card.quality
    if card.detail:
        meaning = f"median variance of the Laplacian in the central 72 x 72 pixels of {card.detail.num_images:,} images"
        if quality and quality.sharpness_ratio is not None:
            meaning += f"; {quality.sharpness_ratio:.2f} times that of {quality.reference}"
        figures.append(("Sharpness", f"{card.detail.sharpness:.0f}", meaning))
    if card.diversity_scores:
        meaning = "Vendi score of the images: number of effectively different ones"
        figures.append(("Diversity", f"{card.diversity_scores.vendi_images:.1f}", meaning))
    if quality:
        meaning = (
            f"to {quality.num_images:,} images of {quality.reference}; {quality.real_halves.frechet:.3f} between two "
            "halves of its people"
        )
        figures.append(("Fréchet distance", f"{quality.ours.frechet:.3f}", meaning))
    if card.privacy:
        for judge in card.privacy.judges:
            figures.append(("Membership", f"{judge.membership['centre'].auc:.3f}", sentence(card.privacy, judge)))
    return figures


def _figures(card: AuditCard, published: Sequence[PublishedAudit]) -> dict[str, list[Markup]]:
    """Section of the page -> its plots."""
    plots = {
        "images": [
            _histogram("images per identity", card.images.per_identity, "identities"),
            _histogram("sharpness (variance of the Laplacian)", card.images.sharpness, "images"),
            _histogram("brightness", card.images.brightness, "images"),
            _histogram("red minus blue", card.images.red_minus_blue, "images"),
        ]
    }
    if card.separation and card.consistency and card.diversity and card.pairs:
        plots["separation"] = [
            _unique_curve(card.separation.curve),
            _histogram("cosine to the nearest other identity", card.separation.nearest_cosine, "identities"),
        ]
        plots["consistency"] = [
            _histogram("cosine to the identity's other images", card.consistency.to_others, "images"),
            _histogram("cosine to the identity's centre", card.consistency.to_center, "images"),
        ]
        plots["pairs"] = [_pairs_plot(card.pairs)]
        estimated = {name: values for name, values in card.diversity.items() if name != "pair_mean"}
        plots["diversity"] = [
            _histogram("mean cosine within an identity", card.diversity["pair_mean"], "identities"),
            *(_histogram(name, values, "images") for name, values in estimated.items()),
        ]
    for number, leakage in enumerate(card.leakage):
        plots[f"leakage{number}"] = [_leakage_plot(leakage)]
    if card.detail:
        plots["detail"] = [octave_plot(card.detail, card.quality)]
    plots["standing"] = [accuracy_plot(card, published)]
    return {section: [Markup(plot) for plot in drawn if plot] for section, drawn in plots.items()}


def _histogram(label: str, distribution: Distribution, unit: str) -> str:
    """Bars of one distribution with a dashed line at its median; empty for a distribution without values.

    Args:
        label: What is distributed.
        distribution: A distribution of the card.
        unit: What is counted: images, identities.
    """
    if distribution.histogram is None:
        return ""
    edges, shares = _trim(distribution.histogram)
    if distribution.min == distribution.max:  # one value: a bin around it
        edges, shares = distribution.min + np.array([-0.5, 0.5]), np.ones(1)
    median = distribution.p50
    y = Axis(f"share of {unit}", 0, float(shares.max()) * 1.05, format_tick=format_percent_tick)
    plot = Plot(Axis(label, edges[0], edges[-1]), y, _WIDTH, _HEIGHT, title=f"{label}, median {median:.4g}")
    plot.bars(edges, shares, COLORS[0])
    plot.line([median] * 2, [0, y.high], GREY, _DASHED)
    return plot.svg()


def _pairs_plot(pairs: PairsSection) -> str:
    """Histograms of the cosines of genuine and impostor pairs."""
    bars = [(*_trim(pairs.genuine.histogram), GENUINE), (*_trim(pairs.impostor.histogram), IMPOSTOR)]
    plot = _overlay(Axis("cosine", *_range_of(bars)), "share of pairs", bars, title="genuine and impostor pairs")
    return plot.svg()


def _leakage_plot(leakage: LeakageSection) -> str:
    """Cosines of images to the nearest identity of a reference, and of that reference's identities to each other."""
    distributions = ((leakage.image_cosine, COLORS[1]), (leakage.reference_own_nearest, GREY))
    bars = [(*_trim(values.histogram), color) for values, color in distributions if values.histogram]
    label = f"cosine to the nearest identity of {leakage.reference}"
    plot = _overlay(Axis(label, *_range_of(bars)), "share", bars, title=label)
    plot.line([leakage.identity_threshold] * 2, [0, plot.y.high], GREY, _DASHED)
    return plot.svg()


Bars = tuple[NDArray, NDArray, str]
"""Edges of bins, shares in them, and colour."""


def _range_of(bars: Sequence[Bars]) -> tuple[float, float]:
    return min(edges[0] for edges, _, _ in bars), max(edges[-1] for edges, _, _ in bars)


def _overlay(x: Axis, y_label: str, bars: Sequence[Bars], *, title: str) -> Plot:
    """A wide plot with several histograms over each other."""
    highest = max(float(shares.max()) for _, shares, _ in bars)
    y = Axis(y_label, 0, highest * 1.05, format_tick=format_percent_tick)
    plot = Plot(x, y, 2 * _WIDTH, _HEIGHT, title=title)
    for edges, shares, color in bars:
        plot.bars(edges, shares, color)
    return plot


def _unique_curve(curve: dict[str, list[int]]) -> str:
    """Unique identities against identities on log axes, with a dashed diagonal on which all are unique."""
    numbers = curve["num_identities"]
    low, high = min(10, numbers[0]), max(numbers[-1], 11)
    x = Axis("identities", low, high, is_log=True, format_tick=format_count_tick)
    y = Axis("unique", max(1, low / 2), high, is_log=True, format_tick=format_count_tick)
    plot = Plot(x, y, 2 * _WIDTH, _HEIGHT, title="unique identities")
    plot.line([low, high], [low, high], GREY, _DASHED)
    curves = {name: values for name, values in curve.items() if name != "num_identities"}
    for number, ((name, values), color) in enumerate(zip(curves.items(), COLORS, strict=False)):
        plot.line(numbers, [max(value, y.low) for value in values], color, 'stroke-width="1.6"')
        label = f"{name.replace('_', ' at ')}: {values[-1]:,}"
        plot.text(low, high, label, color, shift=(8, 12 + 13 * number))
    return plot.svg()


def _trim(histogram: Histogram) -> tuple[NDArray, NDArray]:
    """Edges and shares of a histogram without the empty bins at both ends."""
    counts = np.array(histogram.counts)
    edges = np.linspace(histogram.low, histogram.high, len(counts) + 1)
    occupied = np.flatnonzero(counts)
    if not occupied.size:
        return edges, counts.astype(float) + 1e-9
    first, last = occupied[0], occupied[-1] + 1
    return edges[first : last + 1], counts[first:last] / counts.sum()
