"""Synthetic images, members and controls, embedded by one or two judges -> the privacy section of the audit's card.

Judges are recognition networks. Which images are near to each other depends on the judge's training data, so two judges
with different training data are more reliable than one.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.files import write_array
from bench.runs.card_parts.privacy import (
    HashFigures,
    HubFigures,
    JudgeSection,
    Matches,
    MembershipFigures,
    NearPair,
    PrivacySection,
)
from bench.vectors.nearest import identity_centers, nearest_centers
from evaluate.audit.embeddings import Embedded, read_faces
from evaluate.audit.privacy.hashes import hash_signs, nearest_bits
from evaluate.audit.privacy.membership import match_counts, measure_membership, person_scores
from evaluate.audit.privacy.picture import draw_pairs
from evaluate.audit.privacy.searches import find_hubs, set_threshold
from evaluate.layouts.images import LazyImages

MAX_BITS = 10
"""Differing bits of two hashes up to which they count as alike."""
NUM_SHOWN, MAX_HASHED = 20, 2000


@dataclass(frozen=True)
class Judged:
    """All three sets, embedded by one network."""

    network: str
    sha256: str
    synthetic: Embedded
    members: Embedded
    controls: Embedded


@dataclass(frozen=True)
class _Verdict:
    """What one judge sees, and what the report needs besides."""

    section: JudgeSection
    is_above: NDArray[np.bool_]
    """Whether each synthetic image is above the threshold."""
    cosines: NDArray[np.float32]
    """Cosine of each synthetic image to the nearest image of a member."""
    nearest: NDArray[np.int64]
    """Row of that image."""


def privacy_report(
    judged: Sequence[Judged], directory: Path, *, show_members: bool = False, device: str = "cpu", seed: int = 0
) -> PrivacySection:
    """Measure, and write kept.npy and nearest_pairs.png.

    kept.npy holds the positions of the synthetic images at or below the threshold of every judge, counted in the whole
    file of the dataset even if only a part of it was audited. ``mask:`` of a files generator reads it.

    Args:
        judged: The sets, by one judge or two; the same images in all.
        directory: Folder of the two files.
        show_members: Whether to draw images of members.
        device: Torch device of the products.
        seed: Seed of the choice of images, and of the bootstrap.

    Raises:
        InputError: If there are too few members or controls, or both judges are one file.
    """
    if len({judge.sha256 for judge in judged}) < len(judged):
        raise InputError(f"{judged[1].network} is the same file as {judged[0].network}; give a second network")
    verdicts = [_judge(sets, device, seed) for sets in judged]
    first = judged[0]
    is_kept = ~np.any([verdict.is_above for verdict in verdicts], axis=0)
    positions, in_file = first.synthetic.positions[is_kept], first.synthetic.source.positions_in_file
    write_array(directory / "kept.npy", positions if in_file is None else in_file[positions])
    order = np.argsort(-verdicts[0].cosines, kind="stable")[:NUM_SHOWN]
    _draw(directory / "nearest_pairs.png", first, verdicts[0], order, show_members)
    hashes, control_hashes = _hash_figures(first, device)
    matched, _ = match_counts(first.members.identity_ids, first.controls.identity_ids, seed=seed)
    return PrivacySection(
        members=first.members.source.name,
        controls=first.controls.source.name,
        num_images=len(first.synthetic.embeddings),
        num_identities=len(first.synthetic.identity_names),
        num_members=len(first.members.identity_names),
        num_member_images=len(first.members.embeddings),
        num_controls=len(first.controls.identity_names),
        num_control_images=len(first.controls.embeddings),
        num_members_compared=int(matched.labels.max()) + 1,
        judges=[verdict.section for verdict in verdicts],
        max_bits=MAX_BITS,
        hashes=hashes,
        control_hashes=control_hashes,
        nearest=[_near_pair(first, verdicts[0], int(row)) for row in order],
        num_kept=int(is_kept.sum()),
    )


def _judge(sets: Judged, device: str, seed: int) -> _Verdict:
    synthetic, members, controls = sets.synthetic, sets.members, sets.controls
    centers = identity_centers(members.embeddings, members.identity_ids)
    threshold = set_threshold(members.embeddings, members.identity_ids, centers, device=device)
    to_people, person = nearest_centers(synthetic.embeddings, centers, device=device)
    control_to_people, control_person = nearest_centers(controls.embeddings, centers, device=device)
    cosines, nearest = nearest_centers(synthetic.embeddings, members.embeddings, device=device)
    control_cosines, _ = nearest_centers(controls.embeddings, members.embeddings, device=device)
    is_above = to_people > threshold.cosine
    section = JudgeSection(
        network=sets.network,
        sha256=sets.sha256,
        membership=_membership(sets, device, seed),
        threshold=threshold.cosine,
        search_rate=threshold.search_rate,
        num_searches=threshold.num_searches,
        pair_rate=threshold.pair_rate,
        num_pairs=threshold.num_pairs,
        expected_search_rate=threshold.expected_search_rate,
        num_images_above=int(is_above.sum()),
        num_identities_above=len(np.unique(synthetic.identity_ids[is_above])),
        num_control_images_above=int((control_to_people > threshold.cosine).sum()),
        matches=_matches(cosines),
        control_matches=_matches(control_cosines),
        hubs=[
            HubFigures(
                member=members.identity_names[hub.person],
                num_nearest=hub.num_nearest,
                share_of_controls=hub.share_of_controls,
            )
            for hub in find_hubs(to_people, person, control_person)
        ],
    )
    return _Verdict(section, is_above, cosines, nearest)


def _membership(sets: Judged, device: str, seed: int) -> dict[str, MembershipFigures]:
    people = match_counts(sets.members.identity_ids, sets.controls.identity_ids, seed=seed)
    members, controls = (
        person_scores(embedded.embeddings, chosen, sets.synthetic.embeddings, device=device)
        for embedded, chosen in zip((sets.members, sets.controls), people, strict=True)
    )
    return {
        kind: MembershipFigures(**asdict(measure_membership(members[kind], controls[kind], seed=seed)))
        for kind in members
    }


def _matches(cosines: NDArray[np.float32]) -> Matches:
    median, p99 = np.quantile(cosines.astype(np.float64), [0.5, 0.99])
    return Matches(
        num=len(cosines),
        median=float(median),
        p99=float(p99),
        max=float(cosines.max()),
        share_above_half=float((cosines > 0.5).mean()),
    )


def _near_pair(sets: Judged, verdict: _Verdict, row: int) -> NearPair:
    synthetic, members = sets.synthetic, sets.members
    member = members.identity_ids[verdict.nearest[row]]
    return NearPair(
        image=synthetic.source.label(int(synthetic.positions[row])).replace(f"{synthetic.source.path}/", ""),
        identity=synthetic.identity_names[synthetic.identity_ids[row]],
        member=members.identity_names[member],
        cosine=float(verdict.cosines[row]),
    )


def _draw(path: Path, sets: Judged, verdict: _Verdict, rows: NDArray[np.int64], show_members: bool) -> None:
    faces = read_faces(sets.synthetic.source, sets.synthetic.positions[rows])
    real = read_faces(sets.members.source, sets.members.positions[verdict.nearest[rows]]) if show_members else None
    draw_pairs(
        path,
        [
            (faces[number], real[number] if real else None, f"cosine {verdict.cosines[row]:.3f}")
            for number, row in enumerate(rows)
        ],
    )


def _hash_figures(sets: Judged, device: str) -> tuple[HashFigures, HashFigures]:
    """Bits of some synthetic images, and of some images of controls, to the nearest image of a member."""
    real = hash_signs(_faces(sets.members, len(sets.members.positions)))
    figures = []
    for embedded in (sets.synthetic, sets.controls):
        bits, _ = nearest_bits(_faces(embedded, MAX_HASHED), real, device=device)
        figures.append(
            HashFigures(
                num=len(bits),
                min=int(bits.min()),
                p1=float(np.quantile(bits, 0.01)),
                median=float(np.median(bits)),
                share_within=float((bits <= MAX_BITS).mean()),
            )
        )
    return figures[0], figures[1]


def _faces(embedded: Embedded, max_images: int) -> LazyImages:
    """Evenly spread images of a set."""
    picked = np.linspace(0, len(embedded.positions) - 1, min(max_images, len(embedded.positions))).astype(int)
    return read_faces(embedded.source, embedded.positions[picked])
