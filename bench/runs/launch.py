"""Start a stage of a benchmark, under the launcher that the user names.

``python -m bench.runs.launch generate|train|evaluate|audit FLAGS`` is what ``make generate`` and the like call.
"""

import os
import shlex
import signal
import subprocess
import sys
import threading
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

from bench.cli import add_seeds_flag, chosen_seeds, run, stage_parser
from bench.config.benchmarks import load_benchmark
from bench.errors import InputError
from bench.runs.stage import Stage

_PACKAGES = {"generate": "generate", "train": "fr_train", "evaluate": "evaluate"}
_SECONDS_TO_END = 10.0
_FLAGS = ("scale", "seed", "device", "runs", "test_sets", "weights", "config", "set")


def main() -> int:
    """Start the stage that the first word of the command line names, once for each seed, or an audit.

    All flags are those of the stage, except ``--seeds``. The first seed that fails ends the command.
    """
    name, *words = sys.argv[1:] or [""]
    if name not in (*_PACKAGES, "audit"):
        problem = f"{name} is no stage" if name else "no stage was given"
        raise InputError(f"{problem}; give generate, train, evaluate or audit, and its flags")
    if name == "audit":
        return run_command([*launcher(), "evaluate", "audit", *words])
    flags, seeds = _take_seeds(words)
    for seed in seeds:
        if status := run_command([*launcher(), _PACKAGES[name], *flags, f"--seed={seed}", *_train_flags(name)]):
            return status
    return 0


def _take_seeds(words: Sequence[str]) -> tuple[list[str], tuple[int, ...]]:
    """The flags without those of seeds, and the seeds that they choose: by default those of the entry."""
    parser = stage_parser("bench.runs.launch", "")
    add_seeds_flag(parser)
    args, _ = parser.parse_known_args(words)
    flags = [word for word in words if not word.startswith(("--seed=", "--seeds="))]
    return flags, chosen_seeds(args, load_benchmark(args.scale, args.config, args.set).seeds)


def run_command(command: Sequence[str], *, is_quiet: bool = False, log: IO[bytes] | None = None) -> int:
    """Run a command of this suite, which prints its own errors, and return its status.

    On Ctrl-C the terminal interrupts the command too. If the command does not end soon (because only this process was
    interrupted), it is interrupted again from here. SIGTERM and SIGUSR1 are forwarded to it; the status is then not 0.

    Args:
        command: The words of the command line.
        is_quiet: Whether its stdout is thrown away.
        log: File for its stderr, in place of that of this process.

    Raises:
        InputError: If the command cannot be started.
    """
    try:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL if is_quiet else None, stderr=log)
    except OSError as error:
        raise InputError(f"{command[0]} cannot be started ({error.strerror}); correct LAUNCH") from None
    try:
        with _forwarded_signals(process) as forwarded:
            status = process.wait()
    except KeyboardInterrupt:
        if _wait_interrupted(process) == 128 + signal.SIGINT:
            sys.exit(128 + signal.SIGINT)  # it has said that it was interrupted
        raise
    if status == 0 and forwarded:
        return 128 + forwarded[-1]  # the command was nearly done; the caller must not start the next one
    return status if status >= 0 else 128 - status  # a negative status is the signal that ended the process


@contextmanager
def _forwarded_signals(process: subprocess.Popen) -> Iterator[list[int]]:
    """Forward the signals by which a scheduler ends a run, so that the command can write its checkpoint and end.

    Yields:
        A list that gets the number of every signal.
    """
    forwarded: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield forwarded  # only the main thread may set handlers
        return

    def forward(number: int, _: Any) -> None:
        forwarded.append(number)
        process.send_signal(number)

    before = {number: signal.signal(number, forward) for number in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        yield forwarded
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait_interrupted(process: subprocess.Popen) -> int:
    while True:
        try:
            return process.wait(timeout=_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)


def stage_command(stage: Stage, args: Namespace) -> list[str]:
    """The command line of a stage, as a list of words.

    The environment variables NPROC and LAUNCH put a launcher before it, and TRAIN_FLAGS are added to the training.

    Args:
        stage: The stage to run.
        args: Values of the stage flags (``bench.cli.add_stage_flags``).

    Raises:
        InputError: If NPROC is not a number of processes.
    """
    return [*launcher(), _PACKAGES[stage.name], *_stage_flags(args), *_train_flags(stage.name)]


def _train_flags(name: str) -> list[str]:
    return words_of("TRAIN_FLAGS") if name == "train" else []


def launcher() -> list[str]:
    """The words before the name of a package: those of LAUNCH, or torchrun for NPROC processes, or this Python.

    Raises:
        InputError: If NPROC is not a number of processes, or LAUNCH is no command line.
    """
    if words := words_of("LAUNCH"):
        return [*words, "-m"]
    if num_processes() == 1:
        return [sys.executable, "-m"]
    return [sys.executable, "-m", "bench.runs.torchrun", "--standalone", f"--nproc-per-node={num_processes()}", "-m"]


def num_processes() -> int:
    """Number of processes on this machine, from NPROC.

    Raises:
        InputError: If NPROC is not a number of processes.
    """
    text = os.environ.get("NPROC") or "1"
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"NPROC={text} is no number of processes; give 1 or more, as in NPROC=2")
    return int(text)


def words_of(variable: str) -> list[str]:
    """The words of a variable of the environment, split as a shell splits them.

    Raises:
        InputError: If a quote is not closed.
    """
    text = os.environ.get(variable, "")
    try:
        return shlex.split(text)
    except ValueError as error:
        raise InputError(f"{variable}={text} is no command line ({error}); correct its quotes") from None


def _stage_flags(args: Namespace) -> list[str]:
    """Scale, seed, and the flags that are not at their default, so that the recorded command stays short."""
    defaults = vars(stage_parser("", "").parse_args([]))
    words = []
    for name in _FLAGS:
        value = getattr(args, name)
        if name in ("scale", "seed") or value != defaults[name]:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return words


if __name__ == "__main__":
    run(main)
