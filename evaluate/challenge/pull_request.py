"""The cards of a pull request, as data: which are added, and whether each may become a row.

In: the folder ``reports/results`` before and after the change, and the list of changed files. Out: a line per accepted
card, or one message with every problem. Nothing of the change is imported or run.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from bench.config.benchmarks import Benchmark, load_benchmarks
from bench.config.generator import DRAWN_KINDS
from bench.errors import InputError
from bench.runs.cards import ResultCard, read_card
from evaluate.challenge.rules import check_rules
from evaluate.leaderboard.read import read_checked

SUFFIXES = (".json", ".npz", ".jpg")
"""A card, its scores, and a sample grid of generated faces."""
RENDERED = tuple(f"reports/leaderboard.{suffix}" for suffix in ("md", "html", "csv"))
"""Files that ``evaluate publish`` renders again when it adds a card."""
MAX_BYTES = 5_000_000
"""Largest allowed file. The largest file of a card with seven test sets has less than a megabyte."""
_JPEG_MAGIC = b"\xff\xd8\xff"


def check_pull_request(base: Path, head: Path, changed: Sequence[str] | None = None) -> str:
    """Check the cards that a pull request adds.

    Args:
        base: Folder of results before the change.
        head: The same after it.
        changed: Paths of all files that differ, relative to the repository; None does not check them.

    Returns:
        A line per accepted card.

    Raises:
        InputError: If a card is changed or removed, a new one breaks a rule, or other files change; the message lists
            every problem.
    """
    problems = [*_other_changes(changed or ()), *_lost_rows(base, head)]
    added = sorted(path for path in head.rglob("*") if _is_new(path, base, head))
    problems += [f"{path.relative_to(head)}: {problem}" for path in added if (problem := _file_problem(path, head))]
    if not problems:
        benchmarks, accepted = load_benchmarks(), []
        existing = _networks(sorted(base.glob("*.json")))
        for path in added:
            if path.suffix == ".json":
                found = list(_card_problems(path, existing, benchmarks))
                problems += [f"{path.name}: {problem}" for problem in found]
                if not found:
                    accepted.append(_describe(path))
                    existing |= _networks([path])
        if not accepted and not problems:
            problems.append("no card is added; add reports/results/NAME.json with NAME.npz, by evaluate publish")
    if problems:
        raise InputError(f"{len(problems)} problems: {' | '.join(problems)}")
    return "\n".join(accepted)


def _other_changes(changed: Sequence[str]) -> Iterator[str]:
    others = [name for name in changed if not name.startswith("reports/results/") and name not in RENDERED]
    if others:
        yield (
            f"{len(others)} other files change, first {others[0]}; put cards into a pull request of their own, without "
            "code"
        )


def _lost_rows(base: Path, head: Path) -> Iterator[str]:
    """Files of the base that are gone or have other bytes."""
    for path in sorted(path for path in base.rglob("*") if path.is_file()):
        new_path = head / path.relative_to(base)
        if new_path.is_symlink() or not new_path.is_file():
            yield f"{path.name} of the base is removed; restore it, rows are never removed by a pull request of cards"
        elif new_path.read_bytes() != path.read_bytes():
            yield f"{path.name} of the base is replaced; restore it, and add your result under its own name and seed"


def _is_new(path: Path, base: Path, head: Path) -> bool:
    is_entry = path.is_symlink() or not path.is_dir()
    return is_entry and not (base / path.relative_to(head)).exists()


def _file_problem(path: Path, head: Path) -> str | None:
    """Why a new file cannot be part of a card, by its name, kind and size alone."""
    if path.is_symlink() or not path.is_file():
        return "is a link, not a file; add the file itself"
    if path.parent != head or path.suffix not in SUFFIXES or path.name.startswith("."):
        return f"is no part of a card; add NAME.json, NAME.npz and NAME.jpg ({', '.join(SUFFIXES)}) alone"
    if path.stat().st_size > MAX_BYTES:
        return f"has {path.stat().st_size:,} bytes, more than {MAX_BYTES:,}; add the files that evaluate publish writes"
    if path.suffix != ".json" and not path.with_suffix(".json").is_file():
        return f"has no card {path.stem}.json beside it; add the card, or leave the file out"
    return None


def _card_problems(path: Path, existing: Mapping[str, str], benchmarks: Mapping[str, Benchmark]) -> Iterator[str]:
    try:
        card = read_checked(path, resample=True)
    except InputError as error:
        yield str(error).removeprefix(f"{path}").lstrip(": ")
        return
    yield from (problem for _, problem in check_rules(path, card, benchmarks) if problem)
    weights = card.model.weights_sha256
    if card.row != "floor" and weights in existing:
        yield f"the network {(weights or '')[:16]}... is the row {existing[weights or '']} already; add another network"
    grid = path.with_suffix(".jpg")
    if grid.exists():
        benchmark = benchmarks.get(card.scale)
        if card.row != "dataset" or benchmark is None or benchmark.generator.kind not in DRAWN_KINDS:
            yield f"{grid.name} may show photographs of people; leave it out, only generated faces are published"
        elif not grid.read_bytes().startswith(_JPEG_MAGIC):
            yield f"{grid.name} is no JPEG; add the grid that evaluate publish writes"


def _networks(paths: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of the weights -> file name, of all cards that are no floor."""
    cards = {path.name: read_card(path, ResultCard) for path in paths}
    return {
        card.model.weights_sha256: name
        for name, card in cards.items()
        if card.row != "floor" and card.model.weights_sha256
    }


def _describe(path: Path) -> str:
    card = read_card(path, ResultCard)
    mean = "no mean" if card.mean_accuracy is None else f"mean {card.mean_accuracy:.2%}"
    return (
        f"accepted {path.name}: {card.name}, seed {card.seed}, {mean} over {', '.join(card.protocols) or 'templates'}"
    )
