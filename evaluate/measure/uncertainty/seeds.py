"""Several seeds of two settings: by how much their accuracies differ, over seeds and over test pairs.

In: results of A and of B, with their scores. Out: per protocol the difference of the mean accuracies, its interval and
a p-value. Two sources make the difference uncertain: another seed would train another network, and another test set of
the same kind would hold other pairs. Their variances are added. The variance over pairs is that of a bootstrap of the
pairs' mean differences; the variance over seeds is the sample variance over the number of seeds, of the differences of
equal seeds where both sides have the same ones. Interval and p-value are of Student's t with the effective degrees of
freedom of Welch and Satterthwaite, since three seeds estimate their variance poorly. Legend: P pairs, S seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from bench.errors import InputError
from bench.runs.cards import ResultCard, read_card
from evaluate.measure.compare import SIGNIFICANCE_LEVEL
from evaluate.measure.scores import IDENTITIES, Scores, read_scores, scores_path_of
from evaluate.measure.uncertainty.bootstrap import resampled_means


@dataclass(frozen=True)
class SeedDifference:
    """Mean accuracy of A minus mean accuracy of B, as fractions."""

    value: float
    low: float
    high: float
    """95 % interval over seeds and pairs."""
    seed_error: float
    pair_error: float
    """Standard errors of the two sources."""
    p_value: float
    per_seed: tuple[float, ...]
    """Difference of each seed; empty where A and B have different seeds."""

    @property
    def is_significant(self) -> bool:
        """Whether the p-value is below 0.05."""
        return self.p_value < SIGNIFICANCE_LEVEL


def compare_seeds(a: Sequence[Path], b: Sequence[Path], *, seed: int = 0) -> dict[str, SeedDifference]:
    """Mean accuracy of A minus that of B, per protocol that all results have, and of their mean.

    Args:
        a: Results of one setting by two seeds or more: folders, or committed cards.
        b: The same of another setting. With the seeds of A, seeds are compared in pairs.
        seed: Seed of the bootstrap.

    Returns:
        Protocol -> difference; ``mean`` is the difference of the plain means over these protocols.

    Raises:
        InputError: If a side has fewer than two results, one seed twice, or results of several settings; if scores are
            missing, or the results were measured on different pairs.
    """
    cards_a, cards_b = _read_side("A", a), _read_side("B", b)
    _check_copies([*cards_a.values(), *cards_b.values()])
    is_paired = cards_a.keys() == cards_b.keys()
    scores_a, scores_b = ([read_scores(scores_path_of(path)) for path in cards] for cards in (_by_seed(a), _by_seed(b)))
    shared = [name for name in scores_a[0] if all(name in scores for scores in [*scores_a, *scores_b])]
    if not shared:
        raise InputError("the results share no protocol; evaluate all of them on one")
    pair_draws, accuracies = {}, {}
    for index, name in enumerate(shared):
        correct_a, correct_b = _correct(name, scores_a, scores_a[0]), _correct(name, scores_b, scores_a[0])
        identities = scores_a[0][name].get(IDENTITIES)
        difference = correct_a.mean(axis=0) - correct_b.mean(axis=0)  # (P,)
        pair_draws[name] = resampled_means(difference, seed=[seed, index], identities=identities)
        accuracies[name] = (correct_a.mean(axis=1), correct_b.mean(axis=1))  # (S,) each
    differences = {
        name: _difference(*accuracies[name], float(np.var(pair_draws[name])), is_paired=is_paired) for name in shared
    }
    means = [np.mean([accuracies[name][side] for name in shared], axis=0) for side in (0, 1)]
    variance = float(sum(np.var(draws) for draws in pair_draws.values()) / len(shared) ** 2)
    return differences | {"mean": _difference(means[0], means[1], variance, is_paired=is_paired)}


def _by_seed(results: Sequence[Path]) -> list[Path]:
    return sorted(results, key=lambda path: read_card(path, ResultCard).seed)


def _read_side(side: str, results: Sequence[Path]) -> dict[int, ResultCard]:
    """Seed -> card of one side, by seed."""
    if len(results) < 2:
        raise InputError(f"{side} has {len(results)} result; give two seeds or more of both sides, or one of each")
    cards: dict[int, ResultCard] = {}
    for path in _by_seed(results):
        card = read_card(path, ResultCard)
        if card.seed in cards:
            raise InputError(f"{side} holds seed {card.seed} twice; give one result of each seed")
        cards[card.seed] = card
    settings = {_setting(card) for card in cards.values()}
    if len(settings) > 1:
        names = sorted({card.name for card in cards.values()})
        raise InputError(f"{side} holds results of several settings ({', '.join(names)}); give seeds of one setting")
    return cards


def _setting(card: ResultCard) -> tuple[str | None, ...]:
    """What seeds of one setting share."""
    recipe = card.recipe.sha256 if card.recipe else None
    generator = card.dataset.generator_sha256 if card.dataset else None
    return card.row, card.scale, card.name, recipe, generator


def _check_copies(cards: Sequence[ResultCard]) -> None:
    for name in cards[0].protocols:
        digests = {card.protocols[name].sha256 for card in cards if name in card.protocols}
        if len(digests) > 1:
            raise InputError(
                f"{name} was measured on different copies (SHA-256); evaluate all results on the same file"
            )


def _correct(name: str, scores: Sequence[Scores], first: Scores) -> NDArray[np.float64]:
    """Whether each seed decides each pair correctly, shape (S, P)."""
    if any(not np.array_equal(each[name]["is_genuine"], first[name]["is_genuine"]) for each in scores):
        raise InputError(f"{name} differs in its pairs between the results; evaluate all of them on the same file")
    return np.stack([each[name]["is_correct"] for each in scores]).astype(np.float64)


def _difference(a: NDArray, b: NDArray, pair_variance: float, *, is_paired: bool) -> SeedDifference:
    """The difference from the accuracies of each side's seeds, shape (S,) each, and its variance over pairs."""
    value = float(a.mean() - b.mean())
    parts = [(a - b,)] if is_paired else [(a,), (b,)]
    variances = [(float(np.var(part, ddof=1)) / len(part), len(part) - 1) for (part,) in parts]
    seed_variance = sum(variance for variance, _ in variances)
    total = seed_variance + pair_variance
    per_seed = tuple(float(each) for each in a - b) if is_paired else ()
    errors = {"seed_error": seed_variance**0.5, "pair_error": pair_variance**0.5, "per_seed": per_seed}
    if total == 0:
        return SeedDifference(value, value, value, p_value=float(value == 0), **errors)  # type: ignore[arg-type]
    spread = sum(variance**2 / freedom for variance, freedom in variances)
    freedom = total**2 / spread if spread > 0 else np.inf
    margin = float(student.ppf(0.975, freedom)) * total**0.5
    p_value = 2 * float(student.sf(abs(value) / total**0.5, freedom))
    return SeedDifference(value, value - margin, value + margin, p_value=p_value, **errors)  # type: ignore[arg-type]
