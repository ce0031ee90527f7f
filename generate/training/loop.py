"""The loop over steps and epochs of a training, with the files that it writes: journal, grids and checkpoints.

In: the state of a training (``Trainee``) and its batches. A checkpoint is written after every epoch, and the loop
starts at the checkpoint if there is one.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from bench.errors import Preempted
from bench.machine.device import freed_memory_kept
from bench.machine.journal import JOURNAL_NAME, JournalLine
from bench.machine.loading import timed
from bench.machine.preemption import Preemption, noted_preemption
from bench.machine.progress import progress
from bench.machine.resume import CHECKPOINT_NAME
from generate.training.held_out import write_epoch_grid
from generate.training.journal import Journal


@dataclass(frozen=True)
class TrainOptions:
    """Settings of the execution, which are part of no recipe."""

    device: str = "cpu"
    """Torch device. Under torchrun with GPUs, each rank takes its own."""
    num_workers: int | None = None
    """Processes that decode faces; by default one per spare core, at most 8. The result does not depend on it."""
    must_match: dict[str, Any] = field(default_factory=dict)
    """Values that a resumed run must share, besides recipe and seed: digests of the dataset and of the networks."""


@dataclass(frozen=True)
class TrainSummary:
    """Counts and last metrics of a finished run."""

    num_parameters: int
    num_images_seen: int
    num_trained_identities: int
    perceptual_network: str
    earlier_seconds: float
    """Time that interrupted runs took up to the checkpoint."""
    figures: dict[str, float]
    """Last values in the journal: terms of the loss, and metrics on held-out identities; all finite."""


class RunLength(Protocol):
    """What the loop needs of a recipe."""

    @property
    def batch_size(self) -> int:
        """Faces per step, over all processes."""

    @property
    def epochs(self) -> int:
        """Passes over the training set."""

    @property
    def held_out_identities(self) -> int:
        """Identities that are not trained on."""

    @property
    def precision(self) -> str:
        """Type of the computation; in ``fp16`` gradient norms may overflow."""


class Trainee(Protocol):
    """The state of a training."""

    step: int
    """Steps done."""
    seconds: float
    """Time that they took, those of interrupted runs included; set before a checkpoint is written."""

    @property
    def recipe(self) -> RunLength:
        """How to train."""

    def start(self) -> None:
        """Prepare the networks for the first step of this process."""

    def schedule(self, steps_per_epoch: int) -> tuple[float, dict[str, float]]:
        """Learning rate and weights of the loss at the next step."""

    def update(self, batch: Any, lr: float, weights: dict[str, float]) -> dict[str, Tensor]:
        """Do one step. Returns the terms of the loss, the loss and gradient norms, on the device."""

    def save(self, path: Path, must_match: dict[str, Any]) -> None:
        """Write a checkpoint."""

    def restore(self, path: Path, must_match: dict[str, Any]) -> None:
        """Load a checkpoint."""


class Batches(Protocol):
    """The batches of a run."""

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one epoch."""

    def stream(self, start_step: int, stop_step: int, *, num_workers: int | None) -> Iterator[Any]:
        """The batches of a range of steps."""


class TrainingLoop:
    """The loop over steps and epochs, with the files that it writes. Starts at the checkpoint, if there is one."""

    def __init__(
        self,
        state: Trainee,
        batches: Batches,
        measure: Callable[[], tuple[dict[str, float], list[list]]],
        directory: Path,
        options: TrainOptions,
    ) -> None:
        """Restore the checkpoint of an interrupted run.

        Args:
            state: Networks and optimisers.
            batches: The batches.
            measure: Metrics on held-out identities, and the rows of the epoch's grid.
            directory: Gets checkpoint.pt, train.jsonl and a grid per epoch.
            options: Settings of the execution.

        Raises:
            InputError: If the checkpoint is damaged or belongs to another run.
        """
        self._state, self._batches, self._measure = state, batches, measure
        self._directory, self._options = directory, options
        self._checkpoint = directory / CHECKPOINT_NAME
        if self._checkpoint.exists():
            state.restore(self._checkpoint, options.must_match)
        self.earlier_seconds = state.seconds
        self._start = time.perf_counter()

    def run(self, *, is_writing: bool) -> JournalLine:
        """Do every step that is left. Write means into the journal, and metrics and a checkpoint after every epoch.

        Args:
            is_writing: Whether this process writes the files.

        Returns:
            The last value of everything in the journal.

        Raises:
            Preempted: If SIGTERM or SIGUSR1 announced the end of a process; the checkpoint is written.
        """
        with freed_memory_kept(self._options.device), noted_preemption() as preemption:
            return self._run(preemption, is_writing=is_writing)

    def _run(self, preemption: Preemption, *, is_writing: bool) -> JournalLine:
        state, recipe = self._state, self._state.recipe
        steps_per_epoch, batch_size = self._batches.steps_per_epoch, recipe.batch_size
        num_steps = steps_per_epoch * recipe.epochs
        is_fp16 = recipe.precision == "fp16"
        path = self._directory / JOURNAL_NAME
        journal = Journal(path, state.step, is_writing=is_writing, norms_may_overflow=is_fp16)
        stream = self._batches.stream(state.step, num_steps, num_workers=self._options.num_workers)
        state.start()
        with progress(desc="train", total=num_steps * batch_size, initial=state.step * batch_size) as bar:
            for batch, waited_seconds in timed(stream):
                epoch = state.step // steps_per_epoch
                lr, weights = state.schedule(steps_per_epoch)
                journal.add(state.update(batch, lr, weights), waited_seconds)
                bar.update(batch_size)
                is_epoch_done = state.step % steps_per_epoch == 0
                if journal.is_due or is_epoch_done:
                    means = journal.flush(state.step, batch_size, lr=lr, epoch=epoch + 1)
                    bar.set_postfix(loss=f"{means['loss']:.3f}", lr=f"{lr:.1e}", refresh=False)
                if is_epoch_done and is_writing:
                    self._finish_epoch(epoch + 1, journal)
                if number := preemption.agreed_signal(state.step, self._options.device.partition(":")[0]):
                    if journal.has_values:  # a value that is not finite must not reach the checkpoint
                        journal.flush(state.step, batch_size, lr=lr, epoch=epoch + 1)
                    if is_writing and not is_epoch_done:
                        self._save()
                    raise Preempted(number)
        return journal.last

    def _finish_epoch(self, epoch: int, journal: Journal) -> None:
        metrics, rows = self._measure()
        journal.write(self._state.step, metrics)
        write_epoch_grid(self._directory, epoch, rows)
        self._save()
        journal.restart_clock()

    def _save(self) -> None:
        self._state.seconds = self.earlier_seconds + time.perf_counter() - self._start
        self._state.save(self._checkpoint, self._options.must_match)


def final_figures(values: JournalLine) -> dict[str, float]:
    """The values of a journal that describe the result, without the load of the machine."""
    of_machine = {key for key in values if key.startswith("system/")} | {"step", "time"}
    return {key: value for key, value in values.items() if key not in of_machine and value is not None}
