"""Embeddings and images of a dataset, and of real faces -> the quality sections of the audit's card.

Distances between sets depend on the number of images, so samples of equal size are compared. The distance between two
halves of the real people is reported beside that of the dataset: it is the best value that the dataset could reach.
"""

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.runs.card_parts.quality import DetailFigures, Distances, DiversityFigures, QualitySection
from bench.vectors.rows import copy_rows
from evaluate.audit.embeddings import Embedded, read_faces
from evaluate.audit.identities.cosines import IdentityFigures
from evaluate.audit.quality.detail import OCTAVES, evenly_spread, measure_detail
from evaluate.audit.quality.diversity import (
    RADIUS,
    consistent_share,
    covered_variation,
    unique_share,
    vendi_score,
)
from evaluate.audit.quality.frechet import frechet_distance, kernel_distance
from evaluate.audit.quality.neighbours import NUM_NEIGHBOURS, measure_overlap
from evaluate.audit.source import Source

MAX_IMAGES = 20_000
"""Largest sample. Time grows with its square; shares of 20,000 images have a standard error below half a per cent."""
NUM_DETAIL_IMAGES = 400


def detail_figures(source: Source, positions: NDArray[np.int64]) -> DetailFigures:
    """Sharpness and power by octave of some images of a source.

    Args:
        source: The images.
        positions: Positions of those that can be aligned faces by their size, at least one.
    """
    chosen = np.array(evenly_spread(positions, NUM_DETAIL_IMAGES))
    detail = measure_detail(read_faces(source, chosen)[np.arange(len(chosen))])
    power = np.median(detail.power, axis=0)
    return DetailFigures(
        num_images=len(chosen),
        sharpness=float(np.median(detail.sharpness)),
        octave_power=dict(zip(OCTAVES, power.tolist(), strict=True)),
    )


def diversity_figures(
    embedded: Embedded, figures: IdentityFigures, impostor_counts: NDArray[np.int64], *, device: str = "cpu"
) -> DiversityFigures:
    """Vendi scores, uniqueness, consistency and equal error rate of a set.

    Args:
        embedded: The set.
        figures: Its cosines.
        impostor_counts: Histogram of its impostor pairs.
        device: Torch device of the products.
    """
    return DiversityFigures(
        vendi_images=vendi_score(embedded.embeddings),
        vendi_identities=vendi_score(figures.centers),
        radius=RADIUS,
        u_class=unique_share(figures.centers, device=device),
        c_intra=consistent_share(figures.to_center),
        eer=histogram_eer(figures.genuine_counts, impostor_counts),
    )


def histogram_eer(genuine_counts: NDArray[np.int64], impostor_counts: NDArray[np.int64]) -> float | None:
    """Equal error rate from histograms with equal bins, interpolated within the bin where both errors cross.

    Args:
        genuine_counts: Genuine pairs by cosine, ascending, shape (bins,).
        impostor_counts: Impostor pairs, shape (bins,).

    Returns:
        A fraction; None without pairs of one kind.
    """
    if not genuine_counts.sum() or not impostor_counts.sum():
        return None
    missed = np.append(0, np.cumsum(genuine_counts)) / genuine_counts.sum()  # at the lower edge of each bin
    accepted = 1 - np.append(0, np.cumsum(impostor_counts)) / impostor_counts.sum()
    after = int(np.argmax(missed >= accepted))
    gap_before, gap_after = (accepted - missed)[[after - 1, after]]
    fraction = gap_before / (gap_before - gap_after)
    return float(missed[after - 1] + fraction * (missed[after] - missed[after - 1]))


def quality_section(
    embedded: Embedded,
    real: Embedded,
    detail: DetailFigures,
    real_figures: tuple[DetailFigures, DiversityFigures],
    *,
    device: str = "cpu",
    seed: int = 0,
) -> QualitySection:
    """A dataset against real faces.

    Args:
        embedded: The dataset.
        real: Real faces, embedded by the same network.
        detail: Detail of the dataset.
        real_figures: Detail and diversity of the real faces.
        device: Torch device of the products.
        seed: Seed of the samples.

    Raises:
        InputError: If there are too few images or people.
    """
    rng = np.random.default_rng(seed)
    halves = _halves(real, rng)
    size = min(MAX_IMAGES, len(embedded.embeddings), *map(len, halves))
    if size <= NUM_NEIGHBOURS:
        raise InputError(
            f"{size} images are too few to compare with {real.source.name}; give {NUM_NEIGHBOURS + 1} or more of the "
            "dataset, and twice as many real ones"
        )
    rows = np.sort(rng.choice(len(embedded.embeddings), size, replace=False))
    first, second = (np.sort(rng.choice(half, size, replace=False)) for half in halves)
    everything = np.arange(len(embedded.embeddings))
    ours, between_halves = (
        _variation(sample, (real, halves[0]), seed) for sample in ((embedded, everything), (real, halves[1]))
    )
    real_detail, diversity = real_figures
    power = real_detail.octave_power
    return QualitySection(
        reference=real.source.name,
        num_images=size,
        num_neighbours=NUM_NEIGHBOURS,
        ours=_distances((embedded, rows), (real, first), device, seed, d_intra=ours),
        real_halves=_distances((real, second), (real, first), device, seed, d_intra=between_halves),
        detail=real_detail,
        diversity=diversity,
        sharpness_ratio=_ratio(detail.sharpness, real_detail.sharpness),
        octave_ratio={octave: _ratio(detail.octave_power[octave], power[octave]) for octave in power},
    )


def _halves(real: Embedded, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the images of one half of the people, and of the other half."""
    num_people = len(real.identity_names)
    if num_people < 2:
        raise InputError(f"{real.source.name} shows {num_people} person; give real faces of two people or more")
    is_first = np.zeros(num_people, dtype=bool)
    is_first[rng.permutation(num_people)[: num_people // 2]] = True
    in_first = is_first[real.identity_ids]
    return np.flatnonzero(in_first), np.flatnonzero(~in_first)


Sample = tuple[Embedded, NDArray[np.int64]]
"""A set and the rows of some of its images."""


def _variation(ours: Sample, theirs: Sample, seed: int) -> float | None:
    """D_intra; identities are drawn from all images of both samples, since it needs five images of one person."""
    embedded, rows = ours
    embeddings = embedded.embeddings
    if len(rows) < len(embeddings):  # else they stay in their file, since all of them might not fit into memory
        embeddings = copy_rows(embeddings, rows, np.float32)
    real = copy_rows(theirs[0].embeddings, theirs[1], np.float32)
    ids, real_ids = (sample.identity_ids[rows] for sample, rows in (ours, theirs))
    share = covered_variation(embeddings, ids, real, real_ids, seed=seed)
    return None if np.isnan(share) else share


def _distances(ours: Sample, theirs: Sample, device: str, seed: int, *, d_intra: float | None) -> Distances:
    embeddings, real = (np.array(embedded.embeddings[rows], np.float32) for embedded, rows in (ours, theirs))
    scale = np.sqrt(embeddings.shape[1])  # so that x . y / D of the kernel is a cosine
    kernel = kernel_distance(embeddings * scale, real * scale, seed=seed)
    overlap = measure_overlap(embeddings, real, device=device)
    return Distances(
        frechet=frechet_distance(embeddings, real),
        kid=kernel.mean,
        kid_std=kernel.std,
        precision=overlap.precision,
        recall=overlap.recall,
        density=overlap.density,
        coverage=overlap.coverage,
        d_intra=d_intra,
    )


def _ratio(ours: float, theirs: float) -> float | None:
    return ours / theirs if theirs > 0 else None
