"""The flags that every command has, and one line in place of a traceback for what a user can mend."""

import argparse
import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path

from bench.config.benchmarks import BENCHMARKS_PATH
from bench.errors import InputError

_DISK_ERRORS = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the quota is used up", errno.EROFS: "it is read-only"}


def stage_parser(program: str, description: str) -> argparse.ArgumentParser:
    """A parser with the flags that are the same everywhere: what to run, where files are, on which device."""
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description=description)
    add_stage_flags(parser)
    return parser


def add_stage_flags(parser: argparse.ArgumentParser) -> None:
    """Add --scale, --seed, --device, --runs, --test-sets, --weights and --config."""
    parser.add_argument("--scale", default="smoke", help="entry of benchmarks.yaml (default: smoke)")
    parser.add_argument("--seed", type=int, default=0, help="seed of generation and training (default: 0)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs (default: runs)")
    parser.add_argument("--test-sets", type=Path, default=Path("test_sets"), help="folder of verification sets")
    parser.add_argument("--weights", type=Path, default=Path("weights"), help="folder of downloaded weights")
    parser.add_argument(
        "--config", type=Path, default=BENCHMARKS_PATH, help="the benchmarks (default: benchmarks.yaml)"
    )


def run(main: Callable[[], int | None]) -> None:
    """Run a command: bad input ends in one line on stderr and status 2, Ctrl-C in status 130."""
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
    sys.stderr.write(f"error: {message}\n")
    sys.exit(2)
