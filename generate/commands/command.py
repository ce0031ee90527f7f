"""A table of sub-commands -> their parsers, and the listing of them in ``--help``.

The listing is made from the table that makes the parsers, so that the two cannot drift apart.
"""

import argparse
import shutil
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_STAGE_FLAGS: dict[str, tuple[Callable[[str], Any], str]] = {
    "--scale": (str, "entry of benchmarks.yaml whose generator settings are used (default: 10k)"),
    "--seed": (int, "seed of all random numbers (default: 0)"),
    "--device": (str, "Torch device: auto, cpu, cuda or cuda:N (default: auto)"),
    "--runs": (Path, "folder of all runs (default: runs)"),
    "--weights": (Path, "folder of downloaded weights (default: weights)"),
    "--config": (Path, "YAML file of benchmarks (default: benchmarks.yaml)"),
}


@dataclass(frozen=True)
class Command:
    """A sub-command: its help, its flags and the function that does it."""

    name: str
    summary: str
    """What it does, in half a line of the listing."""
    description: str
    """Sentences: what it reads, what it writes, when one needs it."""
    example: str
    """A whole command line that works once its files are there."""
    add_flags: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], str | None]
    """Does the work and returns the line to print; None where another process prints it."""


def add_commands(parser: argparse.ArgumentParser, groups: Mapping[str, Sequence[Command]]) -> None:
    """Add sub-commands to a parser, and their listing below its own help.

    The parsed arguments get ``command``, the name (None without a sub-command), and ``run``, see ``Command.run``.

    Args:
        parser: Parser of the stage.
        groups: Sub-commands by the heading under which ``--help`` lists them.
    """
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _listing(groups)
    subparsers = parser.add_subparsers(
        title="sub-commands",
        dest="command",
        metavar="COMMAND",
        help="one of the list below; COMMAND --help explains it",
    )
    for commands in groups.values():
        for command in commands:
            subparser = subparsers.add_parser(
                command.name,
                description=fill(command.description),
                epilog=f"example:\n  {command.example}",
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
            command.add_flags(subparser)
            subparser.set_defaults(run=command.run)


def add_stage_flags(parser: argparse.ArgumentParser, *names: str) -> None:
    """Add flags that the stage has as well, such as ``--weights``; they count before and after the sub-command's name.

    The parser of a sub-command overwrites what the stage's parser has read, even with a mere default. Without a default
    here, the stage's value stays unless the flag is given again.
    """
    for name in names:
        kind, text = _STAGE_FLAGS[name]
        parser.add_argument(name, type=kind, default=argparse.SUPPRESS, help=text)


def fill(text: str) -> str:
    """Text in lines as wide as the terminal, for a parser whose formatter keeps the lines of its texts."""
    return textwrap.fill(text, shutil.get_terminal_size().columns - 2, break_on_hyphens=False)


def _listing(groups: Mapping[str, Sequence[Command]]) -> str:
    width = max(len(command.name) for commands in groups.values() for command in commands)
    lines = []
    for heading, commands in groups.items():
        lines += ["", f"{heading}:", *(f"  {command.name:{width}}  {command.summary}" for command in commands)]
    return "\n".join(lines[1:])
