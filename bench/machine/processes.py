"""The process group of a training or an evaluation: joining it, and values that all of its processes share.

torchrun starts the processes and describes the group in environment variables. Without torchrun there is one process,
and every function here returns its own value.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from bench.machine.device import process_rank

T = TypeVar("T")


@contextmanager
def process_group(device: str) -> Iterator[torch.device]:
    """Join the process group of torchrun for the block, and yield the device of this process.

    All processes leave the block together. If one raises, the group is not torn down: the other processes may be
    waiting in a collective call, and torchrun ends them.
    """
    _, world_size, device = process_rank(device)
    if world_size == 1:
        yield torch.device(device)
        return
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    yield torch.device(device)
    dist.barrier()
    dist.destroy_process_group()


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


def rank0_first(function: Callable[[], T]) -> T:
    """Call a function in rank 0, then in the others, and return each one's result. All processes must call this.

    It suits a function that makes a file if it is missing: rank 0 makes it, and the others find it.
    """
    if not dist.is_initialized():
        return function()
    if dist.get_rank() == 0:
        result = function()
        dist.barrier()
        return result
    dist.barrier()
    return function()


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


def merge_over_processes(entries: dict[int, Any]) -> dict[int, Any]:
    """One dictionary with the entries of all processes. All processes must call this."""
    return {key: value for part in gather_in_order(entries) for key, value in part.items()}
