"""The rules that a result card must keep before it becomes a row of the committed leaderboard.

In: a card, and benchmarks.yaml. Out: for each rule what it checks, and the problem if it is broken. That the card
agrees with itself and its scores is checked when it is read (``evaluate.leaderboard.read``).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.config.benchmarks import Benchmark
from bench.config.divisions import DIVISIONS
from bench.names import nearest
from bench.runs.cards import ResultCard
from bench.runs.fingerprints import recipe_sha256
from evaluate.leaderboard.publish import published_name
from evaluate.test_sets.registry import is_unregistered, unexpected_num_pairs

Finding = tuple[str, str | None]
"""What a rule checks, and its problem with what to do; None if the rule is kept."""


def check_rules(path: Path, card: ResultCard, benchmarks: Mapping[str, Benchmark]) -> Iterator[Finding]:
    """Every rule that holds for a card of its kind.

    Args:
        path: The card, NAME.json, beside its scores NAME.npz.
        card: Its content.
        benchmarks: Entries of benchmarks.yaml by name.
    """
    yield _name(path, card)
    yield _scores(path, card)
    yield _code(card)
    yield from _test_sets(card)
    if card.row == "model":
        return
    if card.scale not in benchmarks:
        advice = f"add the entry in a pull request of its own first; {nearest(card.scale, benchmarks)}"
        yield "benchmark", f"scale {card.scale} is no entry of benchmarks.yaml; {advice}"
        return
    if card.row == "dataset":
        yield from _entry(card, benchmarks[card.scale])


def _name(path: Path, card: ResultCard) -> Finding:
    expected = f"{published_name(card)}.json"
    if path.name == expected:
        return f"name {expected}", None
    return "name", f"the file of this card is called {expected}; rename it, or make it by evaluate publish"


def _scores(path: Path, card: ResultCard) -> Finding:
    scores = path.with_suffix(".npz")
    if scores.is_file() or not card.protocols:
        return f"scores {scores.name}", None
    return "scores", f"{scores.name} is missing, so no number can be checked; add it"


def _code(card: ResultCard) -> Finding:
    commit = (card.git.commit or "none")[:12]
    if card.git.commit and not card.git.dirty:
        return f"commit {commit}", None
    return (
        "commit",
        f"the code was at commit {commit}{' with changes' if card.git.dirty else ''}; run a committed version",
    )


def _test_sets(card: ResultCard) -> Iterator[Finding]:
    for name, result in (card.protocols | card.templates).items():
        published = unexpected_num_pairs(name, result)
        problem = None
        if published is not None:
            problem = (
                f"{name} has {result.num_pairs:,} pairs instead of the published {published:,}; take the whole set"
            )
        elif is_unregistered(name, result):
            digest = (result.sha256 or "none")[:16]
            problem = (
                f"{name} is a copy that is not known, SHA-256 {digest}...; fetch the set by evaluate fetch, or add the "
                "copy to evaluate/test_sets/registry.py with its source"
            )
        yield f"test set {name}: {result.num_pairs:,} pairs, a known copy", problem


def _entry(card: ResultCard, benchmark: Benchmark) -> Iterator[Finding]:
    """The rules of the benchmark, and of its division, for a row that was trained here."""
    expected, actual = recipe_sha256(benchmark.recipe), card.recipe.sha256 if card.recipe else "none"
    problem = None
    if actual != expected:
        owner = f"division {benchmark.division}" if benchmark.division else f"benchmark {benchmark.name}"
        problem = (
            f"the recipe has the SHA-256 {actual[:16]}..., {owner} has {expected[:16]}...; train by "
            f"{benchmark.recipe_name} unchanged"
        )
    yield f"recipe {benchmark.recipe_name}, SHA-256 {expected[:16]}...", problem
    if benchmark.division:
        yield _caps(card, benchmark)
    if benchmark.expected.mean_accuracy and card.mean_accuracy is not None:
        low, high = benchmark.expected.mean_accuracy
        problem = None
        if not low <= card.mean_accuracy <= high:
            problem = (
                f"the mean accuracy {card.mean_accuracy:.2%} is outside the plausible band {low:.1%} to {high:.1%}; "
                "look for leaked identities and a wrong test set, and explain it in an issue first"
            )
        yield f"mean accuracy {card.mean_accuracy:.2%}, plausible {low:.1%} to {high:.1%}", problem


def _caps(card: ResultCard, benchmark: Benchmark) -> Finding:
    dataset, division = card.dataset, benchmark.division or ""
    if dataset is None or dataset.num_identities is None or dataset.num_images is None:
        return "caps", f"the card does not state the size of its dataset, which division {division} caps; train again"
    size = f"{dataset.num_identities:,} identities, {dataset.num_images:,} images"
    problem = DIVISIONS[division].size_problem(dataset.num_identities, dataset.num_images)
    if problem:
        return "caps", f"the dataset has {problem} in division {division}; cut it down with over_caps: subset"
    return f"caps of {division}: {size}", None
