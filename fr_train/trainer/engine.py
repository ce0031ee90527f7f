"""One step of training: backbone, head, optimisers, and all else that changes while a network is trained.

A step is the same whatever the number of processes: the batch is global, each takes its share, and where that does not
fit into memory, in micro batches whose gradients add up.

Legend: B global batch, b faces of one process.
"""

from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from bench.config.recipe import Optimizer, Recipe
from bench.errors import InputError
from fr_train.trainer.data import Batch
from fr_train.trainer.head import Head, active_rows, build_margin
from fr_train.trainer.options import RunOptions
from fr_train.trainer.prepared import AUTOCAST, callable_for_steps, is_channels_last, make_backbone

_NEVER = torch.iinfo(torch.int64).max


class Engine:
    """What is trained, and how a step changes it.

    Args:
        num_identities: Of the dataset.
        recipe: How to train.
        options: How to carry it out.
        seed: Of the weights, which come from the global generator, of dropout and of the sampling of identities.
        device: Of this process.

    Raises:
        InputError: If the micro batch does not divide a process's share, or options and recipe do not fit.
    """

    def __init__(
        self, num_identities: int, recipe: Recipe, options: RunOptions, *, seed: int, device: torch.device
    ) -> None:
        self.recipe, self.options, self.seed, self.device, self.step = recipe, options, seed, device, 0
        self.backbone = make_backbone(recipe, options, device)
        margin = build_margin(recipe.margin, num_identities)
        dim, rate = recipe.backbone.embedding_dim, recipe.margin.sample_rate
        self.head = Head(num_identities, dim, margin, sample_rate=rate, seed=seed).to(device)
        self.num_faces = recipe.batch_size // self.head.world_size
        """Faces of this process in a step, b."""
        self.micro_batch = _checked_micro_batch(options.micro_batch, self.num_faces)
        self.optimizer = _make_optimizer(_parameter_groups(self.backbone, self.head), recipe.optimizer)
        self.head_optimizer = _make_optimizer([{"params": [self.head.weight]}], recipe.optimizer)
        self.scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16")
        self.ema = None
        if recipe.ema_decay:
            average = get_ema_multi_avg_fn(recipe.ema_decay)
            self.ema = AveragedModel(self.backbone, multi_avg_fn=average, use_buffers=True)
        self.network = callable_for_steps(self.backbone, recipe, options, self.micro_batch)
        self.first_bad_step = torch.tensor(_NEVER, device=device)
        """First step of this run whose loss was not finite; on the device, so that a step need not wait for it."""

    @property
    def trained(self) -> nn.Module:
        """The network that training is for: the running average of the weights where the recipe keeps one."""
        return self.ema.module if self.ema is not None else self.backbone

    def update(self, batch: Batch, lr: float) -> dict[str, Tensor]:
        """One step of the optimisers.

        Args:
            batch: This process's share, b faces.
            lr: Learning rate.

        Returns:
            Loss, a mean over the global batch, and gradient norm of the backbone; still on the device.

        Raises:
            InputError: If memory runs out; says which micro batch to set.
        """
        self.network.train()
        self.head.train()
        for optimizer in (self.optimizer, self.head_optimizer):
            optimizer.zero_grad()
            for group in optimizer.param_groups:
                group["lr"] = lr
        try:
            loss = self._add_gradients(batch)
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            raise InputError(self._out_of_memory()) from None
        norm = self._descend()
        bad = torch.where(loss.isfinite(), _NEVER, self.step)
        self.first_bad_step = torch.minimum(self.first_bad_step, bad)
        self.step += 1
        return {"loss": loss, "grad_norm": norm}

    def _add_gradients(self, batch: Batch) -> Tensor:
        """Forward and backward of all micro batches; the loss."""
        self.head.start_step(batch.labels.to(self.device), self.step)
        loss = torch.zeros((), device=self.device)
        parts = batch.parts(self.micro_batch)
        for number, part in enumerate(parts):
            is_shared = isinstance(self.network, DistributedDataParallel) and number < len(parts) - 1
            with self.network.no_sync() if is_shared else nullcontext():  # type: ignore[operator]
                loss += self._backward(part, number, share=len(part) / len(batch))
        self.head.sum_margin_gradients()
        return loss

    def _backward(self, part: Batch, number: int, *, share: float) -> Tensor:
        """Add the gradients of one micro batch, which makes up ``share`` of the loss; that share of the loss."""
        # Dropout depends on (seed, step, rank, micro batch) alone, so a resumed run needs no generator state.
        entropy = np.random.SeedSequence([self.seed, self.step, self.head.rank, number])
        torch.manual_seed(int(entropy.generate_state(1)[0]))
        faces = part.on(self.device, self.recipe.augmentation, self.seed, channels_last=is_channels_last(self.recipe))
        autocast = AUTOCAST.get(self.recipe.precision)
        with torch.autocast(self.device.type, autocast, enabled=autocast is not None):
            features = self.network(faces)
        # The loss is a mean over all processes' faces: their gradients add up, but DistributedDataParallel averages.
        features.register_hook(lambda gradient: gradient * self.head.world_size)
        loss = share * self.head(features, part.labels.to(self.device))
        self.scaler.scale(loss).backward()
        return loss.detach()

    def _descend(self) -> Tensor:
        """Clip, and step both optimisers; the gradient norm before clipping."""
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
        """Where one gradient of one process overflowed, all skip the step; else their loss scales would part."""
        optimizers = (self.optimizer, self.head_optimizer)
        found = [flag for one in optimizers for flag in self.scaler._found_inf_per_device(one).values()]
        worst = torch.stack(found).amax()
        if dist.is_initialized():
            dist.all_reduce(worst, dist.ReduceOp.MAX)
        for flag in found:
            flag.copy_(worst)

    def _out_of_memory(self) -> str:
        smaller = [n for n in range(2, self.micro_batch) if self.num_faces % n == 0]
        remedies = [f"--micro-batch {smaller[-1]}"] if smaller else []
        remedies += [] if self.options.gradient_checkpointing else ["--gradient-checkpointing"]
        return (
            f"memory ran out at step {self.step} with {self.micro_batch} faces at a time in each process; "
            f"set {' or '.join(remedies) or 'NPROC higher, on more devices'}"
        )

    def parts(self) -> dict[str, Any]:
        """What a checkpoint holds besides the head, which is put together from all processes."""
        named = {"backbone": self.backbone, "margin": self.head.margin, "optimizer": self.optimizer}
        named["scaler"] = self.scaler
        return named | ({"ema": self.ema} if self.ema is not None else {})


def _checked_micro_batch(micro_batch: int | None, num_faces: int) -> int:
    if micro_batch is None:
        return num_faces
    fitting = [n for n in range(2, num_faces + 1) if num_faces % n == 0]
    if micro_batch not in fitting:
        nearest = sorted(sorted(fitting, key=lambda n: abs(n - micro_batch))[:2])
        raise InputError(
            f"--micro-batch {micro_batch} does not divide the {num_faces} faces of each process into parts of two or "
            f"more; set {' or '.join(map(str, nearest))}"
        )
    return micro_batch


def _is_out_of_memory(error: Exception) -> bool:
    kinds = (torch.OutOfMemoryError, MemoryError)
    return isinstance(error, kinds) or "can't allocate memory" in str(error)  # the latter on a CPU


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
