"""Checks of a device, run one after the other within a time limit: functions in, rows of a table out.

A check that raises has failed, and the next one runs. Without a GPU, checks that need one are skipped, and the others
run on the CPU in small sizes, which tests the checks but says nothing about a GPU.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.machine.progress import note
from bench.machine.stopwatch import peak_memory_mb
from bench.speed import Row

TIME_LIMIT_SECONDS = 270.0
"""No check starts later than this, so that the whole takes five minutes at most."""


@dataclass(frozen=True)
class Finding:
    """Outcome of a check."""

    detail: str
    """What was compared, with the numbers."""
    images_per_second: float | None = None
    is_passed: bool = True


@dataclass(frozen=True)
class Check:
    """One thing to prove about a device."""

    name: str
    measure: Callable[[str], Finding]
    """Device -> outcome; it fails by raising, or by an outcome that is not passed."""
    needs_gpu: bool = False
    """Whether the check makes no sense on a CPU."""


def run_checks(checks: Sequence[Check], device: str, *, time_limit: float = TIME_LIMIT_SECONDS) -> list[Row]:
    """Run all checks on a device.

    Args:
        checks: The checks, the most important ones first.
        device: cpu, cuda or cuda:N.
        time_limit: Seconds after which no further check starts.

    Returns:
        A row per check: name, result (passed, failed or skipped), images/s, peak memory in MiB, and details.
    """
    start, rows = time.perf_counter(), list[Row]()
    for check in checks:
        if check.needs_gpu and not device.startswith("cuda"):
            row = _row(check, "skipped", "needs a GPU of CUDA, and this machine has none")
        elif time.perf_counter() - start > time_limit:
            row = _row(check, "skipped", f"{time_limit:.0f} seconds were over")
        else:
            row = _run(check, device)
        note(f"{row['check']}: {row['result']} ({row['detail']})")
        rows.append(row)
    return rows


def _run(check: Check, device: str) -> Row:
    _forget_peak_memory(device)
    start = time.perf_counter()
    try:
        finding = check.measure(device)
    except Exception as error:  # whatever breaks on a GPU is a finding, and the other checks still count
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        return _row(check, "failed", reason)
    row = _row(check, "passed" if finding.is_passed else "failed", finding.detail)
    figures = {"images/s": finding.images_per_second, "peak memory MiB": _peak_memory_mb(device)}
    return {**row, **figures, "seconds": time.perf_counter() - start}


def _row(check: Check, result: str, detail: str) -> Row:
    row: Row = {"check": check.name, "result": result, "images/s": None, "peak memory MiB": None, "seconds": None}
    return {**row, "detail": detail}


def _forget_peak_memory(device: str) -> None:
    if device.startswith("cuda"):
        import torch

        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def _peak_memory_mb(device: str) -> float:
    """Peak memory in MiB: of torch's allocator on a GPU since the check began, else of this process."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device) / 2**20
    return peak_memory_mb()


def rate(step: Callable[[], int], device: str, *, num_steps: int, num_warm: int = 1) -> float:
    """Images per second of a step that returns its number of images, after untimed steps.

    Args:
        step: What to repeat.
        device: A GPU is waited for before the clock is read.
        num_steps: Timed steps.
        num_warm: Untimed steps before them, in which libraries choose their kernels.
    """
    for _ in range(num_warm):
        step()
    synchronise(device)
    start = time.perf_counter()
    num_images = sum(step() for _ in range(num_steps))
    synchronise(device)
    return num_images / (time.perf_counter() - start)


def synchronise(device: str) -> None:
    """Wait until a GPU has done all its work; nothing on a CPU."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)
