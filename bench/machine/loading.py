"""The batches of a training, made ahead by worker processes, in an order that their number does not change."""

import os
import time
from collections.abc import Iterator
from typing import Generic, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from bench.errors import InputError
from bench.machine.device import num_cores

_MAX_WORKERS = 8
BatchT = TypeVar("BatchT")


def default_workers() -> int:
    """Worker processes of one rank: one per core that the ranks of this machine leave, 1 to 8."""
    num_local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return min(_MAX_WORKERS, max(1, num_cores() // num_local - 1))


def made_ahead(batches: Dataset[BatchT], steps: range, *, num_workers: int | None = None) -> Iterator[BatchT]:
    """The batches of some steps, in order.

    Args:
        batches: ``batches[step]`` is the batch of a step and depends on nothing else.
        steps: Whose batches.
        num_workers: Processes that make them; by default ``default_workers()``, with 0 this one does.

    Raises:
        InputError: If a batch cannot be made; as raised in the worker.
    """
    loader = DataLoader(
        _ErrorsAsItems(batches),
        batch_size=None,
        sampler=steps,
        num_workers=default_workers() if num_workers is None else num_workers,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # else a new loader draws from the run's generator, and a resumed run differs
        worker_init_fn=_one_thread,
    )
    for batch in loader:
        if isinstance(batch, InputError):
            raise batch
        yield batch


def timed(batches: Iterator[BatchT]) -> Iterator[tuple[BatchT, float]]:
    """Each batch, and the seconds that were spent waiting for it."""
    while True:
        start = time.perf_counter()
        try:
            batch = next(batches)
        except StopIteration:
            return
        yield batch, time.perf_counter() - start


class _ErrorsAsItems(Dataset[BatchT | InputError], Generic[BatchT]):
    """Hands bad input from worker to run as it is; a loader would wrap it in the worker's traceback."""

    def __init__(self, batches: Dataset[BatchT]) -> None:
        self._batches = batches

    def __getitem__(self, step: int) -> BatchT | InputError:
        try:
            return self._batches[step]
        except InputError as error:
            return error


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
