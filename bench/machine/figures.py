"""Numbers that the loops of a running process report, such as its loss and its counts of images.

Trainers, generation and evaluation report; ``bench.runs.tracking.live`` listens and sends the numbers to MLflow.
Without a listener a report does nothing, so that a loop need not know whether its run is tracked.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

Line = Mapping[str, int | float | None]
"""``step``, ``time`` (Unix time, seconds) and numbers by name; None for a number that is not finite."""
Listener = Callable[[Line], object]
"""Called by the thread that reports. It must return at once and not raise."""
_listeners: list[Listener] = []
_num_images: Counter[str] = Counter()


def report(line: Line) -> None:
    """Hand a line of numbers, with ``step`` and ``time``, to all listeners."""
    for listener in _listeners:
        listener(line)


def count_images(work: str, num: int) -> None:
    """Count images that this process has finished.

    Args:
        work: What is done with them, in one word, such as ``render``.
        num: Number of images since the last call.
    """
    _num_images[work] += num


def images_counted() -> dict[str, int]:
    """Number of images that this process has finished, by kind of work."""
    return dict(_num_images)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Hand every line that is reported within the block to ``listener``."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
