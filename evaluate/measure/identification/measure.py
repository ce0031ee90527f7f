"""Results of searches -> identification rates by ISO/IEC 19795-1, and the section of a result card.

FPIR is counted per search: a non-mated search errs if any candidate reaches the threshold, so that it grows with the
gallery. Scripts that take the threshold from all impostor *pairs* print another number under the name FAR. The
threshold is the loosest whose FPIR does not exceed the wanted one. Legend: K rows of embeddings, D dimensions.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bench.runs.card_parts.identification import GallerySearch, IdentificationResult
from evaluate import metrics
from evaluate.layouts.searches import Searches
from evaluate.measure.identification.search import NO_SCORE, SearchScores, search

RANKS = (1, 5, 10, 20)
FPIRS = ("1e-2", "1e-1")
"""False positive identification rates of result cards, as the cards write them."""
MAX_RANK = 50
"""Length of the cumulative match characteristic."""
_CURVE_POINTS = 24


def identify(
    embeddings: NDArray[np.floating], searches: Searches, *, num_images: int, sha256: str
) -> IdentificationResult:
    """Search for all probes in every gallery.

    Args:
        embeddings: Unit embeddings of faces or templates, shape (K, D), that the rows of ``searches`` index.
        searches: Probes and galleries.
        num_images: Number of face images behind the embeddings.
        sha256: SHA-256 of the set, for the card.

    Raises:
        InputError: If an embedding is not finite.
    """
    probes = searches.probes
    scores = {
        name: search(embeddings[probes.rows], probes.identity_ids, embeddings[gallery.rows], gallery.identity_ids)
        for name, gallery in searches.galleries.items()
    }
    galleries = {name: describe_search(each, len(searches.galleries[name].rows)) for name, each in scores.items()}
    return IdentificationResult(
        galleries=galleries,
        rank=_pooled_ranks(scores),
        tpir_at_fpir={fpir: _mean([each.tpir_at_fpir[fpir] for each in galleries.values()]) for fpir in FPIRS},
        num_images=num_images,
        sha256=sha256,
    )


def describe_search(scores: SearchScores, num_enrolled: int) -> GallerySearch:
    """Rates and curves of all probes against one gallery."""
    ranks = scores.rank[scores.is_mated]
    num_non_mated = int(np.count_nonzero(~scores.is_mated))
    curve = _curve(scores) if ranks.size and num_non_mated else {}
    cmc = [float(np.mean(ranks <= rank)) for rank in range(1, 1 + min(MAX_RANK, num_enrolled))] if ranks.size else []
    return GallerySearch(
        num_enrolled=num_enrolled,
        num_mated=int(ranks.size),
        num_non_mated=num_non_mated,
        rank={str(rank): float(np.mean(ranks <= rank)) for rank in RANKS} if ranks.size else {},
        tpir_at_fpir={fpir: tpir_at_fpir(scores, float(fpir)) for fpir in FPIRS},
        cmc=[round(share, 6) for share in cmc],
        curve=curve,
    )


def tpir_at_fpir(scores: SearchScores, fpir: float) -> float | None:
    """True positive identification rate: the mate is the first candidate, at or above the threshold that FPIR sets.

    None without a mated search, and where fewer than 1 / ``fpir`` non-mated searches cannot resolve ``fpir``.
    """
    values, is_mated = _search_outcomes(scores)
    if not is_mated.any() or np.count_nonzero(~is_mated) * fpir < 1 - 1e-9:
        return None
    return metrics.tar_at_far(values, is_mated, fpir)


def _search_outcomes(scores: SearchScores) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The score that decides each search, and whether it is mated.

    That is the mate's score where it ranks first (else one that no threshold accepts), and the highest of all in a
    non-mated search. TPIR at FPIR is then the true accept rate at a false accept rate of these scores.
    """
    mated = np.where(scores.rank == 1, scores.mate, NO_SCORE)
    return np.where(scores.is_mated, mated, scores.other), scores.is_mated


def _curve(scores: SearchScores) -> dict[str, list[float]]:
    """TPIR at FPIRs that are evenly spaced on a log axis, from the lowest that the searches resolve."""
    fars, tars, _ = metrics.roc(*_search_outcomes(scores))
    fpirs = np.geomspace(1 / np.count_nonzero(~scores.is_mated), 1, _CURVE_POINTS)
    tpirs = tars[np.searchsorted(fars, fpirs * (1 + 1e-9), side="right") - 1]
    tpirs = np.minimum(tpirs, np.mean(scores.rank[scores.is_mated] == 1))  # NO_SCORE is no candidate
    return {"fpir": [float(f"{value:.4g}") for value in fpirs], "tpir": [round(float(value), 6) for value in tpirs]}


def _pooled_ranks(scores: Mapping[str, SearchScores]) -> dict[str, float]:
    """Rank rates over the mated searches of all galleries, as a probe has its mate in one of them."""
    ranks = np.concatenate([each.rank[each.is_mated] for each in scores.values()])
    return {str(rank): float(np.mean(ranks <= rank)) for rank in RANKS}


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None
