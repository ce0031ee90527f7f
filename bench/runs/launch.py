"""The command that starts a stage of a benchmark, under the launcher that the user names."""

import argparse
import os
import shlex
import sys

from bench.cli import stage_parser
from bench.errors import InputError
from bench.runs.stage import Stage

_PACKAGES = {"generate": "generate", "train": "fr_train", "evaluate": "evaluate"}
_FLAGS = ("scale", "seed", "device", "runs", "test_sets", "weights", "config")


def stage_command(stage: Stage, args: argparse.Namespace) -> list[str]:
    """The command line of a stage, as a list of words.

    The environment variables NPROC and LAUNCH put a launcher before it, and TRAIN_FLAGS are added to the training.

    Args:
        stage: The stage to run.
        args: Values of the stage flags (``bench.cli.add_stage_flags``).

    Raises:
        InputError: If NPROC is not a number of processes.
    """
    flags = [_PACKAGES[stage.name], *_stage_flags(args)]
    if stage.name == "train":
        flags += shlex.split(os.environ.get("TRAIN_FLAGS", ""))
    return [*_launcher(), *flags]


def _launcher() -> list[str]:
    if os.environ.get("LAUNCH"):
        return [*shlex.split(os.environ["LAUNCH"]), "-m"]
    num_processes = os.environ.get("NPROC") or "1"
    if not num_processes.isdecimal() or int(num_processes) < 1:
        raise InputError(f"NPROC={num_processes} is no number of processes; give 1 or more, as in NPROC=2")
    if int(num_processes) == 1:
        return [sys.executable, "-m"]
    return [sys.executable, "-m", "bench.runs.torchrun", "--standalone", f"--nproc-per-node={num_processes}", "-m"]


def _stage_flags(args: argparse.Namespace) -> list[str]:
    """Scale, seed, and the flags that are not at their default, so that the recorded command stays short."""
    defaults = vars(stage_parser("", "").parse_args([]))
    words = []
    for name in _FLAGS:
        value = getattr(args, name)
        if name in ("scale", "seed") or value != defaults[name]:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return words
