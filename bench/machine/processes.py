"""The processes of a training: joining them, and what they must agree on.

Without torchrun there is one, and it is alone.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist

from bench.machine.device import process_rank


@contextmanager
def process_group(device: str) -> Iterator[torch.device]:
    """Join the group that torchrun describes, for the block; yields the device of this process.

    Nobody leaves before all have come to the end of the block. After an error the group is left as it is: the others
    may wait in it, and torchrun ends them.
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


def first_says(flag: bool) -> bool:
    """The flag of the first process, in all of them; every process must call."""
    if not dist.is_initialized():
        return flag
    flags = [flag]
    dist.broadcast_object_list(flags)
    return flags[0]


def union(parts: dict[int, Any]) -> dict[int, Any]:
    """The dictionaries of all processes as one; every process must call."""
    if not dist.is_initialized():
        return parts
    every: list[dict[int, Any]] = [{}] * dist.get_world_size()
    dist.all_gather_object(every, parts)
    return {key: value for part in every for key, value in part.items()}
