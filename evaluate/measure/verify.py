"""An embed function on a verification protocol -> its result: accuracy, AUC, EER, TAR at FAR, interval, scores.

Every verification number of a card is computed here, and checked. Legend: P pairs, K distinct images, D embedding
dimension.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.machine.progress import note
from bench.runs.cards import ProtocolResult
from evaluate import metrics
from evaluate.layouts.images import ImageArray
from evaluate.measure.checks import protocol_contradictions
from evaluate.measure.scores import IDENTITIES
from evaluate.measure.uncertainty.bootstrap import interval, resampled_means
from evaluate.protocol import Protocol
from evaluate.test_sets.registry import known_version

NUM_FOLDS = 10
_NEARLY_EQUAL = 0.999  # cosine to the mean embedding; it is about 0.9 for an untrained backbone

EmbedFunction = Callable[[ImageArray], NDArray[np.float32]]


@dataclass(frozen=True)
class Verification:
    """One network on one protocol: the numbers of the card, and the scores from which every plot can be drawn."""

    name: str
    result: ProtocolResult
    scores: NDArray[np.float32]
    """Cosine per pair, shape (P,)."""
    is_genuine: NDArray[np.bool_]
    """True where both faces are of one identity, shape (P,)."""
    is_correct: NDArray[np.bool_]
    """Whether each pair is decided correctly at the threshold of its fold, shape (P,)."""
    identities: NDArray[np.integer] | None = None
    """Identities on the two images of each pair, shape (P, 2); None where the test set does not state them."""

    @property
    def arrays(self) -> dict[str, NDArray]:
        """The arrays of scores.npz, each of shape (P,), and the identities where they are known."""
        arrays = {"scores": self.scores, "is_genuine": self.is_genuine, "fold": self.fold}
        arrays["is_correct"] = self.is_correct
        if self.identities is not None:
            arrays[IDENTITIES] = self.identities.astype(np.int32)
        return arrays

    @property
    def fold(self) -> NDArray[np.int64]:
        """Fold of each pair, shape (P,)."""
        return metrics.fold_ids(self.scores.size, NUM_FOLDS)


def verify(embed_function: EmbedFunction, protocol: Protocol) -> Verification:
    """Measure a network on a verification protocol.

    Args:
        embed_function: Returns unit embeddings, shape (K, D), of RGB images, uint8, shape (K, 112, 112, 3).
        protocol: The pairs. Each distinct image is embedded once.

    Raises:
        InputError: If an embedding is not finite (names the images), or there are fewer pairs than folds.
    """
    metrics.fold_ids(protocol.num_pairs, NUM_FOLDS)  # refuse too few pairs before hours of embedding
    embeddings = embed_function(protocol.faces)
    try:
        metrics.check_finite(embeddings)
    except InputError as error:
        raise InputError(f"{protocol.name}: {error}") from None
    num_alike = num_nearly_equal(embeddings)
    if num_alike > len(embeddings) / 2:
        note(
            f"warning: {protocol.name}: {num_alike:,} of {len(embeddings):,} embeddings are nearly equal; check that "
            "the network is trained and gets the pixels that it expects"
        )
    return score(embeddings[protocol.pairs.ravel()], protocol)


def num_nearly_equal(embeddings: NDArray[np.float32]) -> int:
    """Number of unit embeddings, shape (K, D), whose cosine to their mean is above 0.999, or that are 0."""
    mean = embeddings.mean(axis=0, dtype=np.float64)
    cosines = embeddings @ (mean / max(np.linalg.norm(mean), 1e-12))
    return int(np.count_nonzero((cosines > _NEARLY_EQUAL) | ~embeddings.any(axis=1)))


def score(embeddings: NDArray, protocol: Protocol) -> Verification:
    """As ``verify``, from embeddings.

    Args:
        embeddings: Unit embeddings in pair order a0, b0, a1, b1, ..., shape (2P, D).
        protocol: The pairs.
    """
    is_genuine = protocol.is_genuine
    distances = metrics.pair_distances(embeddings)
    scores = metrics.cosines(distances)
    is_correct = metrics.grid_decisions(distances, is_genuine, NUM_FOLDS)
    folds = metrics.fold_means(is_correct, NUM_FOLDS)
    has_both = 0 < is_genuine.sum() < len(is_genuine)
    accuracy = float(folds.mean())
    identities = None if protocol.identity_ids is None else protocol.identity_ids[protocol.pairs]
    result = ProtocolResult(
        accuracy=accuracy,
        fold_std=float(folds.std()),
        standard_error=float(np.sqrt(accuracy * (1 - accuracy) / len(is_genuine))),
        num_pairs=len(is_genuine),
        num_impostors=int((~is_genuine).sum()),
        auc=metrics.auc(scores, is_genuine) if has_both else None,
        eer=metrics.eer(scores, is_genuine) if has_both else None,
        tar_at_far=metrics.tar_at_fars(scores, is_genuine) if has_both else dict.fromkeys(metrics.FARS),
        exact_accuracy=float(metrics.fold_means(metrics.exact_decisions(scores, is_genuine, NUM_FOLDS)).mean()),
        d_prime=_finite(metrics.d_prime(scores, is_genuine)) if has_both else None,
        sha256=protocol.sha256,
        copy_known_as=known_version(protocol.name, protocol.sha256) or protocol.fetched_from,
        folds=tuple(folds.tolist()),
        interval=interval(resampled_means(is_correct, identities=identities)),
        interval_over="pairs" if identities is None else "identities",
    )
    check_result(protocol.name, result)
    return Verification(protocol.name, result, scores.astype(np.float32), is_genuine, is_correct, identities)


def check_result(name: str, result: ProtocolResult) -> None:
    """Refuse a result whose numbers contradict each other, which would be a bug of this package.

    Raises:
        RuntimeError: With the numbers, for example an accuracy that is not the mean of the folds.
    """
    wrong = list(protocol_contradictions(result))
    if wrong:
        raise RuntimeError(f"{name}: {'; '.join(wrong)}")


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
