"""The journal of a run, ``train.jsonl``: a line every five seconds and at the end of every epoch.

| field | meaning |
|---|---|
| step, time | steps done; Unix time, seconds |
| loss, grad_norm, lr | of that step; grad_norm of the backbone before clipping |
| images_per_second | since the previous line, over all processes |
| data_wait_share | share of the time since the previous line that rank 0 waited for faces |
| memory_mb | peak memory of rank 0, MiB; of its GPU where it has one |
| system/... | load of the machine, under the names of MLflow's system metrics |
| NAME/accuracy, mean/accuracy | after a validation, fractions |
"""

import time
from collections.abc import Mapping
from pathlib import Path

import torch

from bench.machine.journal import JournalFile, JournalLine, journal_line
from bench.machine.load import machine_load
from bench.machine.stopwatch import peak_memory_mb

SECONDS_BETWEEN_LINES = 5.0


class Journal:
    """Counts images and waiting time, and writes lines.

    Args:
        path: The file. Lines beyond ``step``, written by an interrupted run after its checkpoint, are removed.
        step: Number of steps done.
        device: Device of this process.
        is_writing: Whether this process writes the file.
    """

    def __init__(self, path: Path, step: int, device: torch.device, *, is_writing: bool) -> None:
        self._file, self._device = JournalFile(path, step, is_writing=is_writing), device
        self.last_line: JournalLine = self._file.earlier_lines[-1] if self._file.earlier_lines else {}
        """The last line; empty before the first."""
        self._total_waited = self._total_seconds = 0.0
        self._reset()

    def _reset(self) -> None:
        self._start, self._waited, self._images = time.perf_counter(), 0.0, 0

    def count(self, images: int, waited: float) -> None:
        """Count a step.

        Args:
            images: Images of the step, over all processes.
            waited: Seconds that this process waited for its share of them.
        """
        self._images += images
        self._waited += waited

    @property
    def is_due(self) -> bool:
        """Whether five seconds have passed since the previous line."""
        return time.perf_counter() - self._start >= SECONDS_BETWEEN_LINES

    @property
    def data_wait_share(self) -> float | None:
        """Share of this run's time that this process waited for faces; None before the first line."""
        return self._total_waited / self._total_seconds if self._total_seconds else None

    def build_line(self, step: int, values: Mapping[str, float | torch.Tensor]) -> JournalLine:
        """Build a line from ``values`` and from what was counted since the previous line.

        Time from here until ``write`` is not counted, so that a validation does not lower the rate.

        Args:
            step: Number of steps done.
            values: Loss, gradient norm and learning rate; numbers or scalar tensors.
        """
        seconds = time.perf_counter() - self._start
        self._total_waited += self._waited
        self._total_seconds += seconds
        figures = {name: float(value) for name, value in values.items()}
        figures |= {"images_per_second": self._images / seconds, "data_wait_share": self._waited / seconds}
        figures |= {"memory_mb": self._memory_mb()} | machine_load(self._device)
        return journal_line(step, figures)

    def write(self, line: JournalLine) -> None:
        """Append a line, and restart the counts."""
        self.last_line = line
        self._file.append(line)
        self._reset()

    def _memory_mb(self) -> float:
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / 2**20
        return peak_memory_mb()
