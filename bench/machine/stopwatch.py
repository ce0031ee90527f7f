"""Wall time, memory and price of a stage, measured while it runs."""

import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.errors import InputError
from bench.machine.facts import Cost


class Stopwatch:
    """Wall time of a stage and of its named phases, and the price of an hour."""

    def __init__(self) -> None:
        self._price = _price_per_hour()  # read first, so that a mistyped price fails before the work
        self._start = time.perf_counter()
        self.phases: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the wall time of the block to ``phases[name]``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.phases[name] = self.phases.get(name, 0.0) + time.perf_counter() - start

    def carry(self, name: str, seconds: float) -> None:
        """Add the seconds of an earlier, interrupted run of the stage to ``phases[name]`` and to the total."""
        self._start -= seconds
        self.phases[name] = self.phases.get(name, 0.0) + seconds

    def cost(
        self,
        *,
        images: int | None = None,
        phase: str | None = None,
        device: str = "cpu",
        num_processes: int | None = None,
    ) -> Cost:
        """The cost so far.

        Args:
            images: Number of images.
            phase: Phase whose time gives the images per second; None for the whole time.
            device: Device that was used.
            num_processes: Number of processes that worked; None for all that torchrun started.
        """
        seconds = time.perf_counter() - self._start
        rate_seconds = self.phases.get(phase, seconds) if phase else seconds
        return Cost(
            seconds=round(seconds, 3),
            phases={name: round(value, 3) for name, value in self.phases.items()},
            images=images,
            images_per_second=round(images / rate_seconds, 2) if images and rate_seconds else None,
            peak_memory_mb=round(peak_memory_mb(), 1),
            peak_gpu_memory_mb=peak_gpu_memory_mb(device),
            device=device,
            num_processes=num_processes or int(os.environ.get("WORLD_SIZE", "1")),
            price_per_hour=self._price,
        )


def _price_per_hour() -> float | None:
    """Price of an hour of one process's device, from the variable PRICE_PER_HOUR; None if it is not set."""
    text = os.environ.get("PRICE_PER_HOUR") or None
    try:
        price = None if text is None else float(text)
    except ValueError:
        price = -1.0
    if price is not None and not 0 <= price < float("inf"):
        raise InputError(f"PRICE_PER_HOUR={text} is no price; give a number, as in PRICE_PER_HOUR=2.5, or leave it out")
    return price


def peak_gpu_memory_mb(device: str) -> float | None:
    """Largest memory in MiB that torch took from a GPU for this process; None on a CPU.

    That is what must fit: more than the tensors, since torch keeps freed memory.
    """
    if not device.startswith("cuda"):
        return None
    import torch  # here, so that commands that use no network start quickly

    return round(torch.cuda.max_memory_reserved(device) / 2**20, 1)


def peak_memory_mb() -> float:
    """Largest resident size in MiB of this process and of any child process that has ended."""
    largest = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return largest / (2**20 if sys.platform == "darwin" else 2**10)  # macOS counts bytes, Linux KiB
