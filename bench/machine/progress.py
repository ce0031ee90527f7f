"""Progress bars with count, rate and time left, for every step that takes more than two seconds.

Set the environment variable ``BENCH_PROGRESS=0`` to switch all bars off. Warnings and notes are still printed.
"""

import os
import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

_SWITCH = "BENCH_PROGRESS"


def progress(
    iterable: Iterable | None = None, *, desc: str, total: int | None = None, unit: str = "image", initial: int = 0
) -> "tqdm[Any]":
    """A tqdm bar on stderr. It redraws ten times a second on a terminal and every ten seconds in a log file.

    Only rank 0 draws it, and no process does under ``BENCH_PROGRESS=0``.

    Args:
        iterable: Items to iterate over, or None to call ``update`` by hand.
        desc: Two or three words on what is being done.
        total: Number of units, where ``iterable`` has no length.
        unit: Name of one unit, singular.
        initial: Units that an earlier, interrupted run did.
    """
    return tqdm(
        iterable,
        desc=desc,
        total=total,
        unit=f" {unit}",
        initial=initial,
        dynamic_ncols=True,
        delay=1,
        disable=os.environ.get("RANK", "0") != "0" or os.environ.get(_SWITCH) == "0",
        smoothing=0.05,
        mininterval=0.1 if sys.stderr.isatty() else 10,
    )


def note(text: str) -> None:
    """Print one line on stderr, above the bars."""
    tqdm.write(text, file=sys.stderr)
