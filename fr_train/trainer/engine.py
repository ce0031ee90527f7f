"""One training step, and everything that it changes: backbone, head, optimisers, loss scale, weight average.

In: this process's share of a batch, and a learning rate. Out: the loss and the gradient norm. The batch is global:
every process takes its share, if need be in micro batches whose gradients are accumulated.

Legend: B faces of the global batch, b faces of one process.
"""

from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from bench.config.recipe import Optimizer, Recipe, checked_micro_batch, micro_batches
from bench.errors import OUT_OF_MEMORY, InputError
from fr_train.trainer.data import Batch
from fr_train.trainer.head import Head, active_rows, build_margin
from fr_train.trainer.options import RunOptions
from fr_train.trainer.prepared import AUTOCAST, is_channels_last, prepare_backbone, wrap_for_steps

StatefulPart = nn.Module | torch.optim.Optimizer | torch.amp.GradScaler
"""What has a state dict."""
_NEVER = torch.iinfo(torch.int64).max


class Engine:
    """The state of a training run, and the step that changes it.

    Initial weights are drawn from torch's global generator; the caller seeds it.

    Args:
        num_identities: Number of identities in the dataset.
        recipe: Recipe of the training.
        options: Options of the run.
        seed: Seed of dropout and of the sampling of identities.
        device: Device of this process.

    Raises:
        InputError: If the micro batch does not divide a process's share of the batch, or if the recipe does not support
            the options.
    """

    def __init__(
        self, num_identities: int, recipe: Recipe, options: RunOptions, *, seed: int, device: torch.device
    ) -> None:
        self.recipe, self.options = recipe, options
        self.seed, self.device = seed, device
        self.step = 0
        """Number of steps done, those of interrupted runs included."""
        self.backbone = prepare_backbone(recipe, options, device)
        margin = build_margin(recipe.margin, num_identities)
        dim, rate = recipe.backbone.embedding_dim, recipe.margin.sample_rate
        self.head = Head(num_identities, dim, margin, sample_rate=rate, seed=seed).to(device)
        self.num_faces = recipe.batch_size // self.head.world_size
        """Number of faces of this process in a step, b."""
        self.micro_batch = checked_micro_batch(options.micro_batch, self.num_faces)
        self.optimizer = _make_optimizer(_parameter_groups(self.backbone, self.head), recipe.optimizer)
        self.head_optimizer = _make_optimizer([{"params": [self.head.weight]}], recipe.optimizer)
        self.scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16")
        self.ema = None
        if recipe.ema_decay:
            average = get_ema_multi_avg_fn(recipe.ema_decay)
            self.ema = AveragedModel(self.backbone, multi_avg_fn=average, use_buffers=True)
        self.network = wrap_for_steps(self.backbone, recipe, options, self.micro_batch)
        self.first_bad_step = torch.tensor(_NEVER, device=device)
        """First step whose loss was not finite. It stays on the device, so that steps need not synchronise."""

    @property
    def trained_backbone(self) -> nn.Module:
        """The backbone to save and validate: the moving average of the weights if the recipe has one."""
        return self.ema.module if self.ema is not None else self.backbone

    def update(self, batch: Batch, lr: float) -> dict[str, Tensor]:
        """Take one training step.

        Args:
            batch: This process's share of the batch, b faces.
            lr: Learning rate.

        Returns:
            ``loss``, the mean over the global batch, and ``grad_norm`` of the backbone before clipping; scalars on the
            device.

        Raises:
            InputError: If memory runs out. The message says which micro batch to set.
        """
        self.network.train()
        self.head.train()
        for optimizer in (self.optimizer, self.head_optimizer):
            optimizer.zero_grad()
            for group in optimizer.param_groups:
                group["lr"] = lr
        try:
            loss = self._accumulate_gradients(batch)
            norm = self._step_optimizers()  # the first step allocates the momentum
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            raise InputError(self._out_of_memory_message()) from None
        bad_step = torch.where(loss.isfinite(), _NEVER, self.step)
        self.first_bad_step = torch.minimum(self.first_bad_step, bad_step)
        self.step += 1
        return {"loss": loss, "grad_norm": norm}

    def _accumulate_gradients(self, batch: Batch) -> Tensor:
        """Run forward and backward passes of all micro batches, and return the loss."""
        self.head.start_step(batch.labels.to(self.device), self.step)
        loss = torch.zeros((), device=self.device)
        micro_batches = batch.split(self.micro_batch)
        for number, part in enumerate(micro_batches):
            is_distributed = isinstance(self.network, DistributedDataParallel)
            skips_averaging = is_distributed and number < len(micro_batches) - 1  # the last one averages the sum
            with self.network.no_sync() if skips_averaging else nullcontext():  # type: ignore[operator]
                loss += self._backward(part, number, share=len(part) / len(batch))
        self.head.sum_margin_gradients()
        return loss

    def _backward(self, part: Batch, number: int, *, share: float) -> Tensor:
        """Add the gradients of micro batch ``number``, a ``share`` of the batch, and return its part of the loss."""
        # Dropout depends on (seed, step, rank, micro batch) alone, so that checkpoints need no generator state.
        entropy = np.random.SeedSequence([self.seed, self.step, self.head.rank, number])
        torch.manual_seed(int(entropy.generate_state(1)[0]))
        faces = part.network_input(
            self.device, self.recipe.augmentation, self.seed, channels_last=is_channels_last(self.recipe)
        )
        autocast = AUTOCAST.get(self.recipe.precision)
        with torch.autocast(self.device.type, autocast, enabled=autocast is not None):
            features = self.network(faces)
        # The loss is the mean over the faces of all processes, so gradients must be summed over them, but
        # DistributedDataParallel averages.
        features.register_hook(lambda gradient: gradient * self.head.world_size)
        loss = share * self.head(features, part.labels.to(self.device))
        self.scaler.scale(loss).backward()
        return loss.detach()

    def _step_optimizers(self) -> Tensor:
        """Clip gradients and step both optimisers; returns the backbone's gradient norm before clipping."""
        optimizers = (self.optimizer, self.head_optimizer)
        with active_rows(self.head_optimizer, self.head):
            for optimizer in optimizers:
                self.scaler.unscale_(optimizer)
            limit = self.recipe.optimizer.grad_clip or float("inf")
            norm = nn.utils.clip_grad_norm_(self.backbone.parameters(), limit)
            if self.scaler.is_enabled():
                self._share_overflow()
            for optimizer in optimizers:
                self.scaler.step(optimizer)
        self.scaler.update()
        if self.ema is not None:
            self.ema.update_parameters(self.backbone)
        return norm

    def _share_overflow(self) -> None:
        """Let all processes skip the step if a gradient of any process overflowed in fp16.

        Otherwise the loss scales of the processes would diverge.
        """
        flags: list[Tensor] = []
        for optimizer in (self.optimizer, self.head_optimizer):
            flags += self.scaler._found_inf_per_device(optimizer).values()
        overflow = torch.stack(flags).amax()
        if dist.is_initialized():
            dist.all_reduce(overflow, dist.ReduceOp.MAX)
        for flag in flags:
            flag.copy_(overflow)

    def _out_of_memory_message(self) -> str:
        smaller = [n for n in micro_batches(self.num_faces) if n < self.micro_batch]
        remedies = [f"--micro-batch {smaller[-1]}"] if smaller else []
        if not self.options.gradient_checkpointing:
            remedies.append("--gradient-checkpointing")
        return (
            f"{OUT_OF_MEMORY} at step {self.step} with {self.micro_batch} faces at a time in each process; "
            f"set {' or '.join(remedies) or 'NPROC higher, on more devices'}"
        )

    def stateful_parts(self) -> dict[str, StatefulPart]:
        """Objects whose state dicts a checkpoint holds, by name; the class weights are gathered separately."""
        parts: dict[str, StatefulPart] = {
            "backbone": self.backbone,
            "margin": self.head.margin,
            "optimizer": self.optimizer,
            "scaler": self.scaler,
        }
        if self.ema is not None:
            parts["ema"] = self.ema
        return parts


def _is_out_of_memory(error: Exception) -> bool:
    kinds = (torch.OutOfMemoryError, MemoryError)
    return isinstance(error, kinds) or "can't allocate memory" in str(error)  # torch's message on a CPU


def _parameter_groups(backbone: nn.Module, head: Head) -> list[dict[str, Any]]:
    """All parameters but the class weights. Batch norms get no weight decay, as in the reference."""
    norms = [module for module in backbone.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    norm_ids = {id(parameter) for module in norms for parameter in module.parameters()}
    trained = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
    margin = list(head.margin.parameters())
    return [
        {"params": [parameter for parameter in trained if id(parameter) not in norm_ids] + margin},
        {"params": [parameter for parameter in trained if id(parameter) in norm_ids], "weight_decay": 0.0},
    ]


def _make_optimizer(groups: list[dict[str, Any]], settings: Optimizer) -> torch.optim.Optimizer:
    if settings.kind == "adamw":
        return torch.optim.AdamW(groups, lr=settings.lr, weight_decay=settings.weight_decay)
    return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay)
