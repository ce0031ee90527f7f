"""train.jsonl of a generator: means over a few steps, and the figures of every epoch on held-out identities."""

import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from bench.errors import InputError
from bench.machine.journal import JournalFile, journal_line

LOG_STEPS = 50


class Journal:
    """Gathers the values of every step on the device, and writes their means every ``LOG_STEPS`` steps."""

    def __init__(self, path: Path, step: int, *, is_writing: bool, norms_may_overflow: bool = False) -> None:
        """Go on with a journal.

        Args:
            path: The file; lines after ``step``, of a run that was interrupted, are dropped.
            step: Steps done.
            is_writing: Whether this process writes.
            norms_may_overflow: Gradient norms may be infinite, as with fp16, whose scaler skips such a step.
        """
        self._file, self._norms_may_overflow = JournalFile(path, step, is_writing=is_writing), norms_may_overflow
        self.last: dict[str, Any] = {key: value for line in self._file.earlier_lines for key, value in line.items()}
        """The last value of everything that stands in a line."""
        self._names: list[str] = []
        self._values: list[Tensor] = []
        self._start, self._waited = time.perf_counter(), 0.0

    def add(self, values: dict[str, Tensor], waited: float) -> None:
        """Remember one step; nothing is read from the device yet."""
        self._names = list(values)
        self._values.append(torch.stack([value.float() for value in values.values()]))
        self._waited += waited

    @property
    def is_due(self) -> bool:
        """Whether enough steps have been gathered."""
        return len(self._values) >= LOG_STEPS

    def flush(self, step: int, num_images: int, **more: float) -> dict[str, float]:
        """Write the means over the steps gathered, and over all processes. Every process must call.

        Args:
            step: Number of steps done.
            num_images: Images per step, over all processes.
            more: Further values of the line.

        Raises:
            InputError: If a term of the loss was not finite; says at which step and which term.
        """
        values = torch.stack(self._values)  # (steps, names)
        if dist.is_initialized():
            dist.all_reduce(values)
            values /= dist.get_world_size()
        values = values.cpu()
        bad = (~torch.isfinite(values)).nonzero()
        if self._norms_may_overflow:
            bad = bad[[not self._names[column].endswith("grad_norm") for column in bad[:, 1].tolist()]]
        if len(bad):
            row, column = bad[0].tolist()
            raise InputError(
                f"{self._names[column]} is {values[row, column].item()} at step {step - len(values) + row + 1}; the "
                "last checkpoint is kept; lower optimizer.lr, or the weight of that term, or use precision float32"
            )
        seconds = time.perf_counter() - self._start
        means = dict(zip(self._names, values.mean(dim=0).tolist(), strict=True)) | more
        means |= {"images_per_second": len(values) * num_images / seconds, "data_wait_share": self._waited / seconds}
        self._names, self._values = [], []
        self.write(step, means)
        self._start, self._waited = time.perf_counter(), 0.0
        return means

    def write(self, step: int, values: dict[str, float]) -> None:
        """Append one line."""
        line = journal_line(step, values)
        self.last |= line
        self._file.append(line)

    def restart_clock(self) -> None:
        """Leave out of the next rate what happened since the last line: figures, a checkpoint."""
        self._start, self._waited = time.perf_counter(), 0.0
