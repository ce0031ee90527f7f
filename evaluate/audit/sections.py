"""Measurements of the audit -> the sections of its card: numbers, histograms and worst cases.

The page shows nothing else than the card. Fields and their units: ``bench/runs/card_parts/audit.py``.
"""

from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from bench.faces.alignment.mirror_axis import mirror_axis
from bench.runs.card_parts.audit import (
    ConsistencySection,
    Distribution,
    DuplicatePair,
    DuplicatesSection,
    ExactDuplicates,
    Histogram,
    IdentityPair,
    ImageCosine,
    ImagesSection,
    ImpostorPairs,
    LeakageSection,
    LeakedIdentity,
    LeakedImage,
    MirrorAxisPart,
    NearDuplicates,
    PairMomentsPart,
    PairsSection,
    SeparationSection,
    UniqueIdentities,
)
from evaluate.audit.embeddings import Embedded
from evaluate.audit.identities.cosines import BINS, IdentityFigures
from evaluate.audit.identities.leakage import IDENTITY_THRESHOLD, THRESHOLDS, Leakage
from evaluate.audit.identities.separation import RULES, Separation, curve_points
from evaluate.audit.identities.separation import THRESHOLDS as SEPARATION_THRESHOLDS
from evaluate.audit.images.duplicates import NearPairs, first_with_same_pixels
from evaluate.audit.images.scan import NEAR_BITS, Scan, aligned_images, other_sizes
from evaluate.audit.source import Source

NUM_LISTED = 25
"""Length of each list of worst cases."""
CONSISTENCY_THRESHOLDS = (0.3, 0.4, 0.5)
"""Cosines; the section states the share of images below each."""
_QUANTILES = {"min": 0, "p1": 1, "p5": 5, "p25": 25, "p50": 50, "p75": 75, "p95": 95, "p99": 99, "max": 100}


def distribution(values: NDArray, *, num_bins: int = 50, is_cosine: bool = False) -> Distribution:
    """Number, mean, standard deviation, quantiles and histogram of the values that are not NaN.

    Args:
        values: Shape (N,).
        num_bins: Bins between the smallest and the largest value.
        is_cosine: Whether to use 200 bins between -1 and 1 instead.
    """
    values = values[~np.isnan(values)].astype(np.float64)
    if not values.size:
        return Distribution(num=0)
    low, high = (-1.0, 1.0) if is_cosine else (float(values.min()), float(values.max()))
    clipped = values.clip(low, high)
    top = high if high > low else low + 1
    counts, _ = np.histogram(clipped, 200 if is_cosine else num_bins, (low, top))
    quantiles = np.percentile(values, list(_QUANTILES.values()))
    return Distribution(
        num=values.size,
        mean=float(values.mean()),
        std=float(values.std()),
        **{name: float(value) for name, value in zip(_QUANTILES, quantiles, strict=True)},
        histogram=Histogram(low=low, high=top, counts=counts.tolist()),
    )


def images_section(source: Source, scan: Scan) -> ImagesSection:
    """Broken files, sizes, mirror axis of the mean face, images per identity, brightness, sharpness and colour."""
    counts = np.bincount(source.identity_ids[scan.decoded], minlength=len(source.identity_names))
    table = scan.table[scan.decoded]
    axis = mirror_axis(source.pixels, aligned_images(scan))
    return ImagesSection(
        num_broken=len(scan.problems),
        broken=[_short(source, problem) for problem in scan.problems[:NUM_LISTED]],
        other_sizes=other_sizes(scan),
        mirror_axis=MirrorAxisPart(**asdict(axis)) if axis else None,
        per_identity=distribution(counts, num_bins=min(50, max(1, int(counts.max())))),
        num_identities_of_one_image=int(np.count_nonzero(counts == 1)),
        num_identities_without_image=int(np.count_nonzero(counts == 0)),
        brightness=distribution(table["brightness"]),
        sharpness=distribution(table["sharpness"]),
        red_minus_blue=distribution(table["red_minus_blue"]),
    )


def duplicates_section(source: Source, scan: Scan, near: NearPairs) -> DuplicatesSection:
    """Exact and near duplicates, within identities and across them.

    Args:
        source: The dataset.
        scan: Its scan.
        near: Near duplicates, as positions in ``scan.decoded``.
    """
    ids = source.identity_ids[scan.decoded]
    first = first_with_same_pixels(scan.table["digest"][scan.decoded])
    is_repeat = first != np.arange(len(first))
    first_ids, second_ids = ids[near.pairs].T
    is_across = first_ids != second_ids
    across = np.flatnonzero(is_across)[np.argsort(near.bits[is_across], kind="stable")][:NUM_LISTED]
    listed = []
    for row in across:
        first_label, second_label = (_label(source, int(scan.decoded[i])) for i in near.pairs[row])
        listed.append(DuplicatePair(first=first_label, second=second_label, bits=int(near.bits[row])))
    return DuplicatesSection(
        exact=ExactDuplicates(
            num_images=int(is_repeat.sum()),
            num_images_across_identities=int(np.count_nonzero(ids[first] != ids)),
        ),
        near=NearDuplicates(
            max_bits=NEAR_BITS,
            num_pairs=len(near.pairs),
            num_pairs_across_identities=int(is_across.sum()),
            num_images=len(np.unique(near.pairs)),
            is_complete=near.is_complete,
        ),
        across_identities=listed,
    )


def separation_section(separation: Separation, names: list[str]) -> SeparationSection:
    """Unique identities by threshold and rule, their curve against the number of identities, and the nearest pairs."""
    points = curve_points(len(names))
    curve = {"num_identities": points.tolist()}
    for (threshold, rule), is_unique in separation.is_unique.items():
        curve[f"{rule}_{threshold:g}"] = np.cumsum(is_unique)[points - 1].tolist()
    unique = {}
    for threshold in SEPARATION_THRESHOLDS:
        numbers = {rule: int(separation.is_unique[threshold, rule].sum()) for rule in RULES}
        unique[f"{threshold:g}"] = UniqueIdentities(**numbers)
    order = np.argsort(-separation.nearest_cosine, kind="stable")
    is_mutual = separation.nearest[separation.nearest[order]] == order
    order = order[~is_mutual | (order < separation.nearest[order])]  # a mutual pair is listed once
    return SeparationSection(
        num_identities=len(names),
        unique=unique,
        curve=curve,
        nearest_cosine=distribution(separation.nearest_cosine, is_cosine=True),
        nearest_pairs=[
            IdentityPair(
                first=names[row],
                second=names[separation.nearest[row]],
                cosine=float(separation.nearest_cosine[row]),
            )
            for row in order[:NUM_LISTED]
        ],
    )


def consistency_section(figures: IdentityFigures, embedded: Embedded) -> ConsistencySection:
    """Cosines of images to their identity, and the images with the lowest."""
    cosines = figures.to_others[~np.isnan(figures.to_others)]
    order = np.argsort(np.where(np.isnan(figures.to_others), np.inf, figures.to_others), kind="stable")
    return ConsistencySection(
        to_center=distribution(figures.to_center[~np.isnan(figures.to_others)], is_cosine=True),
        to_others=distribution(figures.to_others, is_cosine=True),
        share_below={f"{t:g}": float((cosines < t).mean()) if cosines.size else None for t in CONSISTENCY_THRESHOLDS},
        lowest=[
            ImageCosine(
                image=_label(embedded.source, int(embedded.positions[row])), cosine=float(figures.to_others[row])
            )
            for row in order[: min(NUM_LISTED, cosines.size)]
        ],
    )


def diversity_section(figures: IdentityFigures, embedded: Embedded) -> dict[str, Distribution]:
    """Cosines within each identity (``pair_mean``), and every estimated property (quality, yaw), by its name."""
    return {
        "pair_mean": distribution(figures.pair_mean, is_cosine=True),
        **{name: distribution(values) for name, values in embedded.values.items()},
    }


def pairs_section(figures: IdentityFigures, impostor_counts: NDArray[np.int64], is_all: bool) -> PairsSection:
    """Moments and histograms of all genuine and all impostor pairs, and two measures of their separation.

    Args:
        figures: Result of ``measure_identities``.
        impostor_counts: Histogram of impostor pairs.
        is_all: Whether that histogram counts every pair.
    """
    spread = np.sqrt((figures.genuine.std**2 + figures.impostor.std**2) / 2)
    d_prime = (figures.genuine.mean - figures.impostor.mean) / spread if spread > 0 else float("nan")
    genuine, impostor = figures.genuine, figures.impostor
    return PairsSection(
        fisher_ratio=_number(figures.fisher_ratio),
        d_prime=_number(d_prime),
        genuine=PairMomentsPart(
            num_pairs=genuine.num_pairs,
            mean=_number(genuine.mean),
            std=_number(genuine.std),
            histogram=_cosine_histogram(figures.genuine_counts),
        ),
        impostor=ImpostorPairs(
            num_pairs=impostor.num_pairs,
            mean=_number(impostor.mean),
            std=_number(impostor.std),
            histogram=_cosine_histogram(impostor_counts),
            histogram_is_of_all_pairs=is_all,
        ),
    )


def leakage_section(leakage: Leakage, embedded: Embedded, reference: Embedded, num_same_pixels: int) -> LeakageSection:
    """Leakage from one reference: cosines of images and identities to it, and the identities likely in both."""
    worst = np.argsort(-leakage.image_cosine, kind="stable")[:NUM_LISTED]
    own = distribution(leakage.own_cosine, is_cosine=True)
    return LeakageSection(
        reference=reference.source.name,
        num_images=len(reference.embeddings),
        num_identities=len(reference.identity_names),
        num_images_with_same_pixels=num_same_pixels,
        image_cosine=distribution(leakage.image_cosine, is_cosine=True),
        share_of_images_above={f"{t:g}": float((leakage.image_cosine > t).mean()) for t in THRESHOLDS},
        reference_own_nearest=own,
        share_of_images_above_reference_p95=float((leakage.image_cosine > own.p95).mean()) if own.num else None,
        identity_cosine=distribution(leakage.identity_cosine, is_cosine=True),
        identity_threshold=IDENTITY_THRESHOLD,
        num_identities_above=len(leakage.shared_identities()),
        identities=leaked_identities(leakage, embedded, reference)[:NUM_LISTED],
        images=[
            LeakedImage(
                image=_label(embedded.source, int(embedded.positions[row])),
                reference_identity=reference.identity_names[leakage.image_nearest[row]],
                cosine=float(leakage.image_cosine[row]),
            )
            for row in worst
        ],
    )


def leaked_identities(leakage: Leakage, embedded: Embedded, reference: Embedded) -> list[LeakedIdentity]:
    """Identities likely in both sets, the nearest first."""
    num_images = np.bincount(embedded.identity_ids)
    agrees = leakage.image_nearest == leakage.identity_nearest[embedded.identity_ids]
    is_near = agrees & (leakage.image_cosine > IDENTITY_THRESHOLD)
    num_near = np.bincount(embedded.identity_ids, weights=is_near).astype(int)
    return [
        LeakedIdentity(
            identity=embedded.identity_names[row],
            reference_identity=reference.identity_names[leakage.identity_nearest[row]],
            cosine=float(leakage.identity_cosine[row]),
            num_images=int(num_images[row]),
            num_images_near=int(num_near[row]),
        )
        for row in leakage.shared_identities()
    ]


def _cosine_histogram(counts: NDArray[np.int64]) -> Histogram:
    return Histogram(low=float(BINS[0]), high=float(BINS[-1]), counts=counts.tolist())


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _label(source: Source, position: int) -> str:
    return _short(source, source.label(position))


def _short(source: Source, text: str) -> str:
    """A text without the dataset's folder, which differs from machine to machine."""
    return text.replace(f"{source.path}/", "").replace(f"{source.path} ", "")
