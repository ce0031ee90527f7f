"""The device, the rank and the cores of this process."""

import ctypes
import os
import re
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from bench.errors import InputError

if TYPE_CHECKING:
    import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # constants of glibc's malloc.h
_LARGEST_DEFAULT_MMAP = 2**25  # glibc's own threshold grows to this size and no further
_is_kept_for_good = False
_num_blocks = 0
"""Blocks of ``freed_memory_kept`` that run."""


LAUNCH_NUMBER = "BENCH_LAUNCH_NUMBER"
"""Environment variable with a random number that all processes of a launch share (``refuse_different_processes`` sets
it). It differs when a launch is repeated; with --node-rank, id, address and port do not."""


def keep_freed_memory() -> None:
    """Make the C library keep freed memory for the next batch, from now on and in forked processes.

    By default it returns the memory to the system. On a CPU that costs a tenth of the time of generating, a seventh of
    a training step, and a third of the time of embedding.
    """
    global _is_kept_for_good
    _is_kept_for_good = True
    _set_memory_limits(mmap=2**30, trim=2**31 - 1)


@contextmanager
def freed_memory_kept(device: "str | torch.device") -> Iterator[None]:
    """``keep_freed_memory`` for a block that computes on the CPU; on another device the block runs as it is.

    After the last of all such blocks the memory goes back to the system, unless ``keep_freed_memory`` was called. From
    then on single allocations of 32 MiB or more are returned as soon as they are freed, glibc's usual upper limit.
    """
    global _num_blocks
    if not str(device).startswith("cpu"):
        yield
        return
    _num_blocks += 1
    _set_memory_limits(mmap=2**30, trim=2**31 - 1)
    try:
        yield
    finally:
        _num_blocks -= 1
        if not _num_blocks and not _is_kept_for_good:
            _set_memory_limits(mmap=_LARGEST_DEFAULT_MMAP, trim=2 * _LARGEST_DEFAULT_MMAP)
            _call_libc("malloc_trim", 0)


def _set_memory_limits(*, mmap: int, trim: int) -> None:
    """Set limits of glibc in bytes: allocations from ``mmap`` on, and free memory above ``trim``, are returned."""
    _call_libc("mallopt", _M_MMAP_THRESHOLD, mmap)
    _call_libc("mallopt", _M_TRIM_THRESHOLD, trim)


def _call_libc(function: str, *arguments: int) -> None:
    """Call a function of glibc; other C libraries do not have it."""
    if sys.platform == "linux":
        call = getattr(ctypes.CDLL(None), function, None)
        if call is not None:
            call(*arguments)


def choose_device(name: str, num_processes: int | None = None) -> str:
    """The torch device that a user named; ``auto`` is a GPU if there is one, else the CPU.

    Args:
        name: auto, cpu, cuda or cuda:N.
        num_processes: Processes that will run on this machine; None for those that torchrun has started.

    Raises:
        InputError: If the device does not exist, is neither a CPU nor a GPU of CUDA, or has fewer GPUs than processes.
    """
    import torch

    if not re.fullmatch(r"auto|cpu|cuda(:(0|[1-9][0-9]{0,2}))?", name):
        raise InputError(f"DEVICE={name} is no device; give auto, cpu, cuda or cuda:N")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"DEVICE={name}, but torch {torch.__version__} sees no GPU; use DEVICE=cpu, or fix the driver")
    _check_processes_fit(name, torch.cuda.device_count(), num_processes or int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    index = int(name.partition(":")[2] or 0)
    if name.startswith("cuda") and index >= torch.cuda.device_count():
        last = torch.cuda.device_count() - 1
        raise InputError(f"DEVICE={name}, but torch sees the GPUs cuda:0 to cuda:{last}; give one of them")
    return name


def _check_processes_fit(name: str, num_gpus: int, num_processes: int) -> None:
    """Refuse more processes on this machine than GPUs, and several processes on one GPU that was named.

    Raises:
        InputError: If they do not fit.
    """
    if not name.startswith("cuda") or num_processes == 1:
        return
    if name != "cuda":
        raise InputError(f"DEVICE={name} names one GPU for {num_processes} processes; set DEVICE=cuda, or NPROC=1")
    if num_processes > num_gpus:
        raise InputError(
            f"NPROC={num_processes}, but this machine has {num_gpus} GPUs; set NPROC={num_gpus}, or DEVICE=cpu"
        )


def process_rank(device: str = "cpu") -> tuple[int, int, str]:
    """Rank of this process, number of processes, and its device; (0, 1, device) without torchrun.

    Under torchrun with device ``cuda``, each process of a machine uses the GPU of its local rank.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size > 1 and device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
    return int(os.environ.get("RANK", "0")), world_size, device


def launch_id() -> str:
    """A name of this launch of several processes, equal in all of them and different for the next launch.

    Call it after ``refuse_different_processes``.
    """
    names = ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT", LAUNCH_NUMBER)
    return "-".join(os.environ.get(name, "") for name in names)


def forked_rng(device: "torch.device") -> AbstractContextManager[None]:
    """A block after which torch's random numbers go on as before, on the CPU and on this device.

    torch's own default reads the state of every GPU of the machine, and warns.
    """
    import torch

    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


def num_cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cores_of_process() -> int:
    """Number of cores for this process alone: its share of those of the machine, at least 1."""
    return max(1, num_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def use_every_core(num_processes: int) -> None:
    """Let torch use as many threads as there are cores, for any number of processes.

    Sums round differently with another number of threads, so the number must not depend on that of the processes.
    OMP_NUM_THREADS is respected, except for the 1 that torchrun sets when it starts several processes.

    Args:
        num_processes: Processes that share the work.
    """
    import torch

    threads = os.environ.get("OMP_NUM_THREADS")
    if threads is None or (num_processes > 1 and threads == "1"):
        torch.set_num_threads(num_cores())
