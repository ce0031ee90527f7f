"""Two results side by side, as text for a person: which settings differ, and whether the accuracies do.

``python -m evaluate compare RESULT RESULT`` prints it. The numbers come from ``evaluate.measure.compare``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.files import flatten
from bench.runs.cards import ResultCard, read_card
from bench.runs.parents import parents_of_result
from evaluate.measure.compare import SIGNIFICANCE_LEVEL, Difference, compare_results
from evaluate.measure.uncertainty.seeds import SeedDifference, compare_seeds


def describe_difference(a: Path, b: Path) -> str:
    """The settings that differ between two results, then the difference of their accuracies per protocol.

    Args:
        a: Folder of the first result, or a committed card such as reports/results/smoke.json.
        b: The second result.

    Raises:
        InputError: If a card or scores.npz is missing, no protocol is shared, or the pairs differ.
    """
    settings_a, settings_b = read_settings(a), read_settings(b)
    changes = [
        f"  {key}: {settings_a.get(key, 'absent')} -> {settings_b.get(key, 'absent')}"
        for key in sorted(settings_a.keys() | settings_b.keys())
        if settings_a.get(key) != settings_b.get(key)
    ]
    differences = [_describe_protocol(name, difference) for name, difference in compare_results(a, b).items()]
    return "\n".join(
        [
            f"A {a}",
            f"B {b}",
            "settings:",
            *(changes or ["  none differ"]),
            "accuracy of A minus B, points:",
            *differences,
        ]
    )


def describe_seeds(a: Sequence[Path], b: Sequence[Path]) -> str:
    """The settings that differ between two sides of several seeds, then the difference of their mean accuracies.

    Args:
        a: Results of one setting, one per seed.
        b: Results of another setting.

    Raises:
        InputError: As ``compare_seeds``.
    """
    differences = compare_seeds(a, b)
    settings_a, settings_b = read_settings(a[0]), read_settings(b[0])
    ignored = {"seed", "commit", "dirty", "dataset.sha256", "model"}
    changes = [
        f"  {key}: {settings_a.get(key, 'absent')} -> {settings_b.get(key, 'absent')}"
        for key in sorted((settings_a.keys() | settings_b.keys()) - ignored)
        if settings_a.get(key) != settings_b.get(key)
    ]
    is_paired = bool(differences["mean"].per_seed)
    how = "equal seeds are compared" if is_paired else "the sides have other seeds, so seeds are not paired"
    lines = [*(f"A {path}" for path in a), *(f"B {path}" for path in b), "settings:", *(changes or ["  none differ"])]
    lines.append(f"mean accuracy of A minus B over {len(a)} and {len(b)} seeds, points; {how}:")
    return "\n".join(lines + [_describe_seed_difference(name, difference) for name, difference in differences.items()])


def _describe_seed_difference(name: str, difference: SeedDifference) -> str:
    value, low, high = (100 * fraction for fraction in (difference.value, difference.low, difference.high))
    seeds = ", ".join(f"{100 * each:+.2f}" for each in difference.per_seed)
    verdict = "significant (p < {})" if difference.is_significant else "not significant (p >= {})"
    return (
        f"  {name:<16} {value:+6.2f}  95 % interval {low:+.2f} to {high:+.2f}, standard error over seeds "
        f"{100 * difference.seed_error:.2f}, over pairs {100 * difference.pair_error:.2f}"
        + (f", each seed {seeds}" if seeds else "")
        + f", p = {difference.p_value:.2g}: {verdict.format(SIGNIFICANCE_LEVEL)}"
    )


def _describe_protocol(name: str, difference: Difference) -> str:
    value, low, high = (100 * fraction for fraction in (difference.value, difference.low, difference.high))
    verdict = "significant (p < {})" if difference.is_significant else "not significant (p >= {})"
    return (
        f"  {name:<16} {value:+6.2f}  95 % interval {low:+.2f} to {high:+.2f}, only A correct {difference.only_a}, "
        f"only B correct {difference.only_b}, McNemar p = {difference.p_value:.2g}: "
        f"{verdict.format(SIGNIFICANCE_LEVEL)}"
    )


def read_settings(result: Path) -> dict[str, Any]:
    """Settings behind a result, keys joined by dots: test sets, seed, commit, recipe and generator.

    Recipe and generator are those of the cards of model and dataset, where these are still on this machine.
    """
    card = read_card(result, ResultCard)
    settings: dict[str, Any] = {f"test set {name}": protocol.sha256 for name, protocol in card.protocols.items()}
    settings |= {"scale": card.scale, "seed": card.seed, "commit": card.git.commit, "dirty": card.git.dirty}
    if card.recipe and card.dataset:
        settings |= flatten({"recipe": card.recipe.model_dump(), "dataset": card.dataset.model_dump()})
    parents = parents_of_result(result if result.is_dir() else result.parent, card)
    if parents.model is None:
        return settings | {"model": card.model.weights_sha256 or card.name}
    settings |= flatten({"recipe": parents.model.inputs.get("recipe", {})})
    if parents.dataset is not None:
        settings |= flatten({"generator": parents.dataset.inputs.get("generator", {})})
    return settings
