"""The process that runs: device, machine, versions, git state, memory, and a timer of named phases."""

import ctypes
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import psutil

from bench.errors import InputError
from bench.runs.cards import Cost, Environment, Git

_PACKAGES = ("torch", "torchvision", "timm", "numpy", "pillow", "lmdb", "scikit-learn", "mlflow", "onnxruntime")

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


class Stopwatch:
    """Wall time of a stage and of its named phases, and what an hour costs."""

    def __init__(self) -> None:
        self._price = _price_per_hour()  # now: a mistake in it must not end a stage after hours
        self._start = time.perf_counter()
        self.phases: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time of the block to ``phases[name]``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.phases[name] = self.phases.get(name, 0.0) + time.perf_counter() - start

    def carry(self, name: str, seconds: float) -> None:
        """Add what an earlier, interrupted run of the stage took to ``phases[name]`` and to the whole."""
        self._start -= seconds
        self.phases[name] = self.phases.get(name, 0.0) + seconds

    def cost(self, *, images: int | None = None, phase: str | None = None, device: str = "cpu") -> Cost:
        """The cost so far; the rate is of ``phase`` alone, or of the whole time without one."""
        seconds = time.perf_counter() - self._start
        rate_seconds = self.phases.get(phase, seconds) if phase else seconds
        return Cost(
            seconds=round(seconds, 3),
            phases={name: round(value, 3) for name, value in self.phases.items()},
            images=images,
            images_per_second=round(images / rate_seconds, 2) if images and rate_seconds else None,
            peak_memory_mb=round(peak_memory_mb(), 1),
            device=device,
            num_processes=int(os.environ.get("WORLD_SIZE", "1")),
            price_per_hour=self._price,
        )


def _price_per_hour() -> float | None:
    """What an hour of one process's device costs, as PRICE_PER_HOUR says; None where it says nothing."""
    text = os.environ.get("PRICE_PER_HOUR") or None
    try:
        price = None if text is None else float(text)
    except ValueError:
        price = -1.0
    if price is not None and not 0 <= price < float("inf"):
        raise InputError(f"PRICE_PER_HOUR={text} is no price; give a number, as in PRICE_PER_HOUR=2.5, or leave it out")
    return price


def peak_memory_mb() -> float:
    """Largest resident size of this process or of any child that has ended, MiB."""
    largest = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return largest / (2**20 if sys.platform == "darwin" else 2**10)  # macOS counts bytes, Linux KiB


def keep_freed_memory() -> None:
    """Let the C library keep freed blocks, from now on and in child processes: each batch needs the same ones.

    Asking the system for them again takes a tenth of the time of generating, and a seventh of a training step on a CPU.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc's; absent in others
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, 2**30)
            mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def choose_device(name: str) -> str:
    """The torch device to use: ``auto`` takes a GPU where there is one.

    Raises:
        InputError: If the device is not there.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"DEVICE={name}, but torch {torch.__version__} sees no GPU; use DEVICE=cpu or mend the driver")
    return name


def process_rank(device: str = "cpu") -> tuple[int, int, str]:
    """Rank, number of processes and device of this process, as torchrun tells them; (0, 1, device) without it.

    Under torchrun on GPUs each process of a machine takes the GPU of its local rank.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size > 1 and device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
    return int(os.environ.get("RANK", "0")), world_size, device


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environment() -> Environment:
    """Machine and versions as they are now."""
    return Environment(
        platform=platform.platform(),
        cpu=_cpu_name(),
        num_cores=num_cores(),
        memory_gb=round(psutil.virtual_memory().total / 2**30, 1),
        gpu=_gpu_name(),
        versions={"python": platform.python_version()} | {name: _version(name) for name in _PACKAGES if _version(name)},
    )


def git_state(root: Path = Path(__file__).parent.parent.parent) -> Git:
    """Commit of the code and whether tracked files were changed; nulls outside a checkout."""
    commit = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    return Git(commit=commit or None, dirty=None if changes is None or not commit else bool(changes))


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _gpu_name() -> str | None:
    torch = sys.modules.get("torch")  # not worth an import: a stage that uses a GPU has imported it
    if torch is None or not torch.cuda.is_available():
        return None
    return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
