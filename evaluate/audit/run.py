"""A face dataset -> its audit: a card, an HTML page and tables. ``python -m evaluate audit PATH --network FILE``.

Without a network, only the images are measured. With one, separation, consistency, diversity, Fisher ratio, colour
order, leakage and the distance to real faces are measured as well. Embeddings are computed once and memory-mapped, so
that memory does not grow with their number. Under torchrun the processes share the reading and embedding of all images;
process 0 measures the rest alone.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np

from bench.files import atomic_path, write_text
from bench.machine.device import process_rank
from bench.machine.processes import process_group
from bench.machine.stopwatch import Stopwatch
from bench.runs.card_parts.audit import (
    ColourOrder,
    ConsistencySection,
    Distribution,
    LeakageSection,
    PairsSection,
    SeparationSection,
)
from bench.runs.card_parts.privacy import PrivacySection
from bench.runs.card_parts.quality import DetailFigures, DiversityFigures, QualitySection
from bench.runs.cards import AuditCard, read_card, write_card
from bench.runs.stage import Stage, claim
from evaluate.audit.colour import check_colour_order
from evaluate.audit.embeddings import Embedded, Embedder, cached_embeddings, cached_scan
from evaluate.audit.identities.cosines import impostor_histogram, measure_identities
from evaluate.audit.identities.leakage import Leakage, measure_leakage
from evaluate.audit.identities.separation import measure_separation
from evaluate.audit.images.duplicates import NearPairs, near_pairs
from evaluate.audit.images.scan import NEAR_BITS, Scan, usable_images
from evaluate.audit.makeup import measure_makeup
from evaluate.audit.page import render_audit
from evaluate.audit.privacy.people import TrainingPeople, refuse_shared_images
from evaluate.audit.privacy.report import Judged, privacy_report
from evaluate.audit.quality.perceptual import perceptual_figures
from evaluate.audit.quality.section import detail_figures, diversity_figures, quality_section
from evaluate.audit.sections import (
    consistency_section,
    diversity_section,
    duplicates_section,
    images_section,
    leakage_section,
    leaked_identities,
    pairs_section,
    separation_section,
)
from evaluate.audit.source import Source

_MAX_LINES = 100_000
"""Largest number of rows of duplicates.tsv."""


@dataclass(frozen=True)
class Comparisons:
    """What a dataset is compared with; each needs a recognition network."""

    references: Sequence[Source] = ()
    """Sets whose identities the dataset may share: training sets of the generator, test sets."""
    real: Source | None = None
    """Real faces to measure quality against."""
    people: TrainingPeople | None = None
    """People that the generator was trained on, and held-out people."""
    second_judge: Embedder | None = None
    """A second network that judges privacy."""
    show_members: bool = False
    """Whether to draw images of training people beside the synthetic ones nearest to them."""


class NetworkSections(TypedDict, total=False):
    """Sections of the card that need a network."""

    separation: SeparationSection
    consistency: ConsistencySection
    diversity: dict[str, Distribution]
    diversity_scores: DiversityFigures
    pairs: PairsSection
    colour_order: ColourOrder | None
    leakage: list[LeakageSection]
    quality: QualitySection
    privacy: PrivacySection


@dataclass(frozen=True)
class _Tools:
    """What every comparison of an audit needs."""

    embedder: Embedder
    cache: Path
    stopwatch: Stopwatch
    seed: int

    def embed(self, source: Source) -> tuple[Scan, Embedded]:
        """Scan and embeddings of a set that the dataset is compared with."""
        with self.stopwatch.phase("references"):
            scan = cached_scan(source, self.cache)
            return scan, cached_embeddings(source, scan, self.embedder, self.cache)


def audit(
    stage: Stage, source: Source, others: Comparisons, embedder: Embedder | None, *, cache: Path, seed: int = 0
) -> AuditCard | None:
    """Measure a dataset and write tables and page, then the card. All processes of torchrun must call this.

    Args:
        stage: Folder and inputs of the audit.
        source: The dataset.
        others: What it is compared with.
        embedder: The recognition network; None measures the images only.
        cache: Folder of scans and embeddings.
        seed: Seed of the samples behind the colour check, the histogram of impostor pairs and the quality measures.

    Returns:
        The card; None in all processes but the first.

    Raises:
        InputError: If an embedding is not finite, a set is too small to compare with, or an attribute network does not
            have one output per group.
    """
    stopwatch = Stopwatch()
    with claim(stage) as is_needed:
        if not is_needed:  # another run held the folder and has finished the same audit
            return read_card(stage.directory, AuditCard)
        rank, world_size, _ = process_rank()
        if embedder is not None and world_size > 1:
            with stopwatch.phase("embed"), process_group(embedder.device):
                _embed_all(source, others, embedder, cache)
        if rank != 0:
            return None
        with stopwatch.phase("images"):
            scan = cached_scan(source, cache)
            near = near_pairs(scan.table["hash"][scan.decoded], NEAR_BITS)
            usable = usable_images(scan)
            detail = detail_figures(source, usable) if len(usable) else None
            makeup = measure_makeup(source, usable)
        images, duplicates = images_section(source, scan), duplicates_section(source, scan, near)
        _write_table(stage.directory / "duplicates.tsv", _duplicate_rows(source, scan, near))
        sections: NetworkSections = {}
        if embedder is not None:
            tools = _Tools(embedder, cache, stopwatch, seed)
            sections = _network_sections(stage.directory, (source, scan), detail, others, tools)
        header = stage.card_header(scale=stage.directory.parent.parent.name, seed=seed)
        counts = {"num_images": len(source), "num_identities": len(source.identity_names)}
        device, num_processes = (embedder.device, world_size) if embedder else ("cpu", 1)
        cost = stopwatch.cost(images=len(source), device=device, num_processes=num_processes)
        card = AuditCard(
            **header,
            name=source.name,
            **counts,
            cost=cost,
            images=images,
            duplicates=duplicates,
            detail=detail,
            makeup=makeup,
            **sections,
        )
        write_text(stage.directory / "audit.html", render_audit(card))
        write_card(stage.directory, card)
    return card


def _network_sections(
    directory: Path, scanned: tuple[Source, Scan], detail: DetailFigures | None, others: Comparisons, tools: _Tools
) -> NetworkSections:
    """The sections that need a network; tables of leakage and pictures of people go into the folder of the audit."""
    source, scan = scanned
    with tools.stopwatch.phase("embed"):
        embedded = cached_embeddings(source, scan, tools.embedder, tools.cache)
    with tools.stopwatch.phase("identities"):
        sections: NetworkSections = describe_embeddings(embedded, device=tools.embedder.device, seed=tools.seed)
        sections["diversity_scores"] = _with_lpips(sections["diversity_scores"], embedded, tools.embedder, tools.seed)
        sections["colour_order"] = check_colour_order(embedded, tools.embedder, seed=tools.seed)
    sections["leakage"] = [_leakage(directory, scan, embedded, reference, tools) for reference in others.references]
    if others.real is not None and detail is not None:
        sections["quality"] = _quality(embedded, detail, others.real, tools)
    if others.people is not None:
        sections["privacy"] = _privacy(directory, scanned, others.people, others, tools)
    return sections


def _embed_all(source: Source, others: Comparisons, embedder: Embedder, cache: Path) -> None:
    """Fill the cache with scans and embeddings of all sets, so that no process waits while another one measures."""
    people = [others.people.members, others.people.controls] if others.people else []
    real = [others.real] if others.real else []
    judged = [(embedder, each) for each in (source, *others.references, *real, *people)]
    if others.second_judge is not None:
        judged += [(others.second_judge, each) for each in (source, *people)]
    for judge, each in judged:
        cached_embeddings(each, cached_scan(each, cache), judge, cache)


def describe_embeddings(embedded: Embedded, *, device: str = "cpu", seed: int = 0) -> NetworkSections:
    """The sections of the card that follow from the embeddings: separation, consistency, diversity and pairs."""
    figures = measure_identities(embedded.embeddings, embedded.identity_ids, device=device)
    impostors = impostor_histogram(embedded.embeddings, embedded.identity_ids, seed=seed)
    return {
        "separation": separation_section(measure_separation(figures.centers, device=device), embedded.identity_names),
        "consistency": consistency_section(figures, embedded),
        "diversity": diversity_section(figures, embedded),
        "diversity_scores": diversity_figures(embedded, figures, impostors[0], device=device),
        "pairs": pairs_section(figures, *impostors),
    }


def compare(embedded: Embedded, reference: Embedded, *, device: str = "cpu") -> Leakage:
    """Compare every image and every identity of a dataset with every identity of a reference."""
    return measure_leakage(
        embedded.embeddings, embedded.identity_ids, reference.embeddings, reference.identity_ids, device=device
    )


def _leakage(directory: Path, scan: Scan, embedded: Embedded, reference: Source, tools: _Tools) -> LeakageSection:
    """Compare a dataset with one reference, and write the table of the people in both."""
    reference_scan, embedded_reference = tools.embed(reference)
    with tools.stopwatch.phase("leakage"):
        leakage = compare(embedded, embedded_reference, device=tools.embedder.device)
        num_same = int(np.isin(_digests(scan), _digests(reference_scan)).sum())
        section = leakage_section(leakage, embedded, embedded_reference, num_same)
    leaked = leaked_identities(leakage, embedded, embedded_reference)
    _write_table(directory / f"leakage_{reference.name}.tsv", [identity.model_dump() for identity in leaked])
    return section


def _with_lpips(figures: DiversityFigures, embedded: Embedded, embedder: Embedder, seed: int) -> DiversityFigures:
    """The diversity of a set with its perceptual distances, where a network for these was given."""
    if embedder.perceptual is None:
        return figures
    lpips = perceptual_figures(embedded, embedder.perceptual, device=embedder.device, seed=seed)
    return figures.model_copy(update={"lpips": lpips})


def _quality(embedded: Embedded, detail: DetailFigures, real: Source, tools: _Tools) -> QualitySection:
    """Compare the distribution of a dataset with that of real faces."""
    _, embedded_real = tools.embed(real)
    device = tools.embedder.device
    with tools.stopwatch.phase("quality"):
        figures = measure_identities(embedded_real.embeddings, embedded_real.identity_ids, device=device)
        counts, _ = impostor_histogram(embedded_real.embeddings, embedded_real.identity_ids, seed=tools.seed)
        diversity = diversity_figures(embedded_real, figures, counts, device=device)
        diversity = _with_lpips(diversity, embedded_real, tools.embedder, tools.seed)
        real_detail = detail_figures(real, embedded_real.positions)
        return quality_section(
            embedded, embedded_real, detail, (real_detail, diversity), device=device, seed=tools.seed
        )


def _privacy(
    directory: Path, synthetic: tuple[Source, Scan], people: TrainingPeople, others: Comparisons, tools: _Tools
) -> PrivacySection:
    """Compare a synthetic dataset with the people that its generator was trained on."""
    with tools.stopwatch.phase("references"):
        members, controls = (cached_scan(source, tools.cache) for source in (people.members, people.controls))
        refuse_shared_images(people, members, controls)
        sets = (synthetic, (people.members, members), (people.controls, controls))
        judged = []
        for judge in filter(None, (tools.embedder, others.second_judge)):
            embedded = [cached_embeddings(source, scan, judge, tools.cache) for source, scan in sets]
            judged.append(Judged(judge.name, judge.sha256, *embedded))
    with tools.stopwatch.phase("privacy"):
        return privacy_report(
            judged, directory, show_members=others.show_members, device=tools.embedder.device, seed=tools.seed
        )


def _digests(scan: Scan) -> np.ndarray:
    """Digest of the pixels of each image that decodes."""
    return scan.table["digest"][scan.decoded]


def _duplicate_rows(source: Source, scan: Scan, near: NearPairs) -> list[dict[str, str | int]]:
    """One row per pair of near duplicates, at most ``_MAX_LINES``."""
    rows: list[dict[str, str | int]] = []
    for pair, bits in zip(scan.decoded[near.pairs[:_MAX_LINES]], near.bits, strict=False):
        first, second = (int(position) for position in pair)
        first_identity, second_identity = (source.identity_names[source.identity_ids[i]] for i in (first, second))
        rows.append(
            {
                "first": source.label(first),
                "second": source.label(second),
                "first_identity": first_identity,
                "second_identity": second_identity,
                "across_identities": int(first_identity != second_identity),
                "bits": int(bits),
            }
        )
    return rows


def _write_table(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write tab-separated rows with a header; without rows, remove the file."""
    if not rows:
        path.unlink(missing_ok=True)
        return
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
