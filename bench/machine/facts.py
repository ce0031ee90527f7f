"""Facts about a run for its card: cost, machine, versions and code; their schema, and how they are read."""

import hashlib
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict, Field

from bench.machine.device import num_cores


class Section(BaseModel):
    """Base of every section of a card: unknown fields and numbers that are not finite are refused."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), allow_inf_nan=False)


class Cost(Section):
    """What a stage took: time, rate, memory, and price if known."""

    seconds: float = Field(ge=0, description="wall time")
    phases: dict[str, float] = Field({}, description="wall seconds per named phase")
    images: int | None = Field(None, description="images made, seen in training, or embedded")
    images_per_second: float | None = None
    peak_memory_mb: float | None = Field(None, description="largest resident size of any process, MiB")
    peak_gpu_memory_mb: float | None = Field(
        None, exclude_if=lambda size: size is None, description="largest GPU memory held by the first process, MiB"
    )
    device: str = "cpu"
    num_processes: int = 1
    price_per_hour: float | None = Field(None, ge=0, description="of one process's device, from PRICE_PER_HOUR")

    @property
    def device_hours(self) -> float:
        """Hours times number of processes: GPU hours on GPUs, process hours on a CPU."""
        return self.seconds * self.num_processes / 3600

    @property
    def price(self) -> float | None:
        """Device hours times the price per hour; None if no price was given."""
        return None if self.price_per_hour is None else self.device_hours * self.price_per_hour


class Environment(Section):
    """The machine that ran, and versions of Python and packages."""

    platform: str
    cpu: str
    num_cores: int
    memory_gb: float
    gpu: str | None = None
    versions: dict[str, str]


class Git(Section):
    """State of the code; null outside a git checkout."""

    commit: str | None
    dirty: bool | None


_PLAIN_DIFF = ("--full-index", "--binary", "--no-ext-diff", "--no-textconv", "--no-color", "--src-prefix=a/",
               "--dst-prefix=b/")  # fmt: skip
"""What settings of the user's git must not change."""
_CONTROL_GROUPS, _OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_PACKAGES = ("torch", "torchvision", "timm", "numpy", "pillow", "lmdb", "scikit-learn", "mlflow", "onnxruntime")


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


def memory_limit() -> int:
    """Bytes of main memory that this process and its children may use: of the machine, or of its job if that is less.

    SLURM and containers limit a job by its control group: ``memory.max``, or ``memory.limit_in_bytes`` of version 1.
    """
    limits = [psutil.virtual_memory().total]
    try:
        groups = [line.split(":", 2) for line in _OWN_GROUPS.read_text().splitlines()]
    except OSError:
        groups = []
    for _, controllers, name in groups:
        if controllers in ("", "memory"):
            root, file = _CONTROL_GROUPS / controllers, "memory.limit_in_bytes" if controllers else "memory.max"
            folders = [root / name.lstrip("/"), *(root / name.lstrip("/")).parents]
            texts = [(folder / file).read_text() for folder in folders if (folder / file).is_file()]
            limits += [int(text) for text in texts if text.strip().isdecimal()]
    return min(limits)


def changes_digest(root: Path = Path(__file__).parent.parent.parent) -> str:
    """Eight digits that stand for what was changed in tracked files since the commit."""
    changes = _git(root, "diff", *_PLAIN_DIFF, "HEAD") or ""
    return hashlib.sha256(changes.encode()).hexdigest()[:8]


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, errors="replace", check=False
        )
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
