"""Rows without training: every released network on every test set, and the difference to what its authors print.

In: the folders of weights and of test sets. Out: a result per network, as of ``evaluate --model``, and released.md.
Authors printed their tables with the same weights and test sets, so a difference above 0.01 points means that the
evaluator, the copy of a test set or the weights are not theirs. ``python -m evaluate --released``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.config.catalogue import load_catalogue
from bench.errors import InputError
from bench.files import write_text
from bench.markdown import markdown_table
from bench.runs.cards import ResultCard, read_card
from bench.runs.fingerprints import model_stage
from bench.runs.inputs import find_protocol, how_to_fetch
from evaluate.challenge.networks import NETWORKS, SUFFIXES, find_networks, printed_accuracies
from evaluate.leaderboard.published import read_published
from evaluate.leaderboard.write import PUBLISHED_PATH
from evaluate.measure.rows import model_row
from evaluate.stage import Evaluation, evaluate_row
from evaluate.test_sets.registry import REGISTRY

TOLERANCE = 0.01
"""Largest difference in points that counts as agreement. One of 6,000 pairs decided otherwise is 0.017 points."""


@dataclass(frozen=True)
class Comparison:
    """One network on one test set. Accuracies are in per cent."""

    network: str
    test_set: str
    measured: float
    printed: float | None
    """None where its authors print no accuracy on this set."""

    @property
    def difference(self) -> float | None:
        """Measured, rounded as papers round, minus printed, in points."""
        return None if self.printed is None else round(round(self.measured, 2) - self.printed, 2)

    @property
    def verdict(self) -> str:
        """Whether the two agree."""
        if self.difference is None:
            return "not printed"
        return "agrees" if abs(self.difference) <= TOLERANCE + 1e-9 else "differs"


def evaluate_released(weights: Path, evaluation: Evaluation) -> Iterator[str]:
    """Evaluate all released networks of a folder; a network whose result exists is not evaluated again.

    Args:
        weights: Folder of weights; a network is known by the name of its file.
        evaluation: Settings of the call.

    Yields:
        A line per network and per file that was left out, then the table, which is also written to RUNS/released.md.

    Raises:
        InputError: If the folder holds no released network, or TEST_SETS no known set; at the end, if a network could
            not be read, with the reason of each.
    """
    networks = find_networks(weights)
    test_sets = [name for name in REGISTRY if find_protocol(name, evaluation.test_sets)]
    if not test_sets:
        command = how_to_fetch("lfw cfp_fp", evaluation.test_sets)
        raise InputError(f"{evaluation.test_sets} holds no known test set; run {command}")
    published = read_published(PUBLISHED_PATH)
    yield from describe_unknown(weights)
    comparisons, broken = [], []
    for path, network in networks.items():
        stage = model_stage(path, test_sets, runs=evaluation.runs, test_sets=evaluation.test_sets)
        row = replace(
            model_row(path, stage.inputs["model"]),
            dataset=network.dataset_reference,
            recipe=network.recipe_reference,
        )
        try:
            yield evaluate_row(stage, path, test_sets, row, evaluation)
        except InputError as error:
            broken.append(str(error))
            continue
        card = read_card(stage.directory, ResultCard)
        comparisons += compare(card, printed_accuracies(network, published))
    if comparisons:
        table = describe(comparisons)
        write_text(evaluation.runs / "released.md", table + "\n")
        yield f"\n{table}\n\n{evaluation.runs / 'released.md'}"
    if broken:
        raise InputError(f"{len(broken)} of {len(networks)} networks could not be evaluated: {'; '.join(broken)}")


def compare(card: ResultCard, printed: dict[str, float]) -> list[Comparison]:
    """The accuracies of a result beside the printed ones, set by set."""
    return [
        Comparison(card.name, name, 100 * result.accuracy, printed.get(name)) for name, result in card.protocols.items()
    ]


def describe(comparisons: Sequence[Comparison]) -> str:
    """A Markdown table of all comparisons, and a sentence with the number that differ."""
    rows = [
        (
            entry.network,
            entry.test_set,
            f"{entry.measured:.2f}",
            None if entry.printed is None else f"{entry.printed:.2f}",
            None if entry.difference is None else f"{entry.difference:+.2f}",
            entry.verdict,
        )
        for entry in comparisons
    ]
    columns = ("network", "test set", "measured, %", "printed, %", "difference, points", "verdict")
    printed = [entry for entry in comparisons if entry.printed is not None]
    agreeing = sum(entry.verdict == "agrees" for entry in printed)
    sentence = f"{agreeing} of {len(printed)} printed accuracies are met to {TOLERANCE} points."
    return f"{markdown_table(columns, rows)}\n\n{sentence}"


def describe_unknown(weights: Path) -> Iterator[str]:
    """A line for each weight file that is neither a released network nor another known file: what it holds."""
    known = {Path(path).name for _, _, path in load_catalogue().addresses}
    for path in sorted(weights.glob("*")):
        if path.suffix in SUFFIXES and path.stem not in NETWORKS and path.name not in known:
            yield f"left out: {path} has no name of a released network; {_look_at(path)}"


def _look_at(path: Path) -> str:
    """What an unknown file holds, as far as this suite can tell, and what to do with it."""
    from evaluate.measure.embed import load_network

    try:
        load_network(path)
    except InputError as error:
        return str(error).removeprefix(f"{path} ")
    return f"it holds a recognition network, which .venv/bin/python -m evaluate --model {path} evaluates"
