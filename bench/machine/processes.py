"""The process group of a training or an evaluation: joining it, and values that all of its processes share.

torchrun starts the processes and describes the group in environment variables. Without torchrun there is one process,
and every function here returns its own value.
"""

import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.distributed.nn.functional  # before any group: the defaults of its functions would keep the group alive
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from bench.errors import InputError, Preempted
from bench.machine.device import process_rank

T = TypeVar("T")
Item = TypeVar("Item")
_averaging: "weakref.WeakSet[DistributedDataParallel]" = weakref.WeakSet()
"""Networks of ``average_gradients``. They hold a reference to the group, which must be cut to end it."""


@contextmanager
def process_group(device: str) -> Iterator[torch.device]:
    """Join the process group of torchrun for the block, and yield the device of this process.

    All processes leave the block together. The group and its threads end with the block, because a gloo thread that
    frees a tensor while Python exits would abort the process (SIGABRT). Only if a process on a GPU raises alone is the
    group left open: closing it would make NCCL wait for the other processes, and torchrun ends them anyway.
    """
    _, world_size, device = process_rank(device)
    if world_size == 1:
        yield torch.device(device)
        return
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    backend = "nccl" if device.startswith("cuda") else "gloo"
    dist.init_process_group(backend)
    leaves_together = backend == "gloo"
    try:
        yield torch.device(device)
        dist.barrier()
        leaves_together = True
    except Preempted:
        leaves_together = True  # all processes raise it
        raise
    finally:
        if leaves_together:
            _end_group()


def _end_group() -> None:
    """End the group of this process. Its threads end with the last reference to it."""
    for network in _averaging:
        vars(network).update(process_group=None, reducer=None, logger=None)
    _averaging.clear()
    dist.destroy_process_group()


def average_gradients(network: nn.Module, **options: Any) -> nn.Module:
    """A network whose backward pass averages gradients over the processes; the network itself without a group.

    It works until the block of ``process_group`` ends.

    Args:
        network: The network, on the device of this process.
        options: Further arguments of ``DistributedDataParallel``.
    """
    if not dist.is_initialized():
        return network
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the new name of broadcast_buffers is not in torch 2.9
        averaging = DistributedDataParallel(network, broadcast_buffers=False, **options)
    _averaging.add(averaging)
    return averaging


def joined_rank() -> tuple[int, int]:
    """Rank of this process and number of processes in the group that was joined; (0, 1) without a group.

    ``bench.machine.device.process_rank`` tells the same before a group is joined, from torchrun's environment.
    """
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def flag_of_rank0(flag: bool) -> bool:
    """The flag that rank 0 passed, in every process. All processes must call this."""
    if not dist.is_initialized():
        return flag
    flags = [flag]
    dist.broadcast_object_list(flags)
    return flags[0]


def wait_for_all() -> None:
    """Return when all processes have called this."""
    if dist.is_initialized():
        dist.barrier()


def gather_in_order(value: T) -> list[T]:
    """The values of all processes in order of rank. All processes must call this."""
    if not dist.is_initialized():
        return [value]
    values = [value] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def share_in_order(items: Sequence[Item], work: Callable[[Sequence[Item]], Iterator[T]]) -> Iterator[T]:
    """The results of all items, in order, in every process. Process r works on the items r, r + world_size, ...

    All processes must call this with the same items, and take all results.

    Args:
        items: What there is to do.
        work: Yields one result for each item that it is given, in order. Results are pickled.

    Raises:
        InputError: In every process, if the work of any process raises it.
    """
    rank, world_size = joined_rank()
    if world_size == 1:
        yield from work(items)
        return
    own_results = work(items[rank::world_size])
    for first in range(0, len(items), world_size):
        results = gather_in_order(_next_result(own_results))
        for result in results[: len(items) - first]:
            if not isinstance(result, list):
                raise result if result is not None else RuntimeError("a process has fewer results than items")
            yield result[0]


def _next_result(results: Iterator[T]) -> list[T] | InputError | None:
    """The next result of this process, in a list; the error that it raises; None if no result is left."""
    try:
        for result in results:
            return [result]
    except InputError as error:
        return error
    return None


def merge_over_processes(entries: dict[int, Any]) -> dict[int, Any]:
    """One dictionary with the entries of all processes. All processes must call this."""
    return {key: value for part in gather_in_order(entries) for key, value in part.items()}
