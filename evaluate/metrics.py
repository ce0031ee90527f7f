"""Verification metrics on NumPy arrays; no networks, no files.

In: unit embeddings in pair order (a0, b0, a1, b1, ...), or one score per pair. Out: rates, as fractions.
The 10-fold accuracy follows insightface's ``calculate_accuracy``, which the field reports for LFW, CFP-FP, AgeDB-30,
CALFW and CPLFW (docs/field.md, section 5.1).

ROC, AUC and EER are our own. They are exact, and on the 15.7 million pairs of IJB-C ``auc`` takes 0.2 s and 0.1 GiB,
where scikit-learn's ``roc_auc_score`` takes 8.7 s and 1 GiB. The tests check that both give the same numbers.
Legend: P pairs, D embedding dimension, T thresholds.
"""

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError

GRID = np.arange(0, 4, 0.01)
"""Thresholds of the published protocol, on the squared L2 distance of unit embeddings, shape (400,)."""

FARS = ("1e-1", "1e-2", "1e-3", "1e-4", "1e-5", "1e-6")
"""False accept rates of result cards, as the cards write them. A rate is measured where there are enough impostors."""

_PAIRS_PER_BLOCK = 256  # their embeddings and differences fit into the processor's cache


def fold_accuracies(embeddings: NDArray, is_genuine: NDArray, num_folds: int = 10) -> NDArray[np.float64]:
    """Accuracy of each fold by the published protocol.

    Folds are contiguous blocks in pair order. If the pairs do not divide evenly, the first folds have one pair more
    (scikit-learn's ``KFold``). A pair is accepted as genuine when its squared L2 distance is strictly below the
    threshold. The threshold of a fold is the first of ``GRID`` with the best accuracy on the other folds. The accuracy
    of the protocol is the mean over the folds.

    Args:
        embeddings: Unit embeddings, shape (2P, D); rows 2i and 2i + 1 are pair i.
        is_genuine: True where both faces are of one identity, shape (P,).
        num_folds: Number of folds, 2 to P.

    Returns:
        Accuracies, shape (num_folds,).

    Raises:
        InputError: If embeddings and labels disagree in number, there are fewer pairs than folds, or an embedding is
            not finite.

    Example:
        >>> from evaluate.metrics import fold_accuracies
        >>> accuracy = fold_accuracies(embeddings, is_genuine).mean()
    """
    correct = grid_decisions(pair_distances(embeddings), is_genuine, num_folds)
    return fold_means(correct, num_folds)


def grid_decisions(distances: NDArray, is_genuine: NDArray, num_folds: int = 10) -> NDArray[np.bool_]:
    """Whether each pair is decided correctly at the threshold of its fold, shape (P,); see ``fold_accuracies``.

    Args:
        distances: Squared L2 distance per pair, shape (P,).
        is_genuine: True where both faces are of one identity, shape (P,).
        num_folds: Number of folds, 2 to P.
    """
    is_genuine = _checked_labels(distances, is_genuine)
    fold = fold_ids(distances.size, num_folds)
    # The thresholds from this position on lie above the distance and accept the pair.
    first_accepting = np.searchsorted(GRID, distances.astype(np.float64), side="right")
    num_correct = np.empty((num_folds, GRID.size), dtype=np.int64)
    for k in range(num_folds):
        genuine, impostor = (first_accepting[(fold == k) & (is_genuine == label)] for label in (True, False))
        accepted_genuine, accepted_impostor = (
            np.cumsum(np.bincount(part, minlength=GRID.size + 1))[:-1] for part in (genuine, impostor)
        )
        num_correct[k] = accepted_genuine + impostor.size - accepted_impostor
    # For each fold the first threshold with the best accuracy on the other folds.
    best = np.argmax(num_correct.sum(axis=0) - num_correct, axis=1)
    return (first_accepting <= best[fold]) == is_genuine


def exact_decisions(scores: NDArray, is_genuine: NDArray, num_folds: int = 10) -> NDArray[np.bool_]:
    """As ``grid_decisions``, with thresholds midway between neighbouring scores of the other folds, shape (P,).

    This is not the published accuracy. It shows how much accuracy the grid loses when many distances fall into few of
    its steps. Of equally good thresholds the strictest is used, as in the published protocol.

    Args:
        scores: Similarity per pair, shape (P,), higher is more alike.
        is_genuine: True where both faces are of one identity, shape (P,).
        num_folds: Number of folds, 2 to P.
    """
    is_genuine = _checked_labels(scores, is_genuine)
    fold = fold_ids(scores.size, num_folds)
    order = np.argsort(-scores, kind="stable")
    correct = np.empty(scores.size, dtype=bool)
    for k in range(num_folds):
        others = order[fold[order] != k]
        descending = scores[others].astype(np.float64)
        # A threshold accepts the first n of the falling scores, and never only some of equal scores. Each accepted
        # genuine pair adds 1 to the gain, each accepted impostor pair subtracts 1.
        gain = np.concatenate([[0], np.cumsum(np.where(is_genuine[others], 1, -1))])
        separates = np.concatenate([[True], descending[1:] != descending[:-1], [True]])
        num_accepted = np.flatnonzero(separates)[np.argmax(gain[separates])]
        bounds = np.concatenate([[np.inf], descending, [-np.inf]])
        threshold = (bounds[num_accepted] + bounds[num_accepted + 1]) / 2
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
    """Share of correct pairs in each fold, shape (num_folds,).

    Args:
        correct: Whether each pair is decided correctly, shape (P,).
        num_folds: Number of folds, 2 to P.
    """
    fold = fold_ids(correct.size, num_folds)
    return np.bincount(fold[correct.astype(bool)], minlength=num_folds) / np.bincount(fold)


def pair_distances(embeddings: NDArray) -> NDArray:
    """Squared L2 distance of each pair, shape (P,), in the embeddings' own precision.

    Args:
        embeddings: Unit embeddings, shape (2P, D); rows 2i and 2i + 1 are pair i.

    Raises:
        InputError: If the number of rows is odd, or embeddings are not finite (names their images).
    """
    if embeddings.ndim != 2 or len(embeddings) % 2:
        raise InputError(f"embeddings have shape {embeddings.shape}; needs (2 * num_pairs, embedding_dim)")
    distances = np.empty(len(embeddings) // 2, dtype=embeddings.dtype)
    for start in range(0, distances.size, _PAIRS_PER_BLOCK):
        block = embeddings[2 * start : 2 * (start + _PAIRS_PER_BLOCK)]
        # Keep exactly this expression: the golden accuracies depend on the last bit of the float32 sum.
        distances[start : start + _PAIRS_PER_BLOCK] = np.sum(np.square(np.subtract(block[0::2], block[1::2])), axis=1)
    if not np.isfinite(distances).all():
        check_finite(embeddings)
        raise InputError("distances overflow although the embeddings are finite; needs unit embeddings")
    return distances


def cosines(distances: NDArray) -> NDArray[np.float64]:
    """Cosine similarity of each pair from its ``pair_distances``, shape (P,)."""
    return 1 - distances.astype(np.float64) / 2


def check_finite(embeddings: NDArray) -> None:
    """Refuse embeddings that are not finite.

    Raises:
        InputError: With the number of such images and the positions of the first ten of them.
    """
    bad = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
    if bad.size:
        shown = ", ".join(map(str, bad[:10])) + (", ..." if bad.size > 10 else "")
        raise InputError(
            f"embeddings of {bad.size} of {len(embeddings)} images are not finite: images {shown}; "
            "inspect these images, or evaluate in float32"
        )


def tar_at_far(scores: NDArray[np.floating], is_genuine: NDArray[np.bool_], far: float) -> float:
    """True accept rate at the loosest threshold whose false accept rate is at most ``far``.

    A pair is accepted when its score is at or above the threshold. Thresholds are the observed scores, so the answer
    is exact: no grid, no interpolation.

    Args:
        scores: Similarity per pair, shape (P,), higher is more alike.
        is_genuine: True where both faces are of one identity, shape (P,).
        far: Highest allowed false accept rate, a fraction in (0, 1).

    Returns:
        True accept rate, a fraction in [0, 1].

    Raises:
        InputError: If the shapes differ, a score is not finite, there is no genuine or no impostor pair, ``far`` is
            not in (0, 1), or there are fewer than 1 / ``far`` impostor pairs (says the smallest rate they resolve).
    """
    genuine, impostor = _split(scores, is_genuine)
    if not 0 < far < 1:
        raise InputError(f"far={far:g} is not a fraction in (0, 1); 1e-3 means one false accept in a thousand")
    if impostor.size * far < 1 - 1e-9:
        raise InputError(
            f"far={far:g} needs at least {int(np.ceil(1 / far - 1e-9))} impostor pairs, got {impostor.size}; "
            f"give far={1 / impostor.size:.3g} or above, or more pairs"
        )
    num_accepted = min(int(np.floor(far * impostor.size + 1e-9)), impostor.size - 1)
    first_rejected = np.partition(impostor, impostor.size - num_accepted - 1)[impostor.size - num_accepted - 1]
    return float(np.mean(genuine > first_rejected))


def tar_at_fars(scores: NDArray, is_genuine: NDArray) -> dict[str, float | None]:
    """``tar_at_far`` at each of ``FARS``; None where there are fewer than 1 / FAR impostor pairs."""
    num_impostors = int(np.count_nonzero(~is_genuine.astype(bool)))
    return {
        far: tar_at_far(scores, is_genuine, float(far)) if num_impostors * float(far) >= 1 - 1e-9 else None
        for far in FARS
    }


def roc(scores: NDArray, is_genuine: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """False and true accept rate at every distinct threshold.

    Returns:
        ``far``, ``tar``, ``thresholds``, each of shape (T,). Thresholds fall. Element i holds the share of impostor and
        genuine pairs with a score at or above ``thresholds[i]``. ``thresholds[0]`` is infinite, where both are 0.
    """
    genuine, impostor = _split(scores, is_genuine)
    ascending = np.unique(scores)
    far, tar = (
        1 - np.searchsorted(np.sort(part), ascending[::-1], side="left") / part.size for part in (impostor, genuine)
    )
    return np.append(0.0, far), np.append(0.0, tar), np.append(np.inf, ascending[::-1])


def auc(scores: NDArray, is_genuine: NDArray) -> float:
    """Area under the ROC curve: chance that a genuine pair scores above an impostor pair; a tie counts half."""
    genuine, impostor = _split(scores, is_genuine)
    impostor = np.sort(impostor)
    num_below, num_not_above = (np.searchsorted(impostor, genuine, side=side).sum() for side in ("left", "right"))
    return float((num_below + num_not_above) / 2 / (genuine.size * impostor.size))


def eer(scores: NDArray, is_genuine: NDArray) -> float:
    """Equal error rate: where FAR = 1 - TAR on the ROC curve, interpolated linearly between its points."""
    far, tar, _ = roc(scores, is_genuine)
    gap = far + tar - 1  # rises from -1 to 1
    after = int(np.argmax(gap >= 0))  # first point past the crossing
    fraction = -gap[after - 1] / (gap[after] - gap[after - 1])
    return float(far[after - 1] + fraction * (far[after] - far[after - 1]))


def d_prime(scores: NDArray, is_genuine: NDArray) -> float:
    """Difference of the mean genuine and impostor score, over the root of the mean of both population variances.

    NaN if both variances are 0.
    """
    genuine, impostor = _split(scores, is_genuine)
    spread = np.sqrt((genuine.var() + impostor.var()) / 2)
    return float((genuine.mean() - impostor.mean()) / spread) if spread > 0 else float("nan")


def _checked_labels(values: NDArray, is_genuine: NDArray) -> NDArray[np.bool_]:
    if values.ndim != 1 or values.shape != is_genuine.shape:
        raise InputError(
            f"{values.shape} values and {is_genuine.shape} labels disagree; give one score and one label per pair, "
            "or two embeddings per label"
        )
    if not np.isfinite(values).all():
        raise InputError(
            f"{np.count_nonzero(~np.isfinite(values))} of {values.size} scores are not finite; inspect the network"
        )
    return is_genuine.astype(bool)


def _split(scores: NDArray, is_genuine: NDArray) -> tuple[NDArray, NDArray]:
    is_genuine = _checked_labels(scores, is_genuine)
    genuine, impostor = scores[is_genuine], scores[~is_genuine]
    if genuine.size == 0 or impostor.size == 0:
        raise InputError(f"got {genuine.size} genuine and {impostor.size} impostor pairs; needs at least one of each")
    return genuine, impostor
