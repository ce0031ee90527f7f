"""A face dataset and a recipe in, a recognition network out: ``model.safetensors`` and ``train.jsonl``.

One process, or several under torchrun: the batch is global and each rank takes its share. A checkpoint is written after
every epoch; an interrupted run goes on from it and, on a CPU, ends with the same bits as an uninterrupted one.

Legend: B batch, C identities, D embedding dimension.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from bench.cards import flatten
from bench.config import Optimizer, Recipe
from bench.errors import InputError
from bench.files import atomic_path, read_json_lines, write_text
from bench.progress import progress
from bench.records import Faces
from fr_train.backbone import build_backbone
from fr_train.checkpoint import read_torch_file, save_backbone
from fr_train.data import Batch, FaceBatches
from fr_train.head import Head, build_margin, only_rows
from fr_train.schedule import lr_at

CHECKPOINT_NAME = "checkpoint.pt"
_LOG_SECONDS = 5.0
_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class TrainSummary:
    """What a run did."""

    num_parameters: int
    num_images_seen: int
    final_loss: float


class _Run:
    """Everything that changes during training, so that it can be saved and put back."""

    def __init__(self, faces: Faces, recipe: Recipe, seed: int, device: torch.device) -> None:
        self.recipe, self.seed, self.device, self.step = recipe, seed, device, 0
        # oneDNN of torch 2.14 corrupts memory in the float32 backward of channels-last convolutions under 16 channels.
        self.channels_last = recipe.channels_last and recipe.backbone.width >= 16
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        self.backbone = build_backbone(recipe.backbone).to(device).to(memory_format=layout)
        self.head = Head(
            faces.num_identities,
            recipe.backbone.embedding_dim,
            build_margin(recipe.margin, faces.num_identities),
            sample_rate=recipe.margin.sample_rate,
            seed=seed,
        ).to(device)
        self.optimizer = _make_optimizer(_parameter_groups(self.backbone, self.head), recipe.optimizer)
        self.head_optimizer = _make_optimizer([{"params": [self.head.weight]}], recipe.optimizer)
        self.scaler = torch.amp.GradScaler(enabled=recipe.precision == "fp16")
        self.ema = None
        if recipe.ema_decay:
            average = get_ema_multi_avg_fn(recipe.ema_decay)
            self.ema = AveragedModel(self.backbone, multi_avg_fn=average, use_buffers=True)
        self.wrapped_backbone = _distribute(self.backbone)

    def update(self, batch: Batch, lr: float) -> dict[str, Tensor]:
        """One step of the optimisers; loss and gradient norm of the backbone, still on the device."""
        optimizers = (self.optimizer, self.head_optimizer)
        for optimizer in optimizers:
            optimizer.zero_grad()
            for group in optimizer.param_groups:
                group["lr"] = lr
        # Dropout depends on (seed, step, rank) alone, so a resumed run needs no generator state.
        torch.manual_seed(int(np.random.SeedSequence([self.seed, self.step, self.head.rank]).generate_state(1)[0]))
        settings = self.recipe.augmentation
        images = batch.on(self.device, settings, self.seed, channels_last=self.channels_last)
        autocast = _AUTOCAST.get(self.recipe.precision)
        with torch.autocast(self.device.type, autocast, enabled=autocast is not None):
            features = self.wrapped_backbone(images)
        # The loss is a mean over all processes' faces: their gradients add up, but DistributedDataParallel averages.
        features.register_hook(lambda gradient: gradient * self.head.world_size)
        loss = self.head(features, batch.labels.to(self.device), self.step)
        self.scaler.scale(loss).backward()
        self.head.share_gradients()
        for optimizer in optimizers:
            self.scaler.unscale_(optimizer)
        limit = self.recipe.optimizer.grad_clip or float("inf")
        norm = nn.utils.clip_grad_norm_(self.backbone.parameters(), limit)
        self.scaler.step(self.optimizer)
        with only_rows(self.head_optimizer, self.head.weight, self.head.used):
            self.scaler.step(self.head_optimizer)
        self.scaler.update()
        if self.ema is not None:
            self.ema.update_parameters(self.backbone)
        self.step += 1
        return {"loss": loss.detach(), "grad_norm": norm}

    def parts(self) -> dict[str, Any]:
        """What a checkpoint holds besides the head, which is put together from all processes."""
        named = {"backbone": self.backbone, "margin": self.head.margin, "optimizer": self.optimizer}
        named["scaler"] = self.scaler
        return named | ({"ema": self.ema} if self.ema is not None else {})

    def save(self, path: Path) -> None:
        """Write a checkpoint; it appears whole, and fits any number of processes. Every process must call."""
        state = {name: part.state_dict() for name, part in self.parts().items()}
        state |= {"step": self.step, "seed": self.seed, "recipe": self.recipe.model_dump_json()}
        state["head"] = {"weight": self.head.whole(self.head.weight.detach())}
        for name, value in self.head_optimizer.state[self.head.weight].items():
            is_split = torch.is_tensor(value) and value.shape == self.head.weight.shape
            state["head"][name] = self.head.whole(value) if is_split else value
        if self.head.rank == 0:
            with atomic_path(path) as temporary:
                torch.save(state, temporary)

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint; refuses one of another recipe, seed or dataset."""
        state = read_torch_file(path)
        before, now = flatten(json.loads(state["recipe"])), flatten(self.recipe.model_dump(mode="json"))
        whole = state["head"]["weight"]
        before |= {"seed": state["seed"], "num_identities": len(whole)}
        now |= {"seed": self.seed, "num_identities": self.head.num_identities}
        for field in sorted(before.keys() | now.keys()):
            if before.get(field) != now.get(field):
                raise InputError(
                    f"{path} was trained with {field}={before.get(field)}, this run has {now.get(field)}; "
                    "delete it to start anew, or train into another folder"
                )
        for name, part in self.parts().items():
            part.load_state_dict(state[name])
        parts = {
            name: self.head.block(value).to(self.device)
            if torch.is_tensor(value) and value.shape == whole.shape
            else value
            for name, value in state["head"].items()
        }
        self.head.weight.data.copy_(parts.pop("weight"))
        self.head_optimizer.state[self.head.weight] = parts
        self.step = state["step"]


def train(
    faces: Faces,
    recipe: Recipe,
    directory: str | Path,
    *,
    seed: int,
    device: str = "cpu",
    num_workers: int | None = None,
    log: Callable[[dict[str, float]], None] | None = None,
) -> TrainSummary:
    """Train a backbone, or go on where an interrupted run stopped.

    Args:
        faces: The dataset.
        recipe: How to train.
        directory: Gets checkpoint.pt, train.jsonl and at the end model.safetensors.
        seed: Of weights, order and augmentation.
        device: Torch device; under torchrun with GPUs, each rank takes its own.
        num_workers: Processes that decode and augment; by default one per spare core, at most 8. Changes no bit.
        log: Called with each line of train.jsonl as it is written.

    Raises:
        InputError: If the batch does not fit the dataset, the checkpoint belongs to another run, or the loss is not
            finite (the last good checkpoint is kept).
    """
    directory = Path(directory)
    rank, world_size, torch_device = _start_process(device)
    batches = FaceBatches(
        faces,
        recipe.augmentation,
        batch_size=recipe.batch_size,
        epochs=recipe.schedule.epochs,
        seed=seed,
        rank=rank,
        world_size=world_size,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        run = _Run(faces, recipe, seed, torch_device)
        checkpoint = directory / CHECKPOINT_NAME
        if checkpoint.exists():
            run.restore(checkpoint)
        journal = _Journal(directory / "train.jsonl", run.step, log, is_writing=rank == 0)
        workers = min(8, max(1, (os.cpu_count() or 1) // world_size - 1)) if num_workers is None else num_workers
        _loop(run, batches, journal, checkpoint, num_workers=workers, is_writing=rank == 0)
    trained = run.ema.module if run.ema is not None else run.backbone
    if rank == 0:
        save_backbone(directory / "model.safetensors", trained, recipe.backbone)
    if dist.is_initialized():
        dist.destroy_process_group()
    num_parameters = sum(parameter.numel() for parameter in run.backbone.parameters())
    return TrainSummary(num_parameters, run.step * recipe.batch_size, journal.last_loss)


def _loop(
    run: _Run, batches: FaceBatches, journal: "_Journal", checkpoint: Path, *, num_workers: int, is_writing: bool
) -> None:
    """Every step that is left, a line in the journal now and then, a checkpoint after every epoch."""
    recipe, size = run.recipe, run.recipe.batch_size
    run.wrapped_backbone.train()
    run.head.train()
    loader = iter(batches.loader(run.step, num_workers=num_workers))
    with progress(desc="train", total=len(batches) * size, initial=run.step * size) as bar:
        while run.step < len(batches):
            start = time.perf_counter()
            batch = next(loader)
            waited = time.perf_counter() - start
            lr = lr_at(
                run.step,
                steps_per_epoch=batches.steps_per_epoch,
                base_lr=recipe.optimizer.lr,
                schedule=recipe.schedule,
            )
            values = run.update(batch, lr)
            bar.update(size)
            epoch_ends = run.step % batches.steps_per_epoch == 0
            row = journal.add(run.step, size, waited, values, lr, is_due=epoch_ends)
            if row:
                bar.set_postfix(loss=f"{row['loss']:.2f}", lr=f"{lr:.1e}", refresh=False)
            if epoch_ends:
                run.save(checkpoint)


class _Journal:
    """train.jsonl: a line every few seconds and at the end of every epoch."""

    def __init__(
        self, path: Path, step: int, log: Callable[[dict[str, float]], None] | None, *, is_writing: bool
    ) -> None:
        self._path, self._log, self._is_writing = path, log, is_writing
        kept = [row for row in read_json_lines(path) if row["step"] <= step] if path.exists() else []
        self.last_loss = kept[-1]["loss"] if kept else float("nan")
        if is_writing:
            write_text(path, "".join(json.dumps(row) + "\n" for row in kept))
        self._reset()

    def _reset(self) -> None:
        self._start, self._waited, self._images = time.perf_counter(), 0.0, 0

    def add(
        self, step: int, images: int, waited: float, values: dict[str, Tensor], lr: float, *, is_due: bool
    ) -> dict[str, float] | None:
        """Count a step; returns the line if one is due.

        Raises:
            InputError: If the loss is not finite.
        """
        self._waited += waited
        self._images += images
        seconds = time.perf_counter() - self._start
        if not is_due and seconds < _LOG_SECONDS:
            return None
        row = {name: float(value) for name, value in values.items()}
        if not torch.isfinite(torch.tensor(row["loss"])):
            raise InputError(
                f"loss is {row['loss']} at step {step}, lr {lr:g}; the last checkpoint is kept; "
                "lower recipe.optimizer.lr or give warmup_epochs"
            )
        self.last_loss = row["loss"]
        row |= {"lr": lr, "images_per_second": self._images / seconds, "data_wait_share": self._waited / seconds}
        row = {"step": step, "time": round(time.time(), 2)} | {key: round(value, 6) for key, value in row.items()}
        if self._is_writing:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            if self._log:
                self._log(row)
        self._reset()
        return row


def _parameter_groups(backbone: nn.Module, head: Head) -> list[dict[str, Any]]:
    """All parameters but the class weights; weight decay spares the batch norms, as the reference does."""
    norms = [module for module in backbone.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    spared = {id(parameter) for module in norms for parameter in module.parameters()}
    trained = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
    margin = list(head.margin.parameters())
    return [
        {"params": [parameter for parameter in trained if id(parameter) not in spared] + margin},
        {"params": [parameter for parameter in trained if id(parameter) in spared], "weight_decay": 0.0},
    ]


def _make_optimizer(groups: list[dict[str, Any]], settings: Optimizer) -> torch.optim.Optimizer:
    if settings.kind == "adamw":
        return torch.optim.AdamW(groups, lr=settings.lr, weight_decay=settings.weight_decay)
    return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay)


def _start_process(device: str) -> tuple[int, int, torch.device]:
    """Rank, number of ranks, and the device of this process; joins the group that torchrun describes."""
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        return 0, 1, torch.device(device)
    if device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return dist.get_rank(), world_size, torch.device(device)


def _distribute(module: nn.Module) -> nn.Module:
    if not dist.is_initialized():
        return module
    return DistributedDataParallel(module, broadcast_buffers=False)
