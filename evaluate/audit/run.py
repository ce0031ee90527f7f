"""A face dataset -> what it is like: card, page and tables. ``python -m evaluate audit PATH --network FILE``.

Without a network only the images are looked at; with one also separation, consistency, diversity, Fisher ratio, colour
order and leakage against references. Embeddings are kept on disk and computed once; memory does not grow with them.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.files import atomic_path, write_text
from bench.machine.device import Stopwatch
from bench.runs.cards import AuditCard, write_card
from bench.runs.stage import Stage, stage_lock
from evaluate.audit.colour import check_colour_order
from evaluate.audit.duplicates import NearPairs, near_pairs
from evaluate.audit.embeddings import Embedded, Embedder, cached_embeddings, cached_scan
from evaluate.audit.identities import impostor_histogram, measure_identities
from evaluate.audit.images import NEAR_BITS, Scan
from evaluate.audit.leakage import Leakage, measure_leakage
from evaluate.audit.page import render_audit
from evaluate.audit.sections import (
    Section,
    consistency_section,
    diversity_section,
    duplicates_section,
    images_section,
    leakage_section,
    leaked_identities,
    pairs_section,
    separation_section,
)
from evaluate.audit.separation import measure_separation
from evaluate.audit.source import Source

_MAX_LINES = 100_000


def audit(
    stage: Stage, source: Source, references: Sequence[Source], embedder: Embedder | None, *, cache: Path, seed: int = 0
) -> AuditCard:
    """Measure a dataset; tables and page are written first, the card last.

    Args:
        stage: Where the audit goes.
        source: What is audited.
        references: What it is compared with: training sets of its generator, test sets. Needs a network.
        embedder: The recognition network; None looks at the images only.
        cache: Folder of embeddings.
        seed: Of the samples behind the colour check and the histogram of impostor pairs.
    """
    stopwatch = Stopwatch()
    with stage_lock(stage.directory):
        with stopwatch.phase("images"):
            scan = cached_scan(source, cache)
            near = near_pairs(scan.table["hash"][scan.good], NEAR_BITS)
        sections: dict[str, Any] = {
            "images": images_section(source, scan),
            "duplicates": duplicates_section(source, scan, near),
        }
        _write_table(stage.directory / "duplicates.tsv", _duplicates(source, scan, near))
        if embedder is not None:
            with stopwatch.phase("embed"):
                embedded = cached_embeddings(source, scan, embedder, cache)
            with stopwatch.phase("identities"):
                sections |= describe_embeddings(embedded, device=embedder.device, seed=seed)
                sections["colour_order"] = check_colour_order(embedded, embedder, seed=seed)
            leakage = []
            for reference in references:
                with stopwatch.phase("references"):
                    other_scan = cached_scan(reference, cache)
                    other = cached_embeddings(reference, other_scan, embedder, cache)
                with stopwatch.phase("leakage"):
                    found = compare(embedded, other, device=embedder.device)
                    num_same = _num_same_pixels(scan, other_scan)
                    leakage.append(leakage_section(found, embedded, other, num_same))
                table = stage.directory / f"leakage_{reference.name}.tsv"
                _write_table(table, leaked_identities(found, embedded, other))
            sections["leakage"] = leakage
        header = stage.card_header(scale=stage.directory.parent.parent.name, seed=seed)
        counts = {"num_images": len(source), "num_identities": len(source.identity_names)}
        cost = stopwatch.cost(images=len(source), device=embedder.device if embedder else "cpu")
        card = AuditCard(**header, name=source.name, **counts, cost=cost, **sections)
        write_text(stage.directory / "audit.html", render_audit(card))
        write_card(stage.directory, card)
    return card


def describe_embeddings(embedded: Embedded, *, device: str = "cpu", seed: int = 0) -> dict[str, Section]:
    """Consistency, diversity, pairs and separation of a dataset's embeddings."""
    figures = measure_identities(embedded.embeddings, embedded.identity_ids, device=device)
    impostors = impostor_histogram(embedded.embeddings, embedded.identity_ids, seed=seed)
    return {
        "separation": separation_section(measure_separation(figures.centers, device=device), embedded.identity_names),
        "consistency": consistency_section(figures, embedded),
        "diversity": diversity_section(figures, embedded),
        "pairs": pairs_section(figures, *impostors),
    }


def compare(embedded: Embedded, reference: Embedded, *, device: str = "cpu") -> Leakage:
    """Every image and every identity of a set against every identity of a reference."""
    return measure_leakage(
        embedded.embeddings, embedded.identity_ids, reference.embeddings, reference.identity_ids, device=device
    )


def _num_same_pixels(scan: Scan, other: Scan) -> int:
    """Images whose pixels are also those of an image of the other set."""
    return int(np.isin(scan.table["digest"][scan.good], other.table["digest"][other.good]).sum())


def _duplicates(source: Source, scan: Scan, near: NearPairs) -> list[Section]:
    names = source.identity_names
    rows = []
    for pair, bits in zip(scan.good[near.pairs[:_MAX_LINES]], near.bits, strict=False):
        first, second = (int(place) for place in pair)
        identities = [names[source.identity_ids[place]] for place in (first, second)]
        is_across = identities[0] != identities[1]
        rows.append(
            {
                "first": source.label(first),
                "second": source.label(second),
                "first_identity": identities[0],
                "second_identity": identities[1],
                "across_identities": int(is_across),
                "bits": int(bits),
            }
        )
    return rows


def _write_table(path: Path, rows: Sequence[Section]) -> None:
    """Tab-separated rows with a header; nothing where there are none."""
    if not rows:
        path.unlink(missing_ok=True)
        return
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
