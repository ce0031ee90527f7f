"""Candidates for identities: separated vectors, in rounds that grow until enough identities are kept.

The first round has ``spare_share`` more vectors than identities are needed. Each further round begins with the
candidates of the round before, so that their shards stay valid. The share of candidates kept so far decides how many
are added.
"""

import math

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from generate.draw.plan import Plan
from generate.identities import read_vectors, sample_identities, separated

_MARGIN = 1.1
"""Factor on the number of candidates that would be needed at the share kept so far."""
_CANDIDATES_PER_IDENTITY = 4
"""Most candidates, as a multiple of the identities, where the settings do not say."""


def first_candidates(plan: Plan, feature_dim: int, num_needed: int, device: str) -> NDArray[np.float32]:
    """The separated vectors among the first of the plan; more vectors are drawn if too few are separated.

    Args:
        plan: The plan.
        feature_dim: Width of the vectors.
        num_needed: Identities that are needed.
        device: Where cosines are computed.

    Raises:
        InputError: If too few are separated among all that may be drawn, or given vectors are invalid.
    """
    first_num = math.ceil(num_needed * (1 + plan.settings.spare_share))
    num = max(num_needed, min(first_num, most_candidates(plan, feature_dim)))
    vectors = _separated(plan, num, feature_dim, device)
    return vectors if len(vectors) >= num_needed else _draw(plan, num_needed, num_needed, feature_dim, device)


def more_candidates(
    plan: Plan, feature_dim: int, before: NDArray[np.float32], *, num_kept: int, num_needed: int, device: str
) -> NDArray[np.float32]:
    """The candidates of the next round: those of the round before, and further ones.

    Args:
        plan: The plan.
        feature_dim: Width of the vectors.
        before: Candidates of the round before.
        num_kept: Identities that were kept of them.
        num_needed: Identities that are needed.
        device: Where cosines are computed.

    Raises:
        InputError: If no further candidate may be drawn (says how many identities were kept).
    """
    lacking = num_needed - num_kept
    growth = lacking * len(before) / max(num_kept, 1)
    num = len(before) + math.ceil(_MARGIN * max(growth, 1))
    vectors = _draw(plan, num, 0, feature_dim, device)
    if len(vectors) <= len(before):
        raise InputError(_too_few(plan, num_kept, len(before), num_needed, "features of the images"))
    return np.concatenate([before, vectors[len(before) :]])


def most_candidates(plan: Plan, feature_dim: int) -> int:
    """Most vectors that are drawn: ``max_candidates``, or as many as a file holds."""
    settings = plan.settings
    of_first_round = math.ceil(settings.num_identities * (1 + settings.spare_share))
    most = max(settings.max_candidates or _CANDIDATES_PER_IDENTITY * settings.num_identities, of_first_round)
    kind, centers = plan.vector_source
    if kind == "file" and centers:
        most = min(most, len(read_vectors(centers, feature_dim)) - plan.first_candidate)
    return most


def _draw(plan: Plan, num: int, num_needed: int, feature_dim: int, device: str) -> NDArray[np.float32]:
    """The first ``num`` separated vectors, or as many as there are among all that may be drawn."""
    most, num_drawn = most_candidates(plan, feature_dim), num
    while True:
        num_drawn = min(num_drawn, most)
        vectors = _separated(plan, num_drawn, feature_dim, device)
        if len(vectors) >= num:
            return vectors[:num]
        if num_drawn >= most:
            break
        num_drawn *= 2
    if len(vectors) < num_needed:
        raise InputError(_too_few(plan, len(vectors), most, num_needed, "identity vectors"))
    return vectors


def _separated(plan: Plan, num: int, feature_dim: int, device: str) -> NDArray[np.float32]:
    """The vectors among the plan's first ``num`` that are separated from all earlier ones."""
    first = plan.first_candidate
    kind, centers = plan.vector_source
    vectors = sample_identities(first + num, plan.seed, kind=kind, centers=centers, feature_dim=feature_dim)[first:]
    return vectors[separated(vectors, plan.settings.max_cosine, device=device)]


def _too_few(plan: Plan, num_kept: int, num_candidates: int, num_needed: int, what: str) -> str:
    settings = plan.settings
    is_quota = num_needed != settings.num_identities
    needed = f"the quota needs {num_needed}" if is_quota else f"num_identities={num_needed}"
    lower = f"num_identities={num_kept} with max_candidates={num_candidates}" if num_kept else "another max_cosine"
    return (
        f"max_cosine={settings.max_cosine:g} on {what}: {num_kept} of {num_candidates} candidates are separated, but "
        f"{needed}; set {lower}, or raise max_candidates (either uses finished shards again), or raise max_cosine"
    )
