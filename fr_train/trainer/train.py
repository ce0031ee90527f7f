"""A face dataset and a recipe in, a recognition network out: ``model.safetensors`` and ``train.jsonl``.

One process, or several under torchrun: the batch is global and each rank takes its share. An interrupted run goes on
from its last checkpoint, with as many processes as it then has; with as many as before, on a CPU, it ends with the same
bits as an uninterrupted one.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bench.config.recipe import Recipe
from bench.errors import InputError
from bench.faces.grid import write_grid
from bench.faces.lmdb_file import FACE_SIZE, Faces
from bench.machine.device import keep_freed_memory, process_rank
from bench.machine.journal import JOURNAL_NAME
from bench.machine.loading import timed
from bench.machine.processes import merge_over_processes, process_group
from bench.machine.progress import note, progress
from fr_train.checkpoint import save_backbone
from fr_train.trainer.checkpoints import Keeper
from fr_train.trainer.data import Batch, FaceBatches, other_size
from fr_train.trainer.engine import Engine
from fr_train.trainer.journal import Journal
from fr_train.trainer.options import RunOptions
from fr_train.trainer.schedule import lr_at

Validate = Callable[[nn.Module], dict[str, float]]
"""Accuracies, fractions by protocol, of a network; called in every process at once."""


@dataclass(frozen=True)
class TrainSummary:
    """What a run did."""

    num_parameters: int
    num_images_seen: int
    earlier_seconds: float
    """What interrupted runs took before this one."""
    validation_seconds: float
    """What validations took, in those and in this one."""
    last_line: dict[str, Any]
    """Of train.jsonl, and data_wait_share over the whole run."""
    best: dict[str, Any] | None
    """Epoch and accuracies of best.safetensors, if there were validations."""
    data: dict[str, Any]
    """What was met in the dataset: identities with one image, corrupt records skipped, size before resizing."""

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
    """Train a backbone, or go on where an interrupted run stopped.

    Args:
        faces: The dataset.
        recipe: How to train.
        directory: Gets samples.png, checkpoint.pt, train.jsonl, best.safetensors and at the end model.safetensors.
        seed: Of weights, order and augmentation.
        options: How the run is carried out; without, on a CPU by the defaults.
        validate: Measures a network on the test sets, by which best.safetensors is chosen.

    Raises:
        InputError: If recipe, options, dataset and processes do not fit each other, the checkpoint belongs to another
            run, a record does not decode, memory runs out, or the loss is not finite (the last good checkpoint stays).
    """
    directory, options = Path(directory), options or RunOptions()
    rank, world_size, _ = process_rank()
    batches = FaceBatches(faces, recipe, seed=seed, rank=rank, world_size=world_size)
    with process_group(options.device) as device, torch.random.fork_rng():
        torch.manual_seed(seed)
        if device.type == "cpu":
            keep_freed_memory()
        engine = Engine(faces.num_identities, recipe, options, seed=seed, device=device)
        keeper = Keeper(directory, engine, options.checkpoint_minutes)
        data = _look_at(faces)
        if rank == 0 and engine.step == 0:
            _announce(data, faces)
            write_grid(directory / "samples.png", batches.sample_grid())
        journal = Journal(directory / JOURNAL_NAME, engine.step, device, is_writing=rank == 0)
        _loop(engine, batches, journal, keeper, validate)
        corrupt = merge_over_processes(keeper.corrupt)
    if rank == 0:
        save_backbone(directory / "model.safetensors", engine.trained, recipe.backbone)
    return TrainSummary(
        num_parameters=sum(parameter.numel() for parameter in engine.backbone.parameters()),
        num_images_seen=engine.step * recipe.batch_size,
        earlier_seconds=keeper.earlier_seconds,
        validation_seconds=keeper.validation_seconds,
        last_line=journal.last | {"data_wait_share": journal.data_wait_share},
        best=keeper.best,
        data=data | ({"num_corrupt_skipped": len(corrupt)} if recipe.skip_corrupt else {}),
    )


def _loop(engine: Engine, batches: FaceBatches, journal: Journal, keeper: Keeper, validate: Validate | None) -> None:
    """Every step that is left, a line in the journal now and then, a checkpoint after every epoch or some minutes."""
    recipe, size = engine.recipe, engine.recipe.batch_size
    with progress(desc="train", total=len(batches) * size, initial=engine.step * size) as bar:
        for batch, waited in timed(batches.stream(engine.step, num_workers=engine.options.num_workers)):
            lr = _lr(engine.step, batches, recipe)
            values = engine.update(batch, lr)
            bar.update(size)
            journal.count(size, waited)
            _note_corrupt(batch, keeper)
            epoch, step_in_epoch = divmod(engine.step, batches.steps_per_epoch)
            saves = keeper.is_time() or step_in_epoch == 0
            if not (saves or journal.is_due):
                continue
            _check_finite(engine, batches)
            line = journal.line(engine.step, values | {"lr": lr})
            if validate is not None and step_in_epoch == 0 and _validates(epoch, engine):
                start = time.perf_counter()
                accuracies = validate(engine.trained)
                keeper.validation_seconds += time.perf_counter() - start
                keeper.keep_if_best(epoch, accuracies)
                line |= {f"{name}/accuracy": round(value, 6) for name, value in accuracies.items()}
                line["mean/accuracy"] = round(float(np.mean(list(accuracies.values()))), 6)
            journal.write(line)
            bar.set_postfix(loss=f"{line['loss']:.2f}", lr=f"{lr:.1e}", refresh=False)
            if saves:
                keeper.save()


def _lr(step: int, batches: FaceBatches, recipe: Recipe) -> float:
    per_epoch = batches.steps_per_epoch
    return lr_at(step, steps_per_epoch=per_epoch, base_lr=recipe.optimizer.lr, schedule=recipe.schedule)


def _validates(epoch: int, engine: Engine) -> bool:
    every, epochs = engine.options.validate_every, engine.recipe.schedule.epochs
    return 0 < every <= epochs and (epoch % every == 0 or epoch == epochs)


def _check_finite(engine: Engine, batches: FaceBatches) -> None:
    """Stop at a loss that is not finite; the same in every process, for all have the same loss."""
    step = int(engine.first_bad_step)
    if step < engine.step:
        lr = _lr(step, batches, engine.recipe)
        raise InputError(
            f"loss is not finite at step {step}, lr {lr:g}; the last checkpoint is kept; "
            "lower recipe.optimizer.lr or give warmup_epochs"
        )


def _look_at(faces: Faces) -> dict[str, Any]:
    counts = np.bincount(faces.identity_ids, minlength=faces.num_identities)
    size = other_size(faces)
    data: dict[str, Any] = {"num_single_image_identities": int((counts == 1).sum())}
    return data | ({"resized_from": f"{size[0]} x {size[1]}"} if size else {})


def _announce(data: dict[str, Any], faces: Faces) -> None:
    if data["num_single_image_identities"]:
        note(f"train: {data['num_single_image_identities']} of {faces.num_identities} identities have one image")
    if "resized_from" in data:
        note(f"train: faces are {data['resized_from']}, resized to {FACE_SIZE} x {FACE_SIZE}")


def _note_corrupt(batch: Batch, keeper: Keeper) -> None:
    for index, problem in batch.corrupt.items():
        if index not in keeper.corrupt:
            note(f"train: skipped, the next face stands in: {problem}")
    keeper.corrupt |= batch.corrupt
