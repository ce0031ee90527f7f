"""What all commands share: help, sub-commands, flags, and user errors as one line instead of a traceback."""

import argparse
import errno
import os
import shutil
import signal
import sys
import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.config import flags
from bench.errors import InputError, Preempted, python_command
from bench.files import DISK_ERRORS


@dataclass(frozen=True)
class Command:
    """A sub-command: its help, its flags and the function that does its work."""

    name: str
    summary: str
    """What it does, in a few words for the list of sub-commands."""
    description: str
    """Paragraphs of its ``--help``: what it reads, what it writes, when one needs it."""
    example: str
    """A command line that works once its files are there, without ``python -m``: package, name, flags."""
    add_flags: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], str | Iterator[str] | None]
    """Does the work and returns the text to print, at once or line by line; None if there is nothing to say."""


def make_parser(program: str, description: str, *, example: str | None = None) -> argparse.ArgumentParser:
    """A parser whose help shows the description in paragraphs and an example line at its end."""
    return argparse.ArgumentParser(
        prog=python_command(program),
        description=_fill(description),
        epilog=f"example:\n  {python_command(example)}" if example else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def stage_parser(program: str, description: str, *, example: str | None = None) -> argparse.ArgumentParser:
    """As ``make_parser``, with the flags of every stage: what to run, where files are, on which device."""
    parser = make_parser(program, description, example=example)
    add_stage_flags(parser)
    return parser


def add_stage_flags(parser: argparse.ArgumentParser, *names: str, scale: str = "smoke") -> None:
    """Add the flags that all stages share, or some of them.

    Args:
        parser: Parser that gets the flags.
        names: Flags to add, such as ``--runs``; all of them by default.
        scale: Default of ``--scale``.
    """
    from bench.config.benchmarks import BENCHMARKS_PATH  # here, so that this module loads quickly (why: see its end)

    known: dict[str, tuple[Callable[[str], Any], Any, str]] = {
        "--scale": (str, scale, f"entry of benchmarks.yaml (default: {scale})"),
        "--seed": (flags.seed, 0, "seed of all random numbers (default: 0)"),
        "--device": (flags.device, "auto", "auto, cpu, cuda or cuda:N (default: auto)"),
        "--runs": (Path, Path("runs"), "folder of all results (default: runs)"),
        "--test-sets": (Path, Path("test_sets"), "folder of test sets (default: test_sets)"),
        "--weights": (Path, Path("weights"), "folder of downloaded weights (default: weights)"),
        "--config": (Path, BENCHMARKS_PATH, "file of benchmarks (default: benchmarks.yaml)"),
        "--set": (str, "", "fields of the entry to change, as in 'recipe.margin.margin=0.4' (default: none)"),
    }
    for name in names or known:
        kind, default, text = known[name]
        parser.add_argument(name, type=kind, default=default, help=text)


def add_seeds_flag(parser: argparse.ArgumentParser) -> None:
    """Add ``--seeds`` beside ``--seed``, which then has no default; ``chosen_seeds`` reads both."""
    parser.add_argument(
        "--seeds",
        type=flags.seeds,
        default=(),
        metavar="SEEDS",
        help="several seeds in quotes, as in '0 1 2' (default: the seeds of the entry)",
    )
    for action in parser._actions:
        if action.dest == "seed":
            action.default, action.help = None, "one seed, instead of --seeds (default: the seeds of the entry)"


def chosen_seeds(args: argparse.Namespace, default: Sequence[int]) -> tuple[int, ...]:
    """The seeds that a command line chooses.

    Args:
        args: Values of ``--seed`` and ``--seeds``.
        default: The seeds if neither is given.

    Raises:
        InputError: If both are given.
    """
    if args.seeds and args.seed is not None:
        seeds = " ".join(map(str, args.seeds))
        raise InputError(f"SEED={args.seed} and SEEDS={seeds} are both given; keep one of them")
    return tuple(args.seeds) or (tuple(default) if args.seed is None else (args.seed,))


def add_commands(parser: argparse.ArgumentParser, groups: Mapping[str, Sequence[Command]]) -> None:
    """Add sub-commands to a parser, and their list by groups to its help.

    The parsed arguments get ``command``, the name (None without a sub-command), and ``run``, see ``Command.run``. The
    list and the parsers are made from the same table, so that they cannot differ.

    Args:
        parser: Parser of the program.
        groups: Heading -> the sub-commands that the help lists below it.
    """
    listing = _list_commands(groups)
    parser.epilog = f"{parser.epilog}\n\n{listing}" if parser.epilog else listing
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
                description=_fill(command.description),
                epilog=f"example:\n  {python_command(command.example)}",
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
            command.add_flags(subparser)
            subparser.set_defaults(run=command.run)


def run_command(args: argparse.Namespace) -> int:
    """Run the sub-command that was parsed, and print what it returns, line by line as it comes. Returns status 0."""
    outcome = args.run(args)
    for line in [outcome] if isinstance(outcome, str) else outcome or ():
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    return 0


def _list_commands(groups: Mapping[str, Sequence[Command]]) -> str:
    width = max(len(command.name) for commands in groups.values() for command in commands)
    paragraphs = []
    for heading, commands in groups.items():
        lines = [f"  {command.name:{width}}  {command.summary}" for command in commands]
        paragraphs.append("\n".join([f"{heading}:", *lines]))
    return "\n\n".join(paragraphs)


def _fill(text: str) -> str:
    """Paragraphs in lines as wide as the terminal, at most 100 columns."""
    columns = min(100, shutil.get_terminal_size().columns - 2)
    paragraphs = (" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
    return "\n\n".join(textwrap.fill(paragraph, columns, break_on_hyphens=False) for paragraph in paragraphs)


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
            action.help = action.help and action.help.replace("%(default)s", str(action.default))
            action.default = argparse.SUPPRESS
    return defaults


def run(main: Callable[[], int | None]) -> None:
    """Run a command and end the process. Errors that a user can correct are one line on stderr instead of a traceback.

    The exit status is 2 for bad input and for a full disk, 130 for Ctrl-C, and 128 + signal for a training that a
    scheduler ended. Under torchrun only rank 0 prints the line of the last two. If the environment variable
    ``BENCH_TRACEBACK`` is set, bad input shows its traceback. Characters that stdout cannot show become question marks.
    """
    _never_fail_to_print()
    interrupts = _count_interrupts()
    try:
        status = main() or 0
        sys.stdout.flush()
    except BrokenPipeError:  # the program that reads stdout has ended, as in ``make plan | head``
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 128 + signal.SIGPIPE
    except Preempted as error:
        status = _end_preempted(error)
    except KeyboardInterrupt:
        status = _end_interrupted()
    except Exception as error:
        # Libraries turn an interrupt of their own processes into other errors
        status = _end_interrupted() if interrupts else _report(error)
    sys.exit(status)


def _never_fail_to_print() -> None:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _count_interrupts() -> list[int]:
    """A list that gets an entry at every Ctrl-C. Ctrl-C still raises KeyboardInterrupt.

    Nothing is changed in a process that ignores Ctrl-C, as a shell starts commands in the background.
    """
    interrupts: list[int] = []

    def note_interrupt(number: int, _: Any) -> None:
        interrupts.append(number)
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) in (signal.default_int_handler, _end_at_once):
        signal.signal(signal.SIGINT, note_interrupt)
    return interrupts


def _end_interrupted() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not interrupt the clean-up
    if os.environ.get("RANK", "0") == "0":
        sys.stderr.write("\ninterrupted; run the same command again to resume\n")
        sys.stderr.flush()
    return 128 + signal.SIGINT


def _end_preempted(error: Preempted) -> int:
    if os.environ.get("RANK", "0") == "0":
        sys.stderr.write(f"\n{error}\n")
        sys.stderr.flush()
    return 128 + error.number


def _end_at_once(_: int, __: Any) -> None:
    os._exit(_end_interrupted())


def _report(error: Exception) -> int:
    """Print an error that a user can correct, and return the status; other errors are raised again."""
    message = " ".join(str(error).split()) if isinstance(error, InputError) else None
    if isinstance(error, OSError):
        message = _describe_os_error(error)
    if message is None or os.environ.get("BENCH_TRACEBACK"):
        raise error
    notes = "".join(f"{note}\n" for note in getattr(error, "__notes__", ()))
    rank = f" (process {os.environ['RANK']})" if int(os.environ.get("WORLD_SIZE", "1")) > 1 else ""
    sys.stderr.write(f"error{rank}: {message}\n{notes}")
    return 2


def _describe_os_error(error: OSError) -> str | None:
    """What is wrong with a disk, a permission or a path, and what to do; None for all other errors."""
    name = error.filename or "a file"
    if error.errno in DISK_ERRORS:
        return f"{name} cannot be written: {DISK_ERRORS[error.errno]}; make room, or set RUNS to another folder"
    if error.errno in (errno.EACCES, errno.EPERM):
        if _lacks_read_permission(str(name)):
            return f"{name} cannot be read: you have no permission to read it; change that, or name another file"
        return f"{name} cannot be written: you have no permission to write there; set RUNS to another folder"
    if error.errno in (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ELOOP):
        shown = name if len(str(name)) <= 200 else f"{str(name)[:200]}..."
        return f"{shown} cannot be used: {os.strerror(error.errno)}; correct the path"
    return None


def _lacks_read_permission(name: str) -> bool:
    """Whether this process may not read a file, or may not enter the nearest folder above it that exists."""
    if os.path.lexists(name):
        return not os.access(name, os.R_OK)
    parent = next((folder for folder in Path(name).absolute().parents if os.path.lexists(folder)), Path("/"))
    return not os.access(parent, os.X_OK)


# Ctrl-C must end a command with one line even while it still imports its modules. Every command imports this module
# first, so the handler is set here; ``run`` replaces it later. Other programs that import this module get no handler.
_main = getattr(sys.modules["__main__"], "__spec__", None)
_is_command = _main is not None and _main.name.split(".")[0] in ("bench", "generate", "fr_train", "evaluate")
if _is_command and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _end_at_once)
