"""Verification metrics on NumPy arrays: no model, no files.

In: unit embeddings in pair order (a0, b0, a1, b1, ...), or one score per pair. Out: rates, as fractions.
The 10-fold accuracy is insightface's ``calculate_accuracy`` protocol, the one that the field prints for LFW, CFP-FP,
AgeDB-30, CALFW and CPLFW. Legend: P pairs, D embedding dimension, T thresholds.
"""

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError

GRID = np.arange(0, 4, 0.01)
"""Published thresholds on the squared L2 distance of unit embeddings, shape (400,)."""

FARS = ("1e-1", "1e-2", "1e-3", "1e-4", "1e-5", "1e-6")
"""False accept rates that a result states, as it writes them; each where the impostor pairs can resolve it."""

_ROWS_PER_BLOCK = 256  # pairs whose embeddings and differences stay in the processor's cache


def fold_accuracies(embeddings: NDArray, is_genuine: NDArray, num_folds: int = 10) -> NDArray[np.float64]:
    """Accuracy of each fold by the published protocol.

    Folds are contiguous blocks in pair order, the first ones one pair larger where they do not divide (scikit-learn's
    ``KFold``). A pair is accepted as genuine when its squared L2 distance is strictly below the threshold; a fold's
    threshold is the first of ``GRID`` with the best accuracy on the other folds. The protocol's accuracy is the mean.

    Args:
        embeddings: Unit embeddings, shape (2P, D); rows 2i and 2i + 1 are pair i.
        is_genuine: True where both faces are one identity, shape (P,).
        num_folds: Number of folds, 2 to P.

    Returns:
        Accuracies, shape (num_folds,).

    Raises:
        InputError: If the numbers disagree, there are fewer pairs than folds, or an embedding is not finite.
    """
    correct = grid_decisions(pair_distances(embeddings), is_genuine, num_folds)
    return fold_means(correct, num_folds)


def grid_decisions(distances: NDArray, is_genuine: NDArray, num_folds: int = 10) -> NDArray[np.bool_]:
    """Whether each pair is decided rightly at its fold's threshold, by the published protocol, shape (P,).

    Args:
        distances: Squared L2 distance per pair, shape (P,).
        is_genuine: True where both faces are one identity, shape (P,).
        num_folds: Number of folds, 2 to P.
    """
    is_genuine = _checked_labels(distances, is_genuine)
    fold = fold_ids(distances.size, num_folds)
    # A pair is accepted by the thresholds above its distance: those from this position on.
    first_accepting = np.searchsorted(GRID, distances.astype(np.float64), side="right")
    right_per_threshold = np.empty((num_folds, GRID.size), dtype=np.int64)
    for k in range(num_folds):
        genuine, impostor = (first_accepting[(fold == k) & (is_genuine == same)] for same in (True, False))
        accepted_genuine, accepted_impostor = (
            np.cumsum(np.bincount(part, minlength=GRID.size + 1))[:-1] for part in (genuine, impostor)
        )
        right_per_threshold[k] = accepted_genuine + impostor.size - accepted_impostor
    best = np.argmax(right_per_threshold.sum(axis=0) - right_per_threshold, axis=1)  # on the other folds, first best
    return (first_accepting <= best[fold]) == is_genuine


def exact_decisions(scores: NDArray, is_genuine: NDArray, num_folds: int = 10) -> NDArray[np.bool_]:
    """As ``grid_decisions``, with thresholds halfway between neighbouring scores of the other folds, shape (P,).

    Not the published number: it shows what the grid costs where distances crowd into few of its steps. Of equally
    good thresholds the strictest is taken, as the grid does.

    Args:
        scores: Similarity per pair, shape (P,), higher is more alike.
        is_genuine: True where both faces are one identity, shape (P,).
        num_folds: Number of folds, 2 to P.
    """
    is_genuine = _checked_labels(scores, is_genuine)
    fold = fold_ids(scores.size, num_folds)
    order = np.argsort(-scores, kind="stable")
    correct = np.empty(scores.size, dtype=bool)
    for k in range(num_folds):
        others = order[fold[order] != k]
        descending = scores[others].astype(np.float64)
        # Accept none, or all down to the last of equal scores; a right acceptance counts +1, a wrong one -1.
        gain = np.concatenate([[0], np.cumsum(np.where(is_genuine[others], 1, -1))])
        is_cut = np.concatenate([[True], descending[1:] != descending[:-1], [True]])
        cut = np.flatnonzero(is_cut)[np.argmax(gain[is_cut])]
        edges = np.concatenate([[np.inf], descending, [-np.inf]])
        threshold = (edges[cut] + edges[cut + 1]) / 2
        correct[fold == k] = (scores[fold == k] >= threshold) == is_genuine[fold == k]
    return correct


def fold_ids(num_pairs: int, num_folds: int) -> NDArray[np.int64]:
    """Fold of each pair, shape (P,): contiguous, the first ``num_pairs % num_folds`` folds one pair larger.

    Raises:
        InputError: If there are fewer than two folds, or fewer pairs than folds.
    """
    if not 2 <= num_folds <= num_pairs:
        raise InputError(f"{num_pairs} pairs cannot make {num_folds} folds; needs at least 2 folds and a pair for each")
    sizes = np.full(num_folds, num_pairs // num_folds)
    sizes[: num_pairs % num_folds] += 1
    return np.repeat(np.arange(num_folds), sizes)


def fold_means(correct: NDArray, num_folds: int = 10) -> NDArray[np.float64]:
    """Mean of ``correct`` (P,) in each fold, shape (num_folds,)."""
    fold = fold_ids(correct.size, num_folds)
    return np.bincount(fold[correct.astype(bool)], minlength=num_folds) / np.bincount(fold)


def pair_distances(embeddings: NDArray) -> NDArray:
    """Squared L2 distance of each pair, shape (P,), in the embeddings' own precision.

    Args:
        embeddings: Unit embeddings, shape (2P, D); rows 2i and 2i + 1 are pair i.

    Raises:
        InputError: If the rows are not pairs, or an embedding is not finite; names the images.
    """
    if embeddings.ndim != 2 or len(embeddings) % 2:
        raise InputError(f"embeddings have shape {embeddings.shape}; needs (2 * num_pairs, embedding_dim)")
    distances = np.empty(len(embeddings) // 2, dtype=embeddings.dtype)
    for start in range(0, distances.size, _ROWS_PER_BLOCK):
        block = embeddings[2 * start : 2 * (start + _ROWS_PER_BLOCK)]
        # Exactly this expression: the golden accuracies turn on the last bit of a float32 sum.
        distances[start : start + _ROWS_PER_BLOCK] = np.sum(np.square(np.subtract(block[0::2], block[1::2])), axis=1)
    if not np.isfinite(distances).all():
        check_finite(embeddings)
        raise InputError("distances overflow although the embeddings are finite; needs unit embeddings")
    return distances


def cosines(distances: NDArray) -> NDArray[np.float64]:
    """Cosine of each pair of unit embeddings from its ``pair_distances``, shape (P,)."""
    return 1 - distances.astype(np.float64) / 2


def check_finite(embeddings: NDArray) -> None:
    """Refuse embeddings that are not finite.

    Raises:
        InputError: With the number of such images and the positions of the first ten.
    """
    bad = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
    if bad.size:
        shown = ", ".join(map(str, bad[:10])) + (", ..." if bad.size > 10 else "")
        raise InputError(
            f"embeddings of {bad.size} of {len(embeddings)} images are not finite: images {shown}; "
            "look at these images, or evaluate in float32"
        )


def tar_at_far(scores: NDArray[np.floating], is_genuine: NDArray[np.bool_], far: float) -> float:
    """True accept rate at the loosest threshold whose false accept rate is at most ``far``.

    A pair is accepted when its score is at or above the threshold. Thresholds are the observed scores, so the answer
    is exact: no grid, no interpolation.

    Args:
        scores: Similarity per pair, shape (P,), higher is more alike.
        is_genuine: True where both faces are one identity, shape (P,).
        far: Highest allowed false accept rate, a fraction in (0, 1).

    Returns:
        True accept rate, a fraction in [0, 1].

    Raises:
        InputError: If the shapes differ, a score is not finite, a class is empty, ``far`` is no fraction, or the
            impostor pairs are too few to resolve ``far``; says the smallest rate that they can.
    """
    genuine, impostor = _split(scores, is_genuine)
    if not 0 < far < 1:
        raise InputError(f"far={far:g} is not a fraction in (0, 1); 1e-3 means one false accept in a thousand")
    if impostor.size * far < 1 - 1e-9:
        raise InputError(
            f"far={far:g} needs at least {int(np.ceil(1 / far - 1e-9))} impostor pairs, got {impostor.size}; "
            f"they resolve {1 / impostor.size:.3g} and above"
        )
    num_accepted = min(int(np.floor(far * impostor.size + 1e-9)), impostor.size - 1)
    first_rejected = np.partition(impostor, impostor.size - num_accepted - 1)[impostor.size - num_accepted - 1]
    return float(np.mean(genuine > first_rejected))


def tar_at_fars(scores: NDArray, is_genuine: NDArray) -> dict[str, float | None]:
    """``tar_at_far`` at each of ``FARS``; None where the impostor pairs are too few to resolve it."""
    num_impostors = int(np.count_nonzero(~is_genuine.astype(bool)))
    return {
        far: tar_at_far(scores, is_genuine, float(far)) if num_impostors * float(far) >= 1 - 1e-9 else None
        for far in FARS
    }


def roc(scores: NDArray, is_genuine: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """False and true accept rate at every distinct threshold.

    Returns:
        ``far``, ``tar``, ``thresholds``, each of shape (T,), thresholds falling: element i holds the rates of pairs
        with a score at or above ``thresholds[i]``. ``thresholds[0]`` is infinite, where both rates are 0.
    """
    genuine, impostor = _split(scores, is_genuine)
    ascending = np.unique(scores)
    far, tar = (
        1 - np.searchsorted(np.sort(part), ascending[::-1], side="left") / part.size for part in (impostor, genuine)
    )
    return np.append(0.0, far), np.append(0.0, tar), np.append(np.inf, ascending[::-1])


def auc(scores: NDArray, is_genuine: NDArray) -> float:
    """Chance that a genuine pair scores above an impostor pair; a tie counts half. In [0, 1]."""
    genuine, impostor = _split(scores, is_genuine)
    impostor = np.sort(impostor)
    below, not_above = (np.searchsorted(impostor, genuine, side=side).sum() for side in ("left", "right"))
    return float((below + not_above) / 2 / (genuine.size * impostor.size))


def eer(scores: NDArray, is_genuine: NDArray) -> float:
    """Equal error rate: where the false accept rate equals 1 - true accept rate, on straight lines between points."""
    far, tar, _ = roc(scores, is_genuine)
    gap = far + tar - 1  # rises from -1 to 1
    above = int(np.argmax(gap >= 0))
    share = -gap[above - 1] / (gap[above] - gap[above - 1])
    return float(far[above - 1] + share * (far[above] - far[above - 1]))


def d_prime(scores: NDArray, is_genuine: NDArray) -> float:
    """Distance of the mean genuine and impostor scores over the root mean of their (population) variances.

    NaN where all scores of each kind are equal.
    """
    genuine, impostor = _split(scores, is_genuine)
    spread = np.sqrt((genuine.var() + impostor.var()) / 2)
    return float((genuine.mean() - impostor.mean()) / spread) if spread > 0 else float("nan")


def _checked_labels(values: NDArray, is_genuine: NDArray) -> NDArray[np.bool_]:
    if values.ndim != 1 or values.shape != is_genuine.shape:
        raise InputError(
            f"{values.shape} values and {is_genuine.shape} labels disagree; needs one of each per pair "
            "(twice as many embeddings as labels)"
        )
    if not np.isfinite(values).all():
        raise InputError(f"{np.count_nonzero(~np.isfinite(values))} of {values.size} scores are not finite")
    return is_genuine.astype(bool)


def _split(scores: NDArray, is_genuine: NDArray) -> tuple[NDArray, NDArray]:
    is_genuine = _checked_labels(scores, is_genuine)
    genuine, impostor = scores[is_genuine], scores[~is_genuine]
    if genuine.size == 0 or impostor.size == 0:
        raise InputError(f"got {genuine.size} genuine and {impostor.size} impostor pairs; needs at least one of each")
    return genuine, impostor
