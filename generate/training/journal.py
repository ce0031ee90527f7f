"""Values of every step -> train.jsonl: their means over 50 steps, and the metrics of every epoch.

The metrics are measured on held-out identities, see ``generate/training/held_out.py``.
"""

import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from bench.errors import InputError
from bench.machine.journal import JournalFile, JournalLine, journal_line
from bench.machine.load import machine_load

LOG_STEPS = 50


class Journal:
    """Collects the values of steps on the device and writes their means. All processes add, the first one writes."""

    def __init__(self, path: Path, step: int, *, is_writing: bool, norms_may_overflow: bool = False) -> None:
        """Open a journal, new or of an interrupted run.

        Args:
            path: The file. Lines after ``step``, which an interrupted run wrote, are dropped.
            step: Number of steps done.
            is_writing: Whether this process writes.
            norms_may_overflow: Whether infinite gradient norms are allowed: in fp16 the scaler skips such a step.
        """
        self._file, self._norms_may_overflow = JournalFile(path, step, is_writing=is_writing), norms_may_overflow
        self.last: JournalLine = {}
        for line in self._file.earlier_lines:
            self.last |= line
        """Last value of every name in the journal."""
        self._names: list[str] = []
        self._values: list[Tensor] = []
        self._start, self._waited_seconds = time.perf_counter(), 0.0

    def add(self, values: dict[str, Tensor], waited_seconds: float) -> None:
        """Collect the values of one step. Nothing is read from the device yet.

        Args:
            values: Scalars by name, the same names in every step until the next ``flush``.
            waited_seconds: Time that the step waited for its batch.
        """
        self._names = list(values)
        self._values.append(torch.stack([value.float() for value in values.values()]))
        self._waited_seconds += waited_seconds

    @property
    def has_values(self) -> bool:
        """Whether steps were added since the last ``flush``."""
        return bool(self._values)

    @property
    def is_due(self) -> bool:
        """Whether ``LOG_STEPS`` steps have been collected."""
        return len(self._values) >= LOG_STEPS

    def flush(self, step: int, num_images: int, **more: float) -> dict[str, float]:
        """Write the means over the collected steps and over all processes. Every process must call it.

        Args:
            step: Number of steps done.
            num_images: Images per step, over all processes.
            more: Further values of the line.

        Returns:
            The values of the line.

        Raises:
            InputError: If a value is not finite; names its term and step.
        """
        values = torch.stack(self._values)  # (steps, names)
        if dist.is_initialized():
            dist.all_reduce(values)
            values /= dist.get_world_size()
        values_device = values.device
        values = values.cpu()
        self._refuse_not_finite(values, step)
        seconds = time.perf_counter() - self._start
        means = dict(zip(self._names, values.mean(dim=0).tolist(), strict=True)) | more
        means["images_per_second"] = len(values) * num_images / seconds
        means["data_wait_share"] = self._waited_seconds / seconds
        means |= machine_load(values_device)
        self._names, self._values = [], []
        self.write(step, means)
        self.restart_clock()
        return means

    def _refuse_not_finite(self, values: Tensor, step: int) -> None:
        bad = (~torch.isfinite(values)).nonzero()
        if self._norms_may_overflow:
            bad = bad[[not self._names[column].endswith("grad_norm") for column in bad[:, 1].tolist()]]
        if len(bad):
            row, column = bad[0].tolist()
            raise InputError(
                f"{self._names[column]} is {values[row, column].item()} at step {step - len(values) + row + 1}; the "
                "last checkpoint is kept; lower optimizer.lr, or the weight of that term, or use precision float32"
            )

    def write(self, step: int, values: dict[str, float]) -> None:
        """Append one line."""
        line = journal_line(step, values)
        self.last |= line
        self._file.append(line)

    def restart_clock(self) -> None:
        """Start the next rate now, so that it does not count the time of metrics and checkpoints."""
        self._start, self._waited_seconds = time.perf_counter(), 0.0
