"""Test sets: downloaded from the Hub, or the address to get them from. ``python -m evaluate fetch [NAME ...]``.

In: names of sets. Out: their files in the folder of test sets, and one line of text per set. A file that exists is
checked against the record of its first download, and not downloaded again.
"""

from collections.abc import Sequence
from pathlib import Path

from bench.config.benchmarks import protocol_names
from bench.errors import InputError
from bench.runs.hub import fetch, list_files
from bench.runs.inputs import TEST_SETS_ON_THE_HUB, find_protocol
from evaluate.protocol import load_protocol
from evaluate.test_sets.registry import REGISTRY, YARDSTICK, find_test_set, known_version


def fetch_test_sets(names: Sequence[str], test_sets: Path, *, revision: str = "main") -> str:
    """Download the sets that the Hub has; for the others, say where to get them.

    Args:
        names: Entries of the registry, or lists of benchmarks.yaml such as ``five``; empty for all.
        test_sets: Folder of test sets.
        revision: Commit, tag or branch of the repository on the Hub.

    Returns:
        One line per set: file, number of pairs, SHA-256 and version, or where to get it.

    Raises:
        InputError: If a name is unknown, a transfer fails, or a file has another number of pairs than published.
    """
    entries = {name: find_test_set(name) for name in protocol_names(names) or REGISTRY}
    lines = []
    for name in sorted(entries, key=lambda name: name not in TEST_SETS_ON_THE_HUB):
        entry, path = entries[name], find_protocol(name, test_sets)
        if entry.hub is not None and path in (None, test_sets / entry.hub.local_name):
            lines.append(_describe(name, fetch(entry.hub, test_sets, revision=revision)))
        elif path is not None:
            lines.append(f"{name}: {path} exists, left unchanged")
        else:
            save_as = entry.save_as.replace("NAME", name)
            lines.append(f"{name} is missing: get it from {entry.source}, and save it as {save_as} in {test_sets}")
    return "\n".join(lines)


def list_test_sets(names: Sequence[str] = ()) -> str:
    """Every known set: a table of those that the Hub has, then a line for each other one.

    Args:
        names: Entries of the registry, or lists of benchmarks.yaml; empty for all.

    Raises:
        InputError: If a name is unknown.
    """
    entries = {name: find_test_set(name) for name in protocol_names(names) or REGISTRY}
    table = list_files({name: entry.hub for name, entry in entries.items() if entry.hub})
    others = [
        f"{name}: not on the Hub, get it from {entry.source}; save it as {entry.save_as.replace('NAME', name)}"
        for name, entry in entries.items()
        if entry.hub is None
    ]
    return "\n".join([*([table, ""] if len(others) < len(entries) else []), *others]).rstrip()


def _describe(name: str, path: Path) -> str:
    protocol, entry = load_protocol(path), REGISTRY[name]
    if entry.num_pairs != protocol.num_pairs:
        raise InputError(
            f"{path} holds {protocol.num_pairs} pairs, but {entry.num_pairs} are published; delete it and get "
            "another version"
        )
    version = known_version(name, protocol.sha256) or protocol.fetched_from or "an unregistered version"
    lines = [f"{name}: {path}, {protocol.num_pairs:,} pairs, SHA-256 {protocol.sha256[:16]}..., {version}"]
    lines += [
        f"  {YARDSTICK} reaches {100 * accuracy:.2f} % on the version of {holder}"
        for holder, accuracy in entry.yardstick_accuracies.items()
    ]
    return "\n".join([*lines, f"  {entry.note}"] if entry.note else lines)
