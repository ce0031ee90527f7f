"""Trains a recognition network: a face dataset and a recipe in, ``model.safetensors`` and ``train.jsonl`` out.

From Python::

    from bench.config.benchmarks import load_recipe
    from bench.faces.open import open_faces
    from fr_train.trainer.train import train

    train(open_faces("faces.lmdb"), load_recipe("smoke_arcface"), "out", seed=0)

The run uses one process, or several under torchrun: the batch is global, and each rank takes its share. An interrupted
run resumes from its last checkpoint, with any number of processes. With the same number, on a CPU, the result is
bitwise that of an uninterrupted run.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from bench.config.recipe import REHEARSALS, REHEARSED_IDENTITIES, Recipe
from bench.errors import InputError
from bench.faces.face import FACE_SIZE, Faces, check_sizes
from bench.faces.grid import write_grid
from bench.machine.device import forked_rng, keep_freed_memory, process_rank
from bench.machine.journal import JOURNAL_NAME, JournalLine
from bench.machine.loading import timed
from bench.machine.preemption import noted_preemption
from bench.machine.processes import merge_over_processes, process_group
from bench.machine.progress import note, progress
from bench.runs.card_parts.references import BestNetwork
from fr_train.checkpoint import save_backbone
from fr_train.trainer.checkpoints import Checkpoints
from fr_train.trainer.data import Batch, FaceBatches
from fr_train.trainer.engine import Engine
from fr_train.trainer.journal import Journal
from fr_train.trainer.options import RunOptions
from fr_train.trainer.schedule import lr_at

MODEL_NAME = "model.safetensors"

Validate = Callable[[nn.Module], dict[str, float]]
"""Measures a network: protocol -> accuracy, fractions. All processes call it at once."""


@dataclass
class DatasetWarnings:
    """Dataset warnings for the card: single-image identities, original size, skipped records."""

    num_single_image_identities: int
    resized_from: str | None = None
    """Original size of the faces, such as 96 x 112; None for faces of the usual size."""
    num_corrupt_skipped: int | None = None
    """Number of records that do not decode; None where the recipe does not skip them."""


@dataclass(frozen=True)
class TrainSummary:
    """Counts, times and last measurements of a finished run, for its card."""

    num_parameters: int
    num_images_seen: int
    earlier_seconds: float
    """Time that interrupted runs took before this one."""
    validation_seconds: float
    """Time of all validations, those of interrupted runs included."""
    last_line: JournalLine
    """Last line of train.jsonl, with data_wait_share over this whole run."""
    best: BestNetwork | None
    """Epoch and accuracies of best.safetensors; None without validations."""
    dataset_warnings: DatasetWarnings

    @property
    def final_loss(self) -> float | None:
        """Loss of the last step."""
        return self.last_line.get("loss")


def train(
    faces: Faces,
    recipe: Recipe,
    directory: str | Path,
    *,
    seed: int,
    options: RunOptions | None = None,
    validate: Validate | None = None,
) -> TrainSummary:
    """Train a backbone, or resume an interrupted run.

    Progress bars go to stderr; ``BENCH_PROGRESS=0`` in the environment switches them off.

    Args:
        faces: The dataset, from ``open_faces``.
        recipe: How to train, for example from ``load_recipe``.
        directory: Receives samples.png, checkpoint.pt, train.jsonl, best.safetensors (with ``validate``), and at the
            end model.safetensors. It is created if missing. A run resumes if it holds a checkpoint.
        seed: Seed of weights, order and augmentation.
        options: Device, memory and speed of the run; by default on the CPU with the defaults of ``RunOptions``.
        validate: Measures the network every ``options.validate_every`` epochs. best.safetensors is chosen by it.

    Returns:
        Summary of the run. The network itself is in model.safetensors, see ``load_backbone``.

    Raises:
        Preempted: If SIGTERM or SIGUSR1 announced the end of a process; the checkpoint is written.
        InputError: If recipe, options, dataset and number of processes do not fit each other; if the checkpoint belongs
            to another run; if a record does not decode; if memory runs out; or if the loss is not finite, in which case
            the last checkpoint is kept.
    """
    directory, options = Path(directory), options or RunOptions()
    rank, world_size, _ = process_rank()
    batches = FaceBatches(faces, recipe, seed=seed, rank=rank, world_size=world_size)
    with noted_preemption() as preemption, process_group(options.device) as device, forked_rng(device):
        torch.manual_seed(seed)
        if device.type == "cpu":
            keep_freed_memory()
        engine = Engine(_num_classes(faces, directory), recipe, options, seed=seed, device=device)
        checkpoints = Checkpoints(directory, engine, faces, options.checkpoint_minutes, preemption)
        dataset_warnings = _find_dataset_warnings(faces)
        if rank == 0 and engine.step == 0:
            _print_warnings(dataset_warnings, faces)
            write_grid(directory / "samples.png", batches.sample_grid())
        journal = Journal(directory / JOURNAL_NAME, engine.step, device, is_writing=rank == 0)
        _run_steps(engine, batches, journal, checkpoints, validate)
        corrupt = merge_over_processes(checkpoints.corrupt)
    if recipe.skip_corrupt:
        dataset_warnings.num_corrupt_skipped = len(corrupt)
    if rank == 0:
        save_backbone(directory / MODEL_NAME, engine.trained_backbone, recipe.backbone)
    return TrainSummary(
        num_parameters=sum(parameter.numel() for parameter in engine.backbone.parameters()),
        num_images_seen=engine.step * recipe.batch_size,
        earlier_seconds=checkpoints.earlier_seconds,
        validation_seconds=checkpoints.validation_seconds,
        last_line=journal.last_line | {"data_wait_share": journal.data_wait_share},
        best=checkpoints.best,
        dataset_warnings=dataset_warnings,
    )


def _run_steps(
    engine: Engine, batches: FaceBatches, journal: Journal, checkpoints: Checkpoints, validate: Validate | None
) -> None:
    """Take all remaining steps; write journal lines, validate, and save checkpoints when they are due."""
    recipe, size = engine.recipe, engine.recipe.batch_size
    with progress(desc="train", total=len(batches) * size, initial=engine.step * size) as bar:
        for batch, waited in timed(batches.stream(engine.step, num_workers=engine.options.num_workers)):
            lr = _learning_rate(engine.step, batches, recipe)
            values = engine.update(batch, lr)
            bar.update(size)
            journal.count(size, waited)
            _report_corrupt(batch, checkpoints)
            epoch, step_in_epoch = divmod(engine.step, batches.steps_per_epoch)
            saves = checkpoints.is_due() or step_in_epoch == 0
            if not (saves or journal.is_due):
                continue
            _check_finite(engine, batches)
            line = journal.build_line(engine.step, values | {"lr": lr})
            if validate is not None and step_in_epoch == 0 and _is_validated(epoch, engine):
                line |= _validate_epoch(epoch, engine, checkpoints, validate)
            journal.write(line)
            bar.set_postfix(loss=f"{line['loss']:.2f}", lr=f"{lr:.1e}", refresh=False)
            if saves:
                checkpoints.save()
                checkpoints.end_if_preempted()


def _validate_epoch(epoch: int, engine: Engine, checkpoints: Checkpoints, validate: Validate) -> dict[str, float]:
    """Measure the network, save it if it is the best, and return the accuracies as fields of a journal line."""
    start = time.perf_counter()
    accuracies = validate(engine.trained_backbone)
    checkpoints.validation_seconds += time.perf_counter() - start
    checkpoints.save_if_best(epoch, accuracies)
    fields = {f"{name}/accuracy": round(value, 6) for name, value in accuracies.items()}
    return fields | {"mean/accuracy": round(float(np.mean(list(accuracies.values()))), 6)}


def _learning_rate(step: int, batches: FaceBatches, recipe: Recipe) -> float:
    per_epoch = batches.steps_per_epoch
    return lr_at(step, steps_per_epoch=per_epoch, base_lr=recipe.optimizer.lr, schedule=recipe.schedule)


def _is_validated(epoch: int, engine: Engine) -> bool:
    """Whether to validate after ``epoch`` epochs."""
    every, epochs = engine.options.validate_every, engine.recipe.schedule.epochs
    return 0 < every <= epochs and (epoch % every == 0 or epoch == epochs)


def _num_classes(faces: Faces, directory: Path) -> int:
    """Number of class weights: one per identity of the dataset, or in a rehearsal of the long run's.

    Raises:
        InputError: If a training that is no rehearsal is told to rehearse.
    """
    text = os.environ.get(REHEARSED_IDENTITIES, "")
    if text and REHEARSALS not in directory.parts:
        raise InputError(f"{REHEARSED_IDENTITIES}={text} is for make rehearse alone; unset it")
    return max(faces.num_identities, int(text or 0))


def _check_finite(engine: Engine, batches: FaceBatches) -> None:
    """Raise if a loss was not finite. All processes raise together, because they share the loss."""
    step = int(engine.first_bad_step)
    if step < engine.step:
        lr = _learning_rate(step, batches, engine.recipe)
        raise InputError(
            f"loss is not finite at step {step}, lr {lr:g}; the last checkpoint is kept; "
            "lower recipe.optimizer.lr or give warmup_epochs"
        )


def _find_dataset_warnings(faces: Faces) -> DatasetWarnings:
    counts = np.bincount(faces.identity_ids, minlength=faces.num_identities)
    size = check_sizes(faces)
    return DatasetWarnings(int((counts == 1).sum()), resized_from=f"{size[0]} x {size[1]}" if size else None)


def _print_warnings(warnings: DatasetWarnings, faces: Faces) -> None:
    if warnings.num_single_image_identities:
        note(f"train: {warnings.num_single_image_identities} of {faces.num_identities} identities have one image")
    if warnings.resized_from:
        note(f"train: faces are {warnings.resized_from}, scaled to {FACE_SIZE} x {FACE_SIZE}")


def _report_corrupt(batch: Batch, checkpoints: Checkpoints) -> None:
    """Print and record each record that was skipped, once."""
    for index, problem in batch.corrupt.items():
        if index not in checkpoints.corrupt:
            note(f"train: record skipped, the next face replaces it: {problem}")
    checkpoints.corrupt |= batch.corrupt
