"""The head: class weights and a margin, features and identities in, the loss out. Used in training only, in float32.

Over several processes the identities are split in blocks (PartialFC, arXiv 2203.15565): each process holds a block of
the weights, sees the features of all, and computes its columns of the logits; the softmax is put together over the
processes. So 300,000 identities need a share of the memory per process, and the loss and every gradient are those of
one process with the whole batch. With ``sample_rate`` below 1, a step uses the identities in the batch and a random
share of the others, and holds logits and gradients of these alone.

Legend: b faces of this process, B faces of all processes, C identities (here: of this process), D embedding dimension.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from bench.config.recipe import Margin as MarginSettings
from bench.errors import InputError
from fr_train.margin import Margin, make_margin
from fr_train.trainer.augment import draw

_ROWS_AT_ONCE = 4096
_CAN_COLLAPSE = ("arcface", "sphereface", "magface", "combined")


def build_margin(settings: MarginSettings, num_identities: int) -> Margin:
    """The margin that a recipe names; those that can collapse are built monotone unless the recipe says otherwise."""
    parameters: dict[str, float] = {"scale": settings.scale}
    if settings.kind != "magface":  # its margin is a range, given by parameters
        parameters["margin"] = settings.margin
    if settings.kind == "uniface":
        parameters["num_identities"] = num_identities
    if settings.kind in _CAN_COLLAPSE:
        parameters["monotone"] = True
    return make_margin(settings.kind, **parameters | settings.parameters)


class Head(nn.Module):
    """Class weights of this process and the margin.

    Args:
        num_identities: Identities of all processes together.
        embedding_dim: Length D of the features.
        margin: From cosines to logits.
        sample_rate: Share of the identities used per step; those in the batch always are.
        seed: Of the sampling.
    """

    def __init__(
        self, num_identities: int, embedding_dim: int, margin: Margin, *, sample_rate: float = 1.0, seed: int = 0
    ) -> None:
        super().__init__()
        self.rank, self.world_size = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        if num_identities < self.world_size:
            raise InputError(
                f"{num_identities} identities cannot be split over {self.world_size} processes; set NPROC=1"
            )
        self.num_identities, self.margin, self.sample_rate, self.seed = num_identities, margin, sample_rate, seed
        self.start, self.stop = (num_identities * (self.rank + i) // self.world_size for i in (0, 1))
        self.weight = nn.Parameter(self._initial(embedding_dim))
        self.used: Tensor | None = None
        """Rows of ``weight`` that the step uses, ascending; None for all."""
        self.active = self.weight
        """The weights that the step uses, and that get its gradient: ``weight``, or a copy of its used rows."""

    def _initial(self, embedding_dim: int) -> Tensor:
        """This process's rows of N(0, 0.01); the same draws whatever the number of processes, never all in memory."""
        block = torch.empty(self.stop - self.start, embedding_dim)
        for start in range(0, self.num_identities, _ROWS_AT_ONCE):
            rows = torch.empty(min(_ROWS_AT_ONCE, self.num_identities - start), embedding_dim).normal_(0, 0.01)
            first, last = max(start, self.start), min(start + len(rows), self.stop)
            if first < last:
                block[first - self.start : last - self.start] = rows[first - start : last - start]
        return block

    def start_step(self, labels: Tensor, step: int) -> None:
        """Choose the identities of a step; before its first ``forward``.

        Args:
            labels: Identities of all the faces of this process in the step, (b,).
            step: Step of the run, for the sampling.
        """
        if self.sample_rate < 1:
            self.used = self.sampled(self._columns(_gather(labels)), step)
            self.active = nn.Parameter(self.weight.detach()[self.used])

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Mean loss over the faces of all processes; each process gets the same value.

        Args:
            features: Of this process, not normalised, (b, D).
            labels: Identities, (b,), of all: 0 .. num_identities - 1.
        """
        features, columns = _gather_features(features.float()), self._columns(_gather(labels))  # (B, D), (B,)
        is_here = columns >= 0
        if self.used is not None:
            columns = torch.where(is_here, torch.searchsorted(self.used, columns.clamp_min(0)), -1)
        cosine = F.linear(F.normalize(features), F.normalize(self.active))  # (B, C)
        target = cosine.detach()[torch.arange(len(columns), device=columns.device), columns.clamp_min(0)]
        target = _sum_over_processes(torch.where(is_here, target, 0.0))
        logits, regularizer = self.margin(cosine, columns, features.norm(dim=1), target)
        loss = _pairwise_loss(logits, columns) if self.margin.pairwise else _SplitCrossEntropy.apply(logits, columns)
        if regularizer is not None:  # every process has all norms: each gives its share of the gradient
            weighted = self.margin.regularizer_weight * regularizer
            share = weighted / self.world_size
            loss = loss + share + (weighted - share).detach()
        return loss

    def _columns(self, labels: Tensor) -> Tensor:
        """Row of ``weight`` of each label; -1 for those of other processes."""
        return torch.where((labels >= self.start) & (labels < self.stop), labels - self.start, -1)

    def sampled(self, columns: Tensor, step: int) -> Tensor:
        """Identities of this process that this step uses, ascending: those in the batch, and a random share.

        A hash of (seed, step, identity) decides, so that the number of processes changes nothing.
        """
        identities = np.arange(self.start, self.stop)
        used = draw(self.seed, step, identities, "identities", num_draws=1)[:, 0] < self.sample_rate
        used[columns[columns >= 0].cpu().numpy()] = True
        used[0] |= not used.any()  # a softmax needs a column
        return torch.from_numpy(np.flatnonzero(used)).to(columns.device)

    def block(self, whole: Tensor) -> Tensor:
        """The rows of this process out of those of all identities."""
        return whole[self.start : self.stop]

    @torch.no_grad()
    def whole(self, block: Tensor) -> Tensor | None:
        """The rows of all identities, on the CPU of the first process; None in the others. Every process must call.

        Blocks travel one after the other: a device never holds more than one of another process.
        """
        if self.world_size == 1:
            return block.cpu()
        bounds = [self.num_identities * rank // self.world_size for rank in range(self.world_size + 1)]
        blocks = []
        for rank in range(self.world_size):
            num_rows = bounds[rank + 1] - bounds[rank]
            rows = block.contiguous() if rank == self.rank else block.new_empty(num_rows, *block.shape[1:])
            dist.broadcast(rows, rank)
            if self.rank == 0:
                blocks.append(rows.cpu())
        return torch.cat(blocks) if self.rank == 0 else None

    @torch.no_grad()
    def share_gradients(self) -> None:
        """Sum the gradients of the margin's own parameters over the processes; after ``backward``."""
        for parameter in self.margin.parameters():
            if parameter.grad is not None:
                _sum_over_processes(parameter.grad)


@contextmanager
def active_rows(optimizer: torch.optim.Optimizer, head: Head) -> Iterator[None]:
    """Within the block, the optimiser of ``head.weight`` steps the used rows alone; others keep weight and momentum."""
    used, weight, rows = head.used, head.weight, head.active
    if used is None:
        yield
        return
    state = optimizer.state.pop(weight, {})
    optimizer.param_groups[0]["params"] = [rows]
    optimizer.state[rows] = {name: value[used] if _per_row(value, weight) else value for name, value in state.items()}
    yield
    weight.data[used] = rows.detach()
    for name, value in optimizer.state.pop(rows).items():
        if _per_row(value, rows):
            state.setdefault(name, torch.zeros_like(weight.detach()))[used] = value
        else:
            state[name] = value
    optimizer.state[weight] = state
    optimizer.param_groups[0]["params"] = [weight]


def _per_row(value: Any, weight: Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == weight.shape


class _SplitCrossEntropy(torch.autograd.Function):
    """Mean softmax cross-entropy of logits (B, C) whose columns are split over processes; labels are -1 elsewhere."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
        largest = logits.amax(dim=1, keepdim=True)
        if dist.is_initialized():
            dist.all_reduce(largest, dist.ReduceOp.MAX)
        shifted = logits - largest
        rows = (labels >= 0).nonzero().squeeze(1)
        target = torch.zeros(len(labels), device=logits.device)
        target[rows] = shifted[rows, labels[rows]]
        probabilities = shifted.exp_()
        total = _sum_over_processes(probabilities.sum(dim=1))
        ctx.save_for_backward(probabilities.div_(total.unsqueeze(1)), labels, rows)
        return (total.log() - _sum_over_processes(target)).mean()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        probabilities, labels, rows = ctx.saved_tensors
        logit_gradient = probabilities.clone()
        logit_gradient[rows, labels[rows]] -= 1
        return logit_gradient.mul_(gradient / len(labels)), None


def _pairwise_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over rows of the sum of softplus: of -logit for the target, of the logit for the others."""
    rows = (labels >= 0).nonzero().squeeze(1)
    sign = torch.ones_like(logits)
    sign[rows, labels[rows]] = -1
    here = F.softplus(sign * logits).sum() / len(labels)
    return here + (_sum_over_processes(here.detach().clone()) - here.detach())


class _GatherFeatures(torch.autograd.Function):
    """(b, D) -> (B, D); backward sums what the processes' columns say about this process's faces."""

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        ctx.num_faces = len(features)
        return _gather(features)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        gradient = _sum_over_processes(gradient.contiguous())
        start = dist.get_rank() * ctx.num_faces
        return gradient[start : start + ctx.num_faces]


def _gather_features(features: Tensor) -> Tensor:
    return _GatherFeatures.apply(features) if dist.is_initialized() else features


def _gather(tensor: Tensor) -> Tensor:
    """Concatenate over the processes, in rank order; all have equally many rows."""
    if not dist.is_initialized():
        return tensor
    parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, tensor.contiguous())
    return torch.cat(parts)


def _sum_over_processes(tensor: Tensor) -> Tensor:
    """Sum in place; returns the tensor."""
    if dist.is_initialized():
        dist.all_reduce(tensor)
    return tensor
