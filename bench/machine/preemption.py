"""SIGTERM and SIGUSR1, by which a scheduler announces that it will end a run.

A training remembers the signal until all its processes are between two steps, writes its checkpoint, and ends with
``bench.errors.Preempted``. Started again, it goes on from there. A sweep sends the signal to its stages and waits.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
ENDED_BY_SIGNAL = frozenset(128 + number for number in (signal.SIGINT, *SIGNALS))
"""Statuses of a command that a user or a scheduler ended, not a fault of its own."""
_STEPS_BETWEEN_QUESTIONS = 20
"""On GPUs, since asking makes all processes wait for each other. On a CPU, whose steps are slow, every step asks."""


class Preemption:
    """The signal that this process has received, if any."""

    def __init__(self) -> None:
        self.number = 0
        """Number of the signal, 0 for none."""

    def note(self, number: int, _: Any) -> None:
        """Remember a signal; the signal handler of ``SIGNALS``."""
        self.number = number

    def agreed_signal(self, step: int, device_type: str) -> int:
        """Number of the signal that any of the processes has received, 0 for none. All processes must call this.

        Args:
            step: Number of steps done, the same in all processes.
            device_type: cpu or cuda. On a GPU only every 20th step asks; at the others the answer is 0.
        """
        from bench.machine.processes import gather_in_order  # imports torch, which a sweep can do without

        if device_type != "cpu" and step % _STEPS_BETWEEN_QUESTIONS:
            return 0
        return max(gather_in_order(self.number))


@contextmanager
def noted_preemption() -> Iterator[Preemption]:
    """Remember ``SIGNALS`` instead of ending at once, for the block.

    Only the main thread may do that; in another one the signals keep their effect.
    """
    preemption = Preemption()
    if threading.current_thread() is not threading.main_thread():
        yield preemption
        return
    before = {number: signal.signal(number, preemption.note) for number in SIGNALS}
    try:
        yield preemption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
