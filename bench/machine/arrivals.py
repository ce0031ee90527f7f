"""Which machines of a launch have started: a file each in a folder that all of them see.

torchrun says that some machine did not come in time, but not which one. Every launcher therefore leaves its name in
``RUNS/.launch/<id of the launch>``, and one that waited in vain reads the names there.
"""

import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_DEFAULT_TIMEOUT_SECONDS = 600
"""torchrun's own limit for the arrival of all machines."""
_SLACK_SECONDS = 60


@contextmanager
def noted_arrival(arguments: Sequence[str]) -> Iterator[Callable[[], str]]:
    """Note that this machine has started, for the block.

    Args:
        arguments: Arguments of torchrun and of the stage that it starts.

    Yields:
        A function that says in one line which machines did not come; call it when torchrun has waited in vain.
    """
    num_machines = _option(arguments, "nnodes", "1").rpartition(":")[2]
    folder = Path(_option(arguments, "runs", "runs"), ".launch", _option(arguments, "rdzv-id", "none"))
    timeout = re.search(r"(?:^|,)(?:join_)?timeout=([0-9]+)", _option(arguments, "rdzv-conf", ""))
    seconds = int(timeout[1]) if timeout else _DEFAULT_TIMEOUT_SECONDS

    def describe_missing() -> str:
        return _describe_missing(folder, int(num_machines), seconds)

    if num_machines == "1":
        yield describe_missing
        return
    path = folder / _own_name()
    with suppress(OSError):  # RUNS cannot be written: the stage will say so
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(str(os.getpid()))
    try:
        yield describe_missing
    finally:
        with suppress(OSError):  # not empty, as others are still there
            path.unlink(missing_ok=True)
            folder.rmdir()


def _describe_missing(folder: Path, num_machines: int, seconds: int) -> str:
    if num_machines == 1:
        return "the processes of this machine lost each other; see what each of them printed, and start them again"
    oldest = time.time() - seconds - _SLACK_SECONDS  # a file before that was left by a launch that was killed
    times = {}
    for path in folder.glob("*"):
        with suppress(FileNotFoundError):  # that machine has just ended
            times[path.name] = path.stat().st_mtime
    arrived = sorted(name for name, changed in times.items() if changed >= oldest)
    has_met_before = times.get(_own_name(), oldest) < oldest  # this launch has run longer than it would have waited
    if len(arrived) >= num_machines or has_met_before:
        return (
            f"the connection between the machines {', '.join(sorted(times))} broke, or one of them ended; see what "
            "each of them printed, and start the same command on all of them again"
        )
    missing = [name for name in _expected_names() if name not in arrived]
    what = ", ".join(missing) if missing else f"{num_machines - len(arrived)} of {num_machines} machines"
    return (
        f"{what} did not come within {seconds} s (here: {', '.join(arrived) or 'none'}); start the same command there, "
        "check that the machines reach the address of --rdzv-endpoint, or raise --rdzv-conf join_timeout=SECONDS"
    )


def _own_name() -> str:
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def _expected_names() -> list[str]:
    """Names of all machines of the launch: from NODES, or from SLURM; empty if neither tells."""
    if nodes := os.environ.get("NODES"):
        return nodes.split()
    if not (nodes := os.environ.get("SLURM_JOB_NODELIST")):
        return []
    try:
        done = subprocess.run(["scontrol", "show", "hostnames", nodes], capture_output=True, text=True, check=False)
    except OSError:
        return []
    return done.stdout.split()


def _option(arguments: Sequence[str], name: str, default: str) -> str:
    """Value of an option, given as ``--name value`` or ``--name=value``, with dashes or underscores."""
    names = {f"--{name}", f"--{name.replace('-', '_')}"}
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if argument in names:
            return following
        option, separator, value = argument.partition("=")
        if separator and option in names:
            return value
    return default
