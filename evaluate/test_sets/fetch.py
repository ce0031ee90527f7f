"""Verification sets from the Hub into the folder of test sets; for the others, where to ask.

``python -m evaluate fetch [NAME ...]``. A file that is already there is checked against its record, not fetched again.
"""

from collections.abc import Sequence
from pathlib import Path

from bench.errors import InputError
from bench.runs.hub import fetch
from bench.runs.inputs import TEST_SETS_ON_THE_HUB, find_protocol
from evaluate.protocol import load_protocol
from evaluate.test_sets.registry import REGISTRY, YARDSTICK, describe_copy, find_test_set


def fetch_test_sets(names: Sequence[str], test_sets: Path, *, revision: str = "main") -> str:
    """Fetch what the Hub has, and say where to ask for the rest.

    Args:
        names: Entries of the registry; none means every one.
        test_sets: Folder of verification sets.
        revision: Commit, tag or branch of the repository.

    Returns:
        One line per set: its file, pairs and SHA-256 and what is known of that copy, or where to ask.

    Raises:
        InputError: If a name is unknown, a transfer fails, or a file has another number of pairs than published.
    """
    chosen = {name: find_test_set(name) for name in names or REGISTRY}
    lines = []
    for name in sorted(chosen, key=lambda name: name not in TEST_SETS_ON_THE_HUB):
        known, path = chosen[name], find_protocol(name, test_sets)
        if known.hub is not None and path in (None, test_sets / known.hub.local_name):
            lines.append(_describe(name, fetch(known.hub, test_sets, revision=revision)))
        elif path is not None:
            lines.append(f"{name}: is there, {path}")
        else:
            place = known.put.replace("NAME", name)
            lines.append(f"{name}: not on the Hub; ask {known.ask}; put it into {test_sets} as {place}")
    return "\n".join(lines)


def _describe(name: str, path: Path) -> str:
    protocol, known = load_protocol(path), REGISTRY[name]
    if known.num_pairs != protocol.num_pairs:
        raise InputError(
            f"{path} holds {protocol.num_pairs} pairs, published are {known.num_pairs}; delete it and look for "
            "another copy"
        )
    copy = describe_copy(name, protocol.sha256) or protocol.fetched_from or "a copy that no registry knows"
    lines = [f"{name}: {path}, {protocol.num_pairs:,} pairs, SHA-256 {protocol.sha256[:16]}..., {copy}"]
    lines += [
        f"  {YARDSTICK} scores {100 * value:.2f} % on {copy}" for copy, value in known.yardstick_accuracies.items()
    ]
    return "\n".join([*lines, f"  {known.note}"] if known.note else lines)
