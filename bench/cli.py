"""What every command shares: its flags, how they are parsed, and user errors as one line instead of a traceback."""

import argparse
import errno
import os
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from bench.config.benchmarks import BENCHMARKS_PATH
from bench.errors import InputError

_DISK_ERRORS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
}


def stage_parser(program: str, description: str) -> argparse.ArgumentParser:
    """A parser with the flags of every stage: what to run, where files are, on which device."""
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description=description)
    add_stage_flags(parser)
    return parser


def add_stage_flags(parser: argparse.ArgumentParser) -> None:
    """Add --scale, --seed, --device, --runs, --test-sets, --weights and --config."""
    parser.add_argument("--scale", default="smoke", help="entry of benchmarks.yaml to run (default: smoke)")
    parser.add_argument("--seed", type=int, default=0, help="seed of generation and training (default: 0)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all results (default: runs)")
    parser.add_argument(
        "--test-sets", type=Path, default=Path("test_sets"), help="folder of verification sets (default: test_sets)"
    )
    parser.add_argument(
        "--weights", type=Path, default=Path("weights"), help="folder of downloaded weights (default: weights)"
    )
    parser.add_argument(
        "--config", type=Path, default=BENCHMARKS_PATH, help="file of benchmarks (default: benchmarks.yaml)"
    )


def parse_flags(parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse a command line such that flags before a sub-command count as if they stood behind it.

    argparse alone loses them: the sub-command's defaults overwrite what was given before its name. A flag that stands
    before a sub-command which does not know it is an error (status 2, as argparse's own).

    Args:
        parser: Parser whose sub-commands, if it has any, are stored as ``command``.
        arguments: Words of the command line; those of this process by default.
    """
    commands: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            commands = action.choices
    defaults = _take_defaults(parser)
    shared = {name: _take_defaults(command, defaults.keys()) for name, command in commands.items()}
    given = parser.parse_args(arguments)  # holds the flags of ``defaults`` that were given, no others
    command = getattr(given, "command", None)
    if command is not None:
        known = {action.dest for action in commands[command]._actions}
        if unknown := [name for name in vars(given) if name in defaults and name not in known]:
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in unknown)
            parser.error(f"{command} does not take {flags}; leave it out, or see: {parser.prog} {command} --help")
    for name, default in (defaults | shared.get(command or "", {})).items():
        if not hasattr(given, name):
            setattr(given, name, default)
    return given


def _take_defaults(parser: argparse.ArgumentParser, names: Collection[str] | None = None) -> dict[str, object]:
    """Suppress the defaults of a parser's flags (of some ``names`` only, if given) and return them."""
    defaults = {}
    for action in parser._actions:
        is_flag = action.option_strings and action.default is not argparse.SUPPRESS
        if is_flag and (names is None or action.dest in names):
            defaults[action.dest] = action.default
            action.default = argparse.SUPPRESS
    return defaults


def run(main: Callable[[], int | None]) -> None:
    """Run a command: bad input ends in one line on stderr and status 2, Ctrl-C in status 130.

    With the environment variable ``BENCH_TRACEBACK`` set, bad input shows its traceback.
    """
    try:
        sys.exit(main() or 0)
    except InputError as error:
        _fail(" ".join(str(error).split()))
    except OSError as error:
        if error.errno not in (*_DISK_ERRORS, errno.EACCES, errno.EPERM):
            raise
        what = _DISK_ERRORS.get(error.errno or 0, error.strerror or "no access")
        _fail(f"{error.filename or 'a file'} cannot be written: {what}; make room, or set RUNS to another folder")
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; the same command goes on from here\n")
        sys.exit(130)


def _fail(message: str) -> None:
    if os.environ.get("BENCH_TRACEBACK"):
        raise
    rank = f" (process {os.environ['RANK']})" if int(os.environ.get("WORLD_SIZE", "1")) > 1 else ""
    sys.stderr.write(f"error{rank}: {message}\n")
    sys.exit(2)
