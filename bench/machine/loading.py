"""Batches of a training run, prepared in advance by worker processes; their number does not change the order.

In: a data set whose item ``s`` is the batch of step ``s``. Out: an iterator over batches, optionally with the time that
the caller waited for each.
"""

import signal
import time
from collections.abc import Iterator
from typing import Generic, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from bench.errors import InputError
from bench.machine.device import cores_of_process

_MAX_WORKERS = 8
BatchT = TypeVar("BatchT")


def default_workers() -> int:
    """Number of worker processes per rank: the rank's share of this machine's cores less one, from 1 to 8."""
    return min(_MAX_WORKERS, max(1, cores_of_process() - 1))


def prefetched_batches(batches: Dataset[BatchT], steps: range, *, num_workers: int | None = None) -> Iterator[BatchT]:
    """The batches of ``steps``, in order, while workers prepare the next ones.

    Args:
        batches: ``batches[step]`` is the batch of a step. It must depend on nothing but ``step``.
        steps: Steps to iterate over.
        num_workers: Worker processes. None takes ``default_workers()``; 0 prepares batches in this process.

    Raises:
        InputError: If a batch cannot be prepared. The error is the one that the worker raised.
    """
    loader = DataLoader(
        _ErrorsAsItems(batches),
        batch_size=None,
        sampler=steps,
        num_workers=default_workers() if num_workers is None else num_workers,
        pin_memory=torch.cuda.is_available(),
        # Without its own generator a loader draws from the global one, and a resumed run would differ.
        generator=torch.Generator(),
        worker_init_fn=_start_worker,
    )
    for batch in loader:
        if isinstance(batch, InputError):
            raise batch
        yield batch


def timed(batches: Iterator[BatchT]) -> Iterator[tuple[BatchT, float]]:
    """Each batch with the seconds that were spent waiting for it."""
    while True:
        start = time.perf_counter()
        try:
            batch = next(batches)
        except StopIteration:
            return
        yield batch, time.perf_counter() - start


class _ErrorsAsItems(Dataset[BatchT | InputError], Generic[BatchT]):
    """Returns an ``InputError`` as an item, because a ``DataLoader`` would wrap it in the worker's traceback."""

    def __init__(self, batches: Dataset[BatchT]) -> None:
        self._batches = batches

    def __getitem__(self, step: int) -> BatchT | InputError:
        try:
            return self._batches[step]
        except InputError as error:
            return error


def _start_worker(_: int) -> None:
    torch.set_num_threads(1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # the process that uses the batches ends its workers
