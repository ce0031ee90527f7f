"""The device, the rank and the cores of this process."""

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

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # constants of glibc's malloc.h


class Stopwatch:
    """Wall time of a stage and of its named phases, and the price of an hour."""

    def __init__(self) -> None:
        self._price = _price_per_hour()  # read at the start, so that a typing error does not end a stage after hours
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

    def cost(self, *, images: int | None = None, phase: str | None = None, device: str = "cpu") -> Cost:
        """The cost so far. Images per second are those of ``phase``, or of the whole time if None."""
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
    """Price of an hour of one process's device, from the variable PRICE_PER_HOUR; None if it is not set."""
    text = os.environ.get("PRICE_PER_HOUR") or None
    try:
        price = None if text is None else float(text)
    except ValueError:
        price = -1.0
    if price is not None and not 0 <= price < float("inf"):
        raise InputError(f"PRICE_PER_HOUR={text} is no price; give a number, as in PRICE_PER_HOUR=2.5, or leave it out")
    return price


def peak_memory_mb() -> float:
    """Largest resident size in MiB of this process and of any child process that has ended."""
    largest = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return largest / (2**20 if sys.platform == "darwin" else 2**10)  # macOS counts bytes, Linux KiB


def keep_freed_memory() -> None:
    """Make the C library keep freed memory, from now on and in child processes, because each batch needs as much again.

    Returning it and asking again takes a tenth of the time of generating and a seventh of a training step on a CPU.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc's; absent in others
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, 2**30)
            mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def choose_device(name: str) -> str:
    """The torch device that a user named; ``auto`` is a GPU if there is one, else the CPU.

    Raises:
        InputError: If the device does not exist.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"DEVICE={name}, but torch {torch.__version__} sees no GPU; use DEVICE=cpu or mend the driver")
    return name


def process_rank(device: str = "cpu") -> tuple[int, int, str]:
    """Rank of this process, number of processes, and its device; (0, 1, device) without torchrun.

    Under torchrun with device ``cuda``, each process of a machine uses the GPU of its local rank.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size > 1 and device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
    return int(os.environ.get("RANK", "0")), world_size, device


def num_cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environment() -> Environment:
    """The machine, and the versions of Python and of the packages that matter."""
    return Environment(
        platform=platform.platform(),
        cpu=_cpu_name(),
        num_cores=num_cores(),
        memory_gb=round(psutil.virtual_memory().total / 2**30, 1),
        gpu=_gpu_name(),
        versions={"python": platform.python_version()} | {name: _version(name) for name in _PACKAGES if _version(name)},
    )


def git_state(root: Path = Path(__file__).parent.parent.parent) -> Git:
    """Commit of the code, and whether tracked files were changed; both None outside a git checkout."""
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
    torch = sys.modules.get("torch")  # a stage that uses a GPU has imported torch; no other stage needs the import
    if torch is None or not torch.cuda.is_available():
        return None
    return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
