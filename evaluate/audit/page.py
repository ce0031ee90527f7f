"""An audit card -> one HTML page with figures that needs no other file. Whatever it shows stands in the card.

The page holds no photographs: audits of real people's faces can be published.
"""

from typing import Any

import numpy as np
from markupsafe import Markup

from bench.runs.cards import AuditCard
from evaluate.pages.render import render_page
from evaluate.svg import COLORS, GENUINE, GREY, IMPOSTOR, Axis, Plot, format_count_tick, format_percent_tick

_WIDTH, _HEIGHT = 330, 230


def render_audit(card: AuditCard) -> str:
    """The page; the same card gives the same bytes."""
    return render_page("audit.html", card=card, glance=at_a_glance(card), figures=_figures(card), count="{:,}".format)


def at_a_glance(card: AuditCard) -> list[tuple[str, str, str]]:
    """The figures to read first: name, value, what it means."""
    per_identity = card.images["per_identity"]
    exact, near = card.duplicates["exact"], card.duplicates["near"]
    rows = [
        ("Images", f"{card.num_images:,}", f"{card.images['num_broken']:,} broken"),
        (
            "Identities",
            f"{card.num_identities:,}",
            f"{per_identity['min']:g} to {per_identity['max']:g} images each, median {per_identity['p50']:g}; "
            f"{card.images['num_identities_of_one_image']:,} have one",
        ),
        (
            "Exact duplicates",
            f"{exact['num_images']:,}",
            f"images with the pixels of an earlier one, {exact['num_images_across_identities']:,} under another name",
        ),
        (
            "Near duplicates",
            f"{near['num_pairs']:,}",
            f"pairs of images, {near['num_pairs_across_identities']:,} across identities",
        ),
    ]
    if axis := card.images.get("mirror_axis"):  # cards of earlier versions have none
        rows.append(_axis_row(axis))
    return rows + (_network_rows(card) if card.separation else [])


def _axis_row(axis: dict[str, Any]) -> tuple[str, str, str]:
    left = axis["pixels_left"]
    value = "in the middle" if abs(left) < 1 else f"{abs(left):g} pixels {'left' if left > 0 else 'right'}"
    meaning = f"of the mean of {axis['num_faces']:,} faces, which is {axis['symmetry']:.3f} its own mirror image"
    mend = (
        "" if abs(left) < 1 else f"; test sets have it in the middle: python -m bench convert --shift-right {left:.0f}"
    )
    return "Mirror axis", value, meaning + mend


def _network_rows(card: AuditCard) -> list[tuple[str, str, str]]:
    separation, consistency, pairs = card.separation or {}, card.consistency or {}, card.pairs or {}
    rows = []
    for threshold, unique in separation["unique"].items():
        meaning = f"kept by the greedy rule at cosine {threshold}; {unique['earlier']:,} by the official rule"
        rows.append((f"Unique identities at {threshold}", f"{unique['kept']:,}", meaning))
    if consistency["to_others"]["num"]:
        below = consistency["share_below"]["0.3"]
        meaning = f"mean cosine of an image to its identity's other images; {below:.2%} are below 0.3"
        rows.append(("Consistency", f"{consistency['to_others']['mean']:.3f}", meaning))
    if pairs["fisher_ratio"] is not None:
        kinds = [f"{kind} {pairs[kind]['mean']:.3f} ± {pairs[kind]['std']:.3f}" for kind in ("genuine", "impostor")]
        rows.append(("Fisher ratio", f"{pairs['fisher_ratio']:.2f}", f"{', '.join(kinds)}, over all pairs"))
    if card.colour_order:
        ratio = card.colour_order["fisher_ratio"]
        meaning = f"Fisher ratio {ratio['as_stored']:.2f} as stored, {ratio['exchanged']:.2f} exchanged"
        rows.append(("Colour order", card.colour_order["order"], meaning))
    for one in card.leakage:
        meaning = f"identities nearer than {one['identity_threshold']:g} to one of {one['num_identities']:,} there"
        rows.append((f"Shared with {one['reference']}", f"{one['num_identities_above']:,}", meaning))
    return rows


def _figures(card: AuditCard) -> dict[str, list[Markup]]:
    """Section -> its figures."""
    drawn = {
        "images": [
            _histogram("images per identity", card.images["per_identity"], "identities"),
            _histogram("sharpness (variance of the Laplacian)", card.images["sharpness"], "images"),
            _histogram("brightness", card.images["brightness"], "images"),
            _histogram("red minus blue", card.images["red_minus_blue"], "images"),
        ]
    }
    if card.separation and card.consistency and card.diversity and card.pairs:
        drawn["separation"] = [
            _curve(card.separation["curve"]),
            _histogram("cosine to the nearest other identity", card.separation["nearest_cosine"], "identities"),
        ]
        drawn["consistency"] = [
            _histogram("cosine to the identity's other images", card.consistency["to_others"], "images"),
            _histogram("cosine to the identity's centre", card.consistency["to_center"], "images"),
        ]
        drawn["pairs"] = [_pairs(card.pairs)]
        drawn["diversity"] = [
            _histogram("mean cosine within an identity", card.diversity["pair_mean"], "identities"),
            *(_histogram(name, one, "images") for name, one in card.diversity.items() if name != "pair_mean"),
        ]
    for place, one in enumerate(card.leakage):
        drawn[f"leakage{place}"] = [_leakage(one)]
    return {name: [Markup(figure) for figure in figures if figure] for name, figures in drawn.items()}


def _histogram(label: str, one: dict[str, Any], unit: str, color: str = COLORS[0]) -> str:
    """Bars of one distribution, with a tick at its median; empty where it has no values."""
    if not one["num"]:
        return ""
    edges, shares = _trimmed(one["histogram"])
    if one["min"] == one["max"]:  # a bin around the one value
        edges, shares = one["min"] + np.array([-0.5, 0.5]), np.ones(1)
    top = Axis(f"share of {unit}", 0, float(shares.max()) * 1.05, format_tick=format_percent_tick)
    plot = Plot(Axis(label, edges[0], edges[-1]), top, _WIDTH, _HEIGHT, title=f"{label}, median {one['p50']:.4g}")
    plot.bars(edges, shares, color)
    plot.line([one["p50"]] * 2, [0, top.high], GREY, 'stroke-dasharray="3 3"')
    return plot.svg()


def _pairs(pairs: dict[str, Any]) -> str:
    """Cosines of genuine and impostor pairs."""
    edges, shares = zip(*(_trimmed(pairs[kind]["histogram"]) for kind in ("genuine", "impostor")), strict=True)
    low, high = min(one[0] for one in edges), max(one[-1] for one in edges)
    top = Axis("share of pairs", 0, max(float(one.max()) for one in shares) * 1.05, format_tick=format_percent_tick)
    plot = Plot(Axis("cosine", low, high), top, 2 * _WIDTH, _HEIGHT, title="genuine and impostor pairs")
    for kind_edges, kind_shares, color in zip(edges, shares, (GENUINE, IMPOSTOR), strict=True):
        plot.bars(kind_edges, kind_shares, color)
    return plot.svg()


def _leakage(one: dict[str, Any]) -> str:
    """Cosine of images to the nearest identity of the reference, beside the reference's own nearest others."""
    edges, shares = _trimmed(one["image_cosine"]["histogram"])
    own = one["reference_own_nearest"]
    drawn = [(edges, shares, COLORS[1])]
    if own["num"]:
        drawn.append((*_trimmed(own["histogram"]), GREY))
    low, high = min(part[0][0] for part in drawn), max(part[0][-1] for part in drawn)
    top = Axis("share", 0, max(float(part[1].max()) for part in drawn) * 1.05, format_tick=format_percent_tick)
    label = f"cosine to the nearest identity of {one['reference']}"
    plot = Plot(Axis(label, low, high), top, 2 * _WIDTH, _HEIGHT, title=label)
    for part in drawn:
        plot.bars(*part)
    plot.line([one["identity_threshold"]] * 2, [0, top.high], GREY, 'stroke-dasharray="3 3"')
    return plot.svg()


def _curve(curve: dict[str, list[int]]) -> str:
    """Unique identities against identities, on log axes; the diagonal is where all are unique."""
    numbers = curve["num_identities"]
    low, high = min(10, numbers[0]), max(numbers[-1], 11)
    plot = Plot(
        Axis("identities", low, high, is_log=True, format_tick=format_count_tick),
        Axis("unique", max(1, low / 2), high, is_log=True, format_tick=format_count_tick),
        2 * _WIDTH,
        _HEIGHT,
        title="unique identities",
    )
    plot.line([low, high], [low, high], GREY, 'stroke-dasharray="3 3"')
    names = [name for name in curve if name != "num_identities"]
    for name, color in zip(names, COLORS, strict=False):
        plot.line(numbers, [max(value, plot.y.low) for value in curve[name]], color, 'stroke-width="1.6"')
        plot.text(
            low,
            high,
            f"{name.replace('_', ' at ')}: {curve[name][-1]:,}",
            color,
            shift=(8, 12 + 13 * names.index(name)),
        )
    return plot.svg()


def _trimmed(histogram: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Edges and shares without the empty bins at both ends."""
    counts = np.array(histogram["counts"])
    edges = np.linspace(histogram["low"], histogram["high"], len(counts) + 1)
    full = np.flatnonzero(counts)
    if not full.size:
        return edges, counts.astype(float) + 1e-9
    first, last = full[0], full[-1] + 1
    return edges[first : last + 1], counts[first:last] / counts.sum()
