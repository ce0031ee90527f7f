"""Is a difference real? Two networks on the same pairs: McNemar's test and a paired bootstrap of the difference."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.runs.cards import DatasetCard, ModelCard, ResultCard, flatten, read_card
from evaluate.leaderboard.read import scores_beside
from evaluate.measure.bootstrap import interval, resampled_means
from evaluate.measure.scores import IDENTITIES, Scores, read_scores

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Difference:
    """Accuracy of A less that of B on the same pairs, as fractions."""

    value: float
    low: float
    high: float
    """2.5 and 97.5 per cent points of the paired bootstrap, over identities where they are known, else over pairs."""
    only_a: int
    only_b: int
    """Pairs that only A, or only B, decides rightly."""
    p_value: float
    """Exact two-sided McNemar: the chance of as uneven a split or more if both were equally good."""


def compare_scores(a: Scores, b: Scores, *, seed: int = 0) -> dict[str, Difference]:
    """Difference on each protocol that both have, and ``mean``: of the plain means over these protocols.

    Args:
        a: Scores of the first network.
        b: Scores of the second.
        seed: Of the bootstrap.

    Raises:
        InputError: If no protocol is shared, or one has other pairs in A than in B.
    """
    shared = [name for name in a if name in b]
    if not shared:
        raise InputError(f"A has {', '.join(a)}, B has {', '.join(b)}: no protocol is shared; evaluate both on one")
    for name in shared:
        if not np.array_equal(a[name]["is_genuine"], b[name]["is_genuine"]):
            raise InputError(f"{name} has other pairs in A than in B; evaluate both on the same file")
    correct = {name: (a[name]["is_correct"], b[name]["is_correct"]) for name in shared}
    # Drawing identities takes tens of times as long as drawing pairs, so each protocol is drawn once, for both uses.
    drawn = {
        name: _resampled_difference(pair, a[name].get(IDENTITIES, b[name].get(IDENTITIES)), [seed, place])
        for place, (name, pair) in enumerate(correct.items())
    }
    differences = {name: _difference({name: pair}, drawn) for name, pair in correct.items()}
    return differences | {"mean": _difference(correct, drawn)}


def compare_decisions(correct: Mapping[str, tuple[NDArray, NDArray]], *, seed: int = 0) -> Difference:
    """Difference of the mean accuracies over protocols; pairs are drawn anew in each, both networks together.

    Args:
        correct: For each protocol whether A and B decide each pair rightly, each of shape (P,).
        seed: Of the bootstrap.
    """
    drawn = {
        name: _resampled_difference(pair, None, [seed, place]) for place, (name, pair) in enumerate(correct.items())
    }
    return _difference(correct, drawn)


def _resampled_difference(pair: tuple[NDArray, NDArray], identities: NDArray | None, seed: list[int]) -> NDArray:
    first, second = (one.astype(np.int8) for one in pair)
    return resampled_means(first - second, seed=seed, identities=identities)


def _difference(correct: Mapping[str, tuple[NDArray, NDArray]], drawn: Mapping[str, NDArray]) -> Difference:
    """Of the plain mean over the protocols of ``correct``, from the resampled differences of each."""
    only_a = {name: int(np.count_nonzero(a & ~b)) for name, (a, b) in correct.items()}
    only_b = {name: int(np.count_nonzero(~a & b)) for name, (a, b) in correct.items()}
    value = sum((only_a[name] - only_b[name]) / len(a) for name, (a, _) in correct.items()) / len(correct)
    num = min(len(drawn[name]) for name in correct)  # protocols with and without identities differ in resamples
    low, high = interval(np.mean([drawn[name][:num] for name in correct], axis=0))
    wins, losses = sum(only_a.values()), sum(only_b.values())
    return Difference(value, low, high, wins, losses, mcnemar(wins, losses))


def mcnemar(only_a: int, only_b: int) -> float:
    """Exact two-sided p-value: twice the smaller tail of a fair coin thrown ``only_a + only_b`` times, at most 1."""
    num = only_a + only_b
    logs = [_log_choose(num, k) - num * math.log(2) for k in range(min(only_a, only_b) + 1)]
    return min(1.0, 2 * math.fsum(math.exp(value) for value in logs))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def describe_comparison(a: Path, b: Path) -> str:
    """What differs between two results in settings, and whether their accuracies differ beyond chance; for a person.

    Args:
        a: Folder of the first result, or a committed card such as reports/results/smoke.json.
        b: The second.

    Raises:
        InputError: If a card or scores.npz is missing, or no protocol is shared.
    """
    first, second = read_settings(a), read_settings(b)
    changes = [
        f"  {key}: {first.get(key, 'absent')} -> {second.get(key, 'absent')}"
        for key in sorted(first.keys() | second.keys())
        if first.get(key) != second.get(key)
    ]
    lines = [f"A {a}", f"B {b}", "settings:", *(changes or ["  none differ"]), "accuracy of A less B, points:"]
    for name, one in compare_scores(read_scores(scores_beside(a)), read_scores(scores_beside(b))).items():
        verdict = "differs" if one.p_value < SIGNIFICANT else "chance would do"
        lines.append(
            f"  {name:<16} {100 * one.value:+6.2f}  95 % interval {100 * one.low:+.2f} to {100 * one.high:+.2f}, "
            f"only A right {one.only_a}, only B right {one.only_b}, McNemar p = {one.p_value:.2g}: {verdict}"
        )
    return "\n".join(lines)


def read_settings(result: Path) -> dict[str, Any]:
    """Flat settings behind a result: generator, recipe and seed of its parents where they are there, and test sets."""
    card = read_card(result, ResultCard)
    settings: dict[str, Any] = {f"test set {name}": one.sha256 for name, one in card.protocols.items()}
    settings |= {"scale": card.scale, "seed": card.seed, "commit": card.git.commit, "dirty": card.git.dirty}
    settings |= flatten({"recipe": card.recipe, "dataset": card.dataset} if card.recipe and card.dataset else {})
    root = result.parent.parent
    model_dir = root / "models" / str(card.inputs.get("model"))
    if not (model_dir / "model.json").exists():
        return settings | {"model": card.model.get("weights_sha256", card.name)}
    model = read_card(model_dir, ModelCard)
    settings |= flatten({"recipe": model.inputs.get("recipe", {})})
    dataset_dir = root / "faces" / str(model.inputs.get("dataset"))
    if (dataset_dir / "dataset.json").exists():
        settings |= flatten({"generator": read_card(dataset_dir, DatasetCard).inputs.get("generator", {})})
    return settings
