"""One progress bar for every step that takes over two seconds: count, rate, time left."""

import os
import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def progress(
    iterable: Iterable | None = None, *, desc: str, total: int | None = None, unit: str = "image", initial: int = 0
) -> "tqdm[Any]":
    """A tqdm bar on stderr; redraws ten times a second on a terminal, every ten seconds in a log file.

    Of several processes, the first draws it.

    Args:
        iterable: What to walk through, or None to call ``update`` by hand.
        desc: What is being done, two or three words.
        total: Number of units, where ``iterable`` has no length.
        unit: Name of one unit, singular.
        initial: Units done by an earlier, interrupted run.
    """
    return tqdm(
        iterable,
        desc=desc,
        total=total,
        unit=f" {unit}",
        initial=initial,
        dynamic_ncols=True,
        delay=1,
        disable=os.environ.get("RANK", "0") != "0",
        smoothing=0.05,
        mininterval=0.1 if sys.stderr.isatty() else 10,
    )


def note(text: str) -> None:
    """Say a line on stderr, above the bars."""
    tqdm.write(text, file=sys.stderr)
