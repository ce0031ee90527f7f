"""What the audit measured -> the sections of its card: numbers, histograms and the worst cases, as plain JSON values.

Everything that the page shows is in the card; a value that is not defined is null.
"""

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.faces.alignment import mirror_axis
from evaluate.audit.duplicates import NearPairs, repeats_of_earlier
from evaluate.audit.embeddings import Embedded
from evaluate.audit.identities import BINS, IdentityFigures, PairMoments
from evaluate.audit.images import NEAR_BITS, Scan, aligned_images, other_sizes
from evaluate.audit.leakage import IDENTITY_THRESHOLD, THRESHOLDS, Leakage
from evaluate.audit.separation import RULES, Separation, curve_points
from evaluate.audit.separation import THRESHOLDS as SEPARATION_THRESHOLDS
from evaluate.audit.source import Source

NUM_LISTED = 25
CONSISTENCY_THRESHOLDS = (0.3, 0.4, 0.5)
_QUANTILES = {"min": 0, "p1": 1, "p5": 5, "p25": 25, "p50": 50, "p75": 75, "p95": 95, "p99": 99, "max": 100}

Section = dict[str, Any]


def distribution(values: NDArray, *, num_bins: int = 50, cosine: bool = False) -> Section:
    """Mean, deviation, quantiles and a histogram of the values that are numbers; cosines are binned over -1 .. 1."""
    values = values[~np.isnan(values)].astype(np.float64)
    if not values.size:
        return {"num": 0}
    low, high = (-1.0, 1.0) if cosine else (float(values.min()), float(values.max()))
    counts, _ = np.histogram(
        values.clip(low, high), 200 if cosine else num_bins, (low, high if high > low else low + 1)
    )
    quantiles = np.percentile(values, list(_QUANTILES.values()))
    return {
        "num": int(values.size),
        "mean": float(values.mean()),
        "std": float(values.std()),
        **{name: float(value) for name, value in zip(_QUANTILES, quantiles, strict=True)},
        "histogram": {"low": low, "high": high if high > low else low + 1, "counts": counts.tolist()},
    }


def images_section(source: Source, scan: Scan) -> Section:
    """Images per identity, broken files, sizes, where faces lie, brightness, sharpness, colour."""
    counts = np.bincount(source.identity_ids[scan.good], minlength=len(source.identity_names))
    good = scan.table[scan.good]
    return {
        "num_broken": len(scan.problems),
        "broken": [_short(source, problem) for problem in scan.problems[:NUM_LISTED]],
        "other_sizes": other_sizes(scan),
        "mirror_axis": asdict(axis) if (axis := mirror_axis(source.pixels, aligned_images(scan))) else None,
        "per_identity": distribution(counts, num_bins=min(50, max(1, int(counts.max())))),
        "num_identities_of_one_image": int(np.count_nonzero(counts == 1)),
        "num_identities_without_image": int(np.count_nonzero(counts == 0)),
        **{name: distribution(good[name]) for name in ("brightness", "sharpness", "red_minus_blue")},
    }


def duplicates_section(source: Source, scan: Scan, near: NearPairs) -> Section:
    """Exact and near duplicates, within an identity and across; ``near`` counts places among ``scan.good``."""
    ids = source.identity_ids[scan.good]
    first = repeats_of_earlier(scan.table["digest"][scan.good])
    is_repeat = first != np.arange(len(first))
    first_ids, second_ids = ids[near.pairs].T
    is_across = first_ids != second_ids
    across = np.flatnonzero(is_across)[np.argsort(near.bits[is_across], kind="stable")][:NUM_LISTED]
    return {
        "exact": {
            "num_images": int(is_repeat.sum()),
            "num_images_across_identities": int(np.count_nonzero(ids[first] != ids)),
        },
        "near": {
            "max_bits": NEAR_BITS,
            "num_pairs": len(near.pairs),
            "num_pairs_across_identities": int(is_across.sum()),
            "num_images": len(np.unique(near.pairs)),
            "is_complete": near.is_complete,
        },
        "across_identities": [
            {"first": first, "second": second, "bits": int(near.bits[place])}
            for place in across
            for first, second in [[_label(source, int(scan.good[i])) for i in near.pairs[place]]]
        ],
    }


def separation_section(found: Separation, names: list[str]) -> Section:
    """Unique identities at each threshold and rule, against the number of identities; the nearest pairs."""
    points = curve_points(len(names))
    curves = {key: np.cumsum(unique)[points - 1].tolist() for key, unique in found.is_unique.items()}
    order = np.argsort(-found.nearest_cosine, kind="stable")
    order = order[(order < found.nearest[order]) | (found.nearest[found.nearest[order]] != order)]  # each pair once
    return {
        "num_identities": len(names),
        "unique": {
            f"{threshold:g}": {rule: int(found.is_unique[threshold, rule].sum()) for rule in RULES}
            for threshold in SEPARATION_THRESHOLDS
        },
        "curve": {
            "num_identities": points.tolist(),
            **{f"{rule}_{threshold:g}": values for (threshold, rule), values in curves.items()},
        },
        "nearest_cosine": distribution(found.nearest_cosine, cosine=True),
        "nearest_pairs": [
            {"first": names[row], "second": names[found.nearest[row]], "cosine": float(found.nearest_cosine[row])}
            for row in order[:NUM_LISTED]
        ],
    }


def consistency_section(figures: IdentityFigures, embedded: Embedded) -> Section:
    """How near images are to their identity; those that are farthest."""
    known = figures.to_others[~np.isnan(figures.to_others)]
    order = np.argsort(np.where(np.isnan(figures.to_others), np.inf, figures.to_others), kind="stable")
    return {
        "to_center": distribution(figures.to_center[~np.isnan(figures.to_others)], cosine=True),
        "to_others": distribution(figures.to_others, cosine=True),
        "share_below": {f"{t:g}": float((known < t).mean()) if known.size else None for t in CONSISTENCY_THRESHOLDS},
        "lowest": [
            {"image": _label(embedded.source, int(embedded.positions[row])), "cosine": float(figures.to_others[row])}
            for row in order[: min(NUM_LISTED, known.size)]
        ],
    }


def diversity_section(figures: IdentityFigures, embedded: Embedded) -> Section:
    """How much images of one identity differ, and the distribution of quality, pose or what else was estimated."""
    return {
        "pair_mean": distribution(figures.pair_mean, cosine=True),
        **{name: distribution(values) for name, values in embedded.values.items()},
    }


def pairs_section(figures: IdentityFigures, impostor_counts: NDArray[np.int64], is_all: bool) -> Section:
    """All genuine against all impostor pairs."""
    spread = np.sqrt((figures.genuine.std**2 + figures.impostor.std**2) / 2)
    d_prime = (figures.genuine.mean - figures.impostor.mean) / spread if spread > 0 else float("nan")

    def kind(moments: PairMoments, counts: NDArray[np.int64]) -> Section:
        histogram = {"low": float(BINS[0]), "high": float(BINS[-1]), "counts": counts.tolist()}
        mean, std = _number(moments.mean), _number(moments.std)
        return {"num_pairs": moments.num_pairs, "mean": mean, "std": std, "histogram": histogram}

    return {
        "fisher_ratio": _number(figures.fisher_ratio),
        "d_prime": _number(d_prime),
        "genuine": kind(figures.genuine, figures.genuine_counts),
        "impostor": kind(figures.impostor, impostor_counts) | {"histogram_is_of_all_pairs": is_all},
    }


def leakage_section(found: Leakage, embedded: Embedded, reference: Embedded, num_same_pixels: int) -> Section:
    """One reference: how near our images and identities come, and who is likely in both."""
    worst = np.argsort(-found.image_cosine, kind="stable")[:NUM_LISTED]
    own = distribution(found.own_cosine, cosine=True)
    return {
        "reference": reference.source.name,
        "num_images": len(reference.embeddings),
        "num_identities": len(reference.identity_names),
        "num_images_with_same_pixels": num_same_pixels,
        "image_cosine": distribution(found.image_cosine, cosine=True),
        "share_of_images_above": {f"{t:g}": float((found.image_cosine > t).mean()) for t in THRESHOLDS},
        "reference_own_nearest": own,
        "share_of_images_above_reference_p95": (
            float((found.image_cosine > own["p95"]).mean()) if own["num"] else None
        ),
        "identity_cosine": distribution(found.identity_cosine, cosine=True),
        "identity_threshold": IDENTITY_THRESHOLD,
        "num_identities_above": len(found.pairs()),
        "identities": leaked_identities(found, embedded, reference)[:NUM_LISTED],
        "images": [
            {
                "image": _label(embedded.source, int(embedded.positions[row])),
                "reference_identity": reference.identity_names[found.image_nearest[row]],
                "cosine": float(found.image_cosine[row]),
            }
            for row in worst
        ],
    }


def leaked_identities(found: Leakage, embedded: Embedded, reference: Embedded) -> list[Section]:
    """Identities likely in both sets, the nearest first: names, cosine of centres, images that say so themselves."""
    num_images = np.bincount(embedded.identity_ids)
    agrees = found.image_nearest == found.identity_nearest[embedded.identity_ids]
    is_near = agrees & (found.image_cosine > IDENTITY_THRESHOLD)
    num_near = np.bincount(embedded.identity_ids, weights=is_near).astype(int)
    return [
        {
            "identity": embedded.identity_names[row],
            "reference_identity": reference.identity_names[found.identity_nearest[row]],
            "cosine": float(found.identity_cosine[row]),
            "num_images": int(num_images[row]),
            "num_images_near": int(num_near[row]),
        }
        for row in found.pairs()
    ]


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _label(source: Source, position: int) -> str:
    return _short(source, source.label(position))


def _short(source: Source, text: str) -> str:
    """Without the folder of the dataset, which is another on every machine."""
    return text.replace(f"{source.path}/", "").replace(f"{source.path} ", "")
