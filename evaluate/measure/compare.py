"""Two networks on the same pairs: by how much their accuracies differ, and whether the difference is significant.

In: two results with their scores. Out: per protocol the difference of the accuracies, its interval by a paired
bootstrap, and the p-value of McNemar's exact test. Legend: P pairs, R resamples.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from bench.errors import InputError
from bench.files import exists
from bench.runs.cards import CARD_NAMES, ResultCard, read_card
from evaluate.measure.scores import IDENTITIES, Scores, read_scores, scores_path_of
from evaluate.measure.uncertainty.bootstrap import interval, resampled_means

SIGNIFICANCE_LEVEL = 0.05


@dataclass(frozen=True)
class Difference:
    """Accuracy of A minus accuracy of B on the same pairs, as fractions."""

    value: float
    low: float
    high: float
    """2.5 and 97.5 per cent points of the paired bootstrap, over identities where they are known, else over pairs."""
    only_a: int
    only_b: int
    """Pairs that only A, or only B, decides correctly."""
    p_value: float
    """McNemar's exact two-sided test: chance of a split at least as uneven, if A and B were equally good."""

    @property
    def is_significant(self) -> bool:
        """Whether the p-value is below 0.05."""
        return self.p_value < SIGNIFICANCE_LEVEL


def compare_results(a: str | Path, b: str | Path, *, seed: int = 0) -> dict[str, Difference]:
    """Accuracy of result A minus accuracy of result B, per protocol that both have, and of their mean.

    Args:
        a: Folder of the first result (result.json and scores.npz), or a committed card such as
            reports/results/smoke.json.
        b: The second result.
        seed: Seed of the bootstrap.

    Returns:
        Protocol -> difference; ``mean`` is the difference of the plain means over these protocols.

    Raises:
        InputError: If scores are missing or broken, no protocol is shared, or a protocol has different pairs in A
            and in B, or was measured on different copies of its test set.

    Example:
        >>> from evaluate.measure.compare import compare_results
        >>> differences = compare_results("runs/a/results/0123", "runs/b/results/4567")
        >>> print(differences["lfw"].value, differences["lfw"].is_significant)
    """
    _check_copies(Path(a), Path(b))
    return compare_scores(read_scores(scores_path_of(a)), read_scores(scores_path_of(b)), seed=seed)


def _check_copies(a: Path, b: Path) -> None:
    """Refuse results whose cards record different digests of a test set; without both cards nothing is checked."""
    cards = [path / CARD_NAMES[ResultCard] if path.is_dir() else path for path in (a, b)]
    if not all(map(exists, cards)):
        return
    first, second = (read_card(card, ResultCard).protocols for card in cards)
    others = [name for name in first if name in second and first[name].sha256 != second[name].sha256]
    if others:
        raise InputError(
            f"A and B were measured on different copies (SHA-256) of {', '.join(others)}; evaluate both on the same "
            "file"
        )


def compare_scores(a: Scores, b: Scores, *, seed: int = 0) -> dict[str, Difference]:
    """As ``compare_results``, from scores in memory.

    Raises:
        InputError: If no protocol is shared, or a protocol has different pairs in A and in B.
    """
    shared = [name for name in a if name in b]
    if not shared:
        raise InputError(f"A has {', '.join(a)}, B has {', '.join(b)}: no protocol is shared; evaluate both on one")
    for name in shared:
        if not np.array_equal(a[name]["is_genuine"], b[name]["is_genuine"]):
            raise InputError(f"{name} has different pairs in A and in B; evaluate both on the same file")
    correct = {name: (a[name]["is_correct"], b[name]["is_correct"]) for name in shared}
    # Resampling identities takes tens of times as long as resampling pairs. Each protocol is resampled once, and the
    # mean over protocols uses the same resamples.
    resampled = {
        name: _resampled_difference(pair, a[name].get(IDENTITIES, b[name].get(IDENTITIES)), [seed, index])
        for index, (name, pair) in enumerate(correct.items())
    }
    differences = {name: _difference({name: pair}, resampled) for name, pair in correct.items()}
    return differences | {"mean": _difference(correct, resampled)}


def _resampled_difference(
    correct: tuple[NDArray, NDArray], identities: NDArray | None, seed: list[int]
) -> NDArray[np.float64]:
    """Difference of the accuracies in each resample, shape (R,); both networks get the same pairs."""
    a, b = (decisions.astype(np.int8) for decisions in correct)
    return resampled_means(a - b, seed=seed, identities=identities)


def _difference(correct: Mapping[str, tuple[NDArray, NDArray]], resampled: Mapping[str, NDArray]) -> Difference:
    """Difference of the plain means over the protocols of ``correct``, which all count alike."""
    only_a = {name: int(np.count_nonzero(a & ~b)) for name, (a, b) in correct.items()}
    only_b = {name: int(np.count_nonzero(~a & b)) for name, (a, b) in correct.items()}
    value = sum((only_a[name] - only_b[name]) / len(a) for name, (a, _) in correct.items()) / len(correct)
    # Protocols whose identities are known have fewer resamples than the others.
    num_resamples = min(len(resampled[name]) for name in correct)
    low, high = interval(np.mean([resampled[name][:num_resamples] for name in correct], axis=0))
    total_a, total_b = sum(only_a.values()), sum(only_b.values())
    return Difference(value, low, high, total_a, total_b, mcnemar(total_a, total_b))


def mcnemar(only_a: int, only_b: int) -> float:
    """McNemar's exact two-sided p-value: the binomial test of an even split of the pairs that one network alone solves.

    Args:
        only_a: Pairs that only A decides correctly.
        only_b: Pairs that only B decides correctly.
    """
    num_pairs = only_a + only_b
    return float(binomtest(only_a, num_pairs).pvalue) if num_pairs else 1.0
