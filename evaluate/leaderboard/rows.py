"""Results -> rows: one network, or one benchmark with several seeds. No rendering.

The mean of a row is the plain mean over its core protocols, which are the columns of its table. Accuracies are
fractions.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from bench.runs.card_parts.groups import GroupResult
from bench.runs.card_parts.identification import IdentificationResult
from bench.runs.card_parts.references import DatasetReference
from bench.runs.cards import ProtocolResult, ResultCard, TemplateResult
from evaluate.leaderboard.estimates import Estimate, estimate_accuracy
from evaluate.leaderboard.protocol_names import column_order, protocol_family, protocol_title
from evaluate.leaderboard.read import Result
from evaluate.measure.checks import grid_misleads
from evaluate.test_sets.registry import is_unregistered, unexpected_num_pairs

Division = Literal["closed", "open", "given", "floor"]
"""closed: a released recipe, by name and hash; open: any other; given: weights from elsewhere; floor: no training."""
AnyResult = ProtocolResult | TemplateResult | GroupResult | IdentificationResult
"""The numbers of one test set, of any kind."""
DIVISIONS: tuple[Division, ...] = ("closed", "open", "given", "floor")
"""In the order of a table."""


@dataclass(frozen=True)
class Row:
    """One line of a table: one network, or one benchmark with several seeds."""

    results: tuple[Result, ...]
    """One result per seed, ordered by seed."""
    core: tuple[str, ...]
    """Protocols that enter the mean."""
    extras: tuple[str, ...]
    """Further protocols that every seed has; they do not enter the mean."""
    notes: tuple[str, ...]
    """Footnotes of the row."""
    division: Division
    is_reference: bool = False
    """Whether the row was trained on the real reference, to which rows of the same recipe state their gap."""

    @property
    def cards(self) -> list[ResultCard]:
        """The card of each seed."""
        return [result.card for result in self.results]

    @property
    def card(self) -> ResultCard:
        """The card of the first seed, for everything that the seeds share."""
        return self.results[0].card

    @property
    def sweep(self) -> str:
        """Name of the sweep that the row is a setting of; empty for all others."""
        return self.results[0].sweep

    @property
    def is_floor(self) -> bool:
        """Whether the row shows what a network without training reaches."""
        return self.division == "floor"

    @property
    def recipe_name(self) -> str:
        """Name of the recipe; empty without one."""
        return self.card.recipe.name if self.card.recipe else ""

    @property
    def recipe_sha256(self) -> str | None:
        """Hash of the recipe's settings; rows with equal hashes were trained alike."""
        return self.card.recipe.sha256 if self.card.recipe else None

    @property
    def test_sets(self) -> tuple[str | None, ...]:
        """SHA-256 of each core test set as it was measured on. Rows are compared only where these are equal."""
        return tuple(_protocol_result(self.card, name).sha256 for name in self.core)

    @property
    def num_images(self) -> int | None:
        """Number of training images; None if unknown."""
        return self.card.dataset.num_images if self.card.dataset else None

    @property
    def num_identities(self) -> int | None:
        """Number of training identities; None if unknown."""
        return self.card.dataset.num_identities if self.card.dataset else None

    @property
    def composition(self) -> str | None:
        """Parts of a training set that is a mixture, with their shares of its images; None for any other."""
        return self.card.dataset.composition if self.card.dataset else None

    @property
    def label(self) -> str:
        """Printed name of the row; that of an untrained backbone states its kind, depth and width."""
        card = self.card
        if card.row == "floor" and isinstance(card.inputs.get("floor"), dict):
            backbone = card.inputs["floor"]
            return f"{card.name} ({backbone['kind']}-{backbone['depth']}, width {backbone['width']})"
        return card.name

    @property
    def commit(self) -> str:
        """First seven digits of the commit, with a star if tracked files were changed."""
        git = self.card.git
        return (git.commit[:7] if git.commit else "none") + ("*" if git.dirty else "")

    @cached_property
    def mean(self) -> Estimate:
        """Mean accuracy over the core protocols."""
        return estimate_accuracy(self.cards, self.core)

    def accuracy(self, name: str) -> Estimate:
        """Accuracy on one protocol."""
        return estimate_accuracy(self.cards, (name,))


def make_row(
    core: tuple[str, ...], results: Sequence[Result], *, closed: set[tuple[str, str]], references: set[str]
) -> Row:
    """The row of results that are seeds of each other; of several results of a seed, the newest counts.

    Args:
        core: Protocols that enter the mean.
        results: Results with the same ``row_key``.
        closed: Names and hashes of the released recipes.
        references: Names of the benchmarks of benchmarks.yaml that train on the real reference.
    """
    newest: dict[int, Result] = {}
    for result in sorted(results, key=lambda result: result.card.created_utc):
        newest[result.card.seed] = result
    seeds = tuple(newest[seed] for seed in sorted(newest))
    card = seeds[0].card
    return Row(
        results=seeds,
        core=core,
        extras=_extra_protocols(core, seeds),
        notes=tuple(_notes(core, seeds, num_older=len(results) - len(seeds))),
        division=_division(card, closed),
        is_reference=_is_reference(card, references),
    )


def row_key(result: Result, core: tuple[str, ...]) -> str:
    """Key that results share if they are seeds of each other.

    It holds the dataset and the recipe, or the weights, and the copies of the core test sets.

    Args:
        result: The result.
        core: Core protocols of the table.
    """
    card = result.card
    test_sets = [_protocol_result(card, name).sha256 for name in core]
    if card.row == "floor":
        return json.dumps([card.row, card.name, card.inputs.get("floor"), test_sets])
    if card.row == "model":
        mode = card.inputs.get("test_mode")
        return json.dumps([card.row, card.model.weights_sha256, test_sets, *([mode] if mode else [])])
    recipe_sha256 = card.recipe.sha256 if card.recipe else None
    dataset = card.dataset or DatasetReference()
    generator = dataset.generator_sha256 or result.generator_sha256 or dataset.name  # the hash, since names may change
    return json.dumps([card.row, card.scale, card.name, recipe_sha256, generator, test_sets])


def number_notes(rows: Sequence[Row]) -> dict[str, str]:
    """Note -> its footnote mark, for all notes of a table's rows, in the order of the rows."""
    notes = dict.fromkeys(note for row in rows for note in row.notes)
    return {note: str(number) for number, note in enumerate(notes, start=1)}


def _extra_protocols(core: tuple[str, ...], results: Sequence[Result]) -> tuple[str, ...]:
    """Protocols beside the core ones that every seed has and that are of the same family."""
    shared = set.intersection(*(set(result.card.protocols) for result in results))
    if core[0] not in shared:  # a table of templates, groups or searches
        return ()
    extras = [name for name in shared - set(core) if protocol_family(name) == protocol_family(core[0])]
    return tuple(sorted(extras, key=column_order))


def _is_reference(card: ResultCard, references: set[str]) -> bool:
    """Whether a row is the real reference of its recipe: trained here, or a released network of the same recipe."""
    if card.row == "model":
        return card.recipe is not None and card.dataset is not None and card.dataset.is_real is True
    return card.row == "dataset" and card.scale in references and not card.changes


def _division(card: ResultCard, closed: set[tuple[str, str]]) -> Division:
    if card.row == "floor":
        return "floor"
    if card.row == "model":
        return "given"
    return "closed" if card.recipe and (card.recipe.name, card.recipe.sha256) in closed else "open"


def _notes(core: tuple[str, ...], results: Sequence[Result], *, num_older: int) -> Iterator[str]:
    """Footnotes of a row: older results, unregistered copies, other numbers of pairs, too coarse thresholds."""
    yield from dict.fromkeys(note for result in results for note in result.notes)
    if num_older:
        yield f"older results of the same seeds left out: {num_older}"
    first = {name: _protocol_result(results[0].card, name) for name in core}
    unregistered = [protocol_title(name) for name, protocol in first.items() if is_unregistered(name, protocol)]
    if unregistered:
        yield f"measured on copies that are not registered: {', '.join(unregistered)}"
    for name, protocol in first.items():
        if not isinstance(protocol, ProtocolResult | TemplateResult):
            continue
        published = unexpected_num_pairs(name, protocol)
        if published:
            yield f"{protocol_title(name)} has {protocol.num_pairs:,} pairs instead of the published {published:,}"
    for result in results:
        protocols = {name: result.card.protocols[name] for name in core if name in result.card.protocols}
        misleading = {name: protocol for name, protocol in protocols.items() if grid_misleads(protocol)}
        if misleading:
            exact = [
                f"{protocol_title(name)} {100 * (protocol.exact_accuracy or 0):.2f}"
                for name, protocol in misleading.items()
            ]
            seed = result.card.seed
            yield f"the published grid of thresholds is too coarse: exact ones give {', '.join(exact)} (seed {seed})"


def _protocol_result(card: ResultCard, name: str) -> AnyResult:
    """The numbers of a test set, of whatever kind."""
    kinds: tuple[Mapping[str, AnyResult], ...]
    kinds = (card.protocols, card.templates, card.group_errors, card.identification)
    return next(results[name] for results in kinds if name in results)
