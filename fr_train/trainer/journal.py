"""The journal of a run, ``train.jsonl``: a line every few seconds and at the end of every epoch.

A line has step, time (Unix seconds), loss and gradient norm of that step, lr; images_per_second and data_wait_share
(share of the time spent waiting for faces) since the line before, over all processes and of the first; memory_mb, the
peak of the first process in MiB, of its GPU where it has one; the load of the machine under MLflow's names for it; and
after a validation ``NAME/accuracy`` and ``mean/accuracy``.
"""

import time
from pathlib import Path
from typing import Any

import psutil
import torch

from bench.machine.device import peak_memory_mb
from bench.machine.journal import JournalFile, journal_line

SECONDS_BETWEEN_LINES = 5.0


class Journal:
    """Counts, and writes lines.

    Args:
        path: The file; lines after ``step``, of a run that was interrupted, are dropped.
        step: Steps done.
        device: Of this process.
        is_writing: Whether this process writes; the others count only.
    """

    def __init__(self, path: Path, step: int, device: torch.device, *, is_writing: bool) -> None:
        self._file, self._device = JournalFile(path, step, is_writing=is_writing), device
        self.last: dict[str, Any] = self._file.earlier_lines[-1] if self._file.earlier_lines else {}
        """The last line."""
        self._all_waited = self._all_seconds = 0.0
        self._reset()

    def _reset(self) -> None:
        self._start, self._waited, self._images = time.perf_counter(), 0.0, 0

    def count(self, images: int, waited: float) -> None:
        """Count a step: images of all processes, seconds that this one waited for its share."""
        self._images += images
        self._waited += waited

    @property
    def is_due(self) -> bool:
        """Whether it is time for a line."""
        return time.perf_counter() - self._start >= SECONDS_BETWEEN_LINES

    @property
    def data_wait_share(self) -> float | None:
        """Share of the time of all lines that was spent waiting for faces; None before the first."""
        return self._all_waited / self._all_seconds if self._all_seconds else None

    def line(self, step: int, values: dict[str, Any]) -> dict[str, Any]:
        """A line of these values and of the figures since the one before; whatever follows it is not counted.

        Args:
            step: Steps done.
            values: Loss, gradient norm, lr; numbers or tensors.
        """
        seconds = time.perf_counter() - self._start
        self._all_waited += self._waited
        self._all_seconds += seconds
        figures = {name: float(value) for name, value in values.items()}
        figures |= {"images_per_second": self._images / seconds, "data_wait_share": self._waited / seconds}
        figures |= {"memory_mb": self._memory_mb()} | _machine_load(self._device)
        return journal_line(step, figures)

    def write(self, line: dict[str, Any]) -> None:
        """Append a line, and begin to count anew."""
        self.last = line
        self._file.append(line)
        self._reset()

    def _memory_mb(self) -> float:
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / 2**20
        return peak_memory_mb()


def _machine_load(device: torch.device) -> dict[str, float]:
    """Load of the whole machine, under the names of MLflow's system metrics."""
    memory = psutil.virtual_memory()
    load = {
        "system/cpu_utilization_percentage": psutil.cpu_percent(),
        "system/system_memory_usage_megabytes": (memory.total - memory.available) / 1e6,
        "system/system_memory_usage_percentage": memory.percent,
    }
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        load["system/gpu_0_memory_usage_megabytes"] = (total - free) / 1e6
        load["system/gpu_0_memory_usage_percentage"] = 100 * (1 - free / total)
    return load
