"""Exactly N images of each identity: the first or the best of those that pass, from up to ``max_drawn`` that are drawn.

The images without a pose, those with a landmark picture and those with a target yaw each have a quota of their own, so
that the shares of poses stay. Legend: R rows, the images of one shard in the order of their numbers.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench.config.generator import Quota, Vec2FaceGenerator
from bench.errors import InputError
from generate.draw.qualify.filters import KEPT

JUDGE, SURPLUS, SHORT, SPARE = "judge", "surplus", "identity short", "identity spare"
QUOTA_REASONS = (JUDGE, SURPLUS, SHORT, SPARE)
"""Why a quota refuses an image: the second network finds another person; enough others passed; its identity has too few
that pass; its identity is not needed."""

_RESERVE_SHARE = 0.25
"""Reserves, as a share of the identities, where the settings do not say."""


def next_rows(
    groups: NDArray[np.int64], wanted: NDArray[np.int64], is_drawn: NDArray[np.bool_], passes: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """The rows to draw next: of every group that lacks images, as many as it lacks, in their order.

    Args:
        groups: Group of each row, an identity and how its pose is made, shape (R,).
        wanted: Images that the group of each row must have, shape (R,).
        is_drawn: Whether each row was drawn, shape (R,).
        passes: Whether each row was drawn and passes, shape (R,).
    """
    chosen: list[int] = []
    for group in np.unique(groups):
        own = np.flatnonzero(groups == group)
        lacking = int(wanted[own[0]] - passes[own].sum())
        if lacking > 0:
            chosen += own[~is_drawn[own]][:lacking].tolist()
    return np.sort(np.asarray(chosen, np.int64))


def apply_quota(
    identities: NDArray[np.int64],
    groups: NDArray[np.int64],
    wanted: NDArray[np.int64],
    reasons: Sequence[str],
    scores: NDArray[np.float32] | None = None,
) -> list[str]:
    """Reasons of the rows once every identity has its quota or is refused.

    Args:
        identities: Identity of each row, shape (R,).
        groups: Group of each row, see ``next_rows``.
        wanted: Images that the group of each row must have, shape (R,).
        reasons: Why each row is refused so far, or ``KEPT``.
        scores: The rows of highest score are kept, shape (R,); None keeps the first.
    """
    decided = np.asarray(reasons, dtype=object)
    is_short = set[int]()
    for group in np.unique(groups):
        own = np.flatnonzero(groups == group)
        passing = own[decided[own] == KEPT]
        if scores is not None:
            passing = passing[np.argsort(-scores[passing], kind="stable")]
        num_wanted = int(wanted[own[0]])
        if len(passing) < num_wanted:
            is_short.add(int(identities[own[0]]))
        decided[passing[num_wanted:]] = SURPLUS
    refused = np.isin(identities, list(is_short)) & (decided == KEPT)
    decided[refused] = SHORT
    return decided.tolist()


def judge_reasons(
    reasons: Sequence[str],
    identities: NDArray[np.int64],
    features: NDArray[np.float32],
    min_cosine: float,
) -> list[str]:
    """The reasons, with ``JUDGE`` for images whose features are far from the mean of their identity's passing images.

    Args:
        reasons: Why each row is refused so far, or ``KEPT``.
        identities: Identity of each row, shape (R,).
        features: Features of each row by the second network, shape (R, D).
        min_cosine: Lowest cosine to the mean, which is taken over unit vectors.
    """
    decided = list(reasons)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    unit = features / np.maximum(lengths, np.finfo(np.float32).tiny)
    for identity in np.unique(identities):
        rows = [int(row) for row in np.flatnonzero(identities == identity) if decided[row] == KEPT]
        if not rows:
            continue
        center = unit[rows].mean(axis=0, dtype=np.float64)
        cosines = unit[rows] @ center / max(np.linalg.norm(center), np.finfo(np.float64).tiny)
        for row, cosine in zip(rows, cosines, strict=True):
            if cosine < min_cosine:
                decided[row] = JUDGE
    return decided


def next_tries(settings: Vec2FaceGenerator, quota: Quota, *, num_tried: int, num_filled: int) -> int:
    """Number of identities to try in all, after ``num_filled`` of ``num_tried`` filled their quota.

    Raises:
        InputError: If no identity filled its quota, or ``max_tried`` identities were tried (says how many filled it).
    """
    most = most_tried(settings, quota)
    shortfall = (
        f"quota: {num_filled} of {num_tried} identities have images_per_identity={settings.images_per_identity} images "
        f"that pass, of max_drawn={quota.max_drawn}, but num_identities={settings.num_identities}"
    )
    if not num_filled:
        raise InputError(f"{shortfall}; relax generator.filters or the quota's judge, or raise max_drawn")
    if num_tried >= most:
        raise InputError(
            f"{shortfall}; set num_identities={num_filled} with max_tried={num_tried}, or raise max_tried (either uses "
            "finished shards again), or relax generator.filters, or raise max_drawn"
        )
    lacking = settings.num_identities - num_filled
    return min(most, num_tried + math.ceil(1.1 * lacking * num_tried / num_filled))


def most_tried(settings: Vec2FaceGenerator, quota: Quota) -> int:
    """Most identities whose images are drawn: ``max_tried``, by default a quarter more than ``num_identities``."""
    return quota.max_tried or math.ceil(settings.num_identities * (1 + _RESERVE_SHARE))
