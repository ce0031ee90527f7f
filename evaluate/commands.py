"""The sub-commands that prepare or describe data: their flags, and the call behind each.

Each call imports what it needs, so that ``--help`` stays quick, and returns the text to print.
"""

import argparse
from collections.abc import Callable
from pathlib import Path


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parsers."""
    text = "download verification sets from the Hub; for the others, say where to ask"
    fetching = commands.add_parser("fetch", help=text, description=text)
    fetching.add_argument("names", nargs="*", help="which sets (default: all that are known)")
    fetching.add_argument("--test-sets", type=Path, default=Path("test_sets"), help="folder of verification sets")
    fetching.add_argument("--revision", default="main", help="revision of the repository (default: main)")


def _fetch(args: argparse.Namespace) -> str:
    from evaluate.fetch import fetch_test_sets

    return fetch_test_sets(args.names, args.test_sets, revision=args.revision)


COMMANDS: dict[str, Callable[[argparse.Namespace], str]] = {"fetch": _fetch}
