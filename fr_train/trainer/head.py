"""The head: class weights and a margin. Features and identity labels in, the training loss out, in float32.

Over several processes the identities are split into blocks, one per rank (PartialFC, arXiv 2203.15565). Each rank
holds the class weights of its block, gathers the features of all ranks, and computes its columns of the logits. The
softmax is then normalised over all ranks. Loss and gradients equal those of one process with the whole batch, but each
rank needs only its share of the memory. With ``sample_rate`` below 1, a step uses the identities of its batch and a
random share of the others.

Legend: b faces of this process, B faces of all processes, C identities of this process, D embedding dimension.
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
from bench.machine.processes import joined_rank
from fr_train.margin import Margin, make_margin, target_places
from fr_train.trainer.augment import draw

_ROWS_PER_DRAW = 4096
_CAN_COLLAPSE = ("arcface", "sphereface", "magface", "combined")
"""Margins whose target logit may rise again with the angle; see ``CombinedMargin``."""


def build_margin(settings: MarginSettings, num_identities: int) -> Margin:
    """The margin of a recipe. Margins that can collapse are monotone, unless the recipe sets ``monotone`` itself.

    Raises:
        InputError: If a parameter is unknown to the margin.
    """
    parameters: dict[str, float] = {"scale": settings.scale}
    if settings.kind != "magface":  # magface takes a range of margins, from settings.parameters
        parameters["margin"] = settings.margin
    if settings.kind == "uniface":
        parameters["num_identities"] = num_identities
    if settings.kind in _CAN_COLLAPSE:
        parameters["monotone"] = True
    return make_margin(settings.kind, **parameters | settings.parameters)


class Head(nn.Module):
    """Class weights of this process's identities, and the margin.

    A step calls ``start_step``, ``forward``, the loss's ``backward``, ``sum_margin_gradients``, and steps the optimiser
    of ``weight`` inside ``active_rows``.

    Args:
        num_identities: Number of identities over all processes.
        embedding_dim: Length D of the features.
        margin: Margin loss that turns cosines into logits.
        sample_rate: Share of the other identities used per step, in (0, 1]; those in the batch are always used.
        seed: Seed of that sampling.

    Raises:
        InputError: If there are fewer identities than processes.
    """

    def __init__(
        self, num_identities: int, embedding_dim: int, margin: Margin, *, sample_rate: float = 1.0, seed: int = 0
    ) -> None:
        super().__init__()
        self.rank, self.world_size = joined_rank()
        if num_identities < self.world_size:
            raise InputError(
                f"{num_identities} identities cannot be split over {self.world_size} processes; set NPROC=1"
            )
        self.num_identities, self.margin = num_identities, margin
        self.sample_rate, self.seed = sample_rate, seed
        self.start = num_identities * self.rank // self.world_size
        """First identity of this process."""
        self.stop = num_identities * (self.rank + 1) // self.world_size
        """Identity after the last of this process."""
        self.weight = nn.Parameter(self._initial_weight(embedding_dim))
        self.sampled_rows: Tensor | None = None
        """Rows of ``weight`` that the current step uses, ascending; None for all."""
        self.active_weight = self.weight
        """Class weights that the current step uses and that receive its gradient: ``weight`` or a copy of some rows."""

    def _initial_weight(self, embedding_dim: int) -> Tensor:
        """This process's rows of class weights drawn from N(0, 0.01^2).

        Every process draws the rows of all identities and keeps its own, so that the values do not depend on the number
        of processes. It draws a few thousand rows at a time to save memory.
        """
        block = torch.empty(self.stop - self.start, embedding_dim)
        for start in range(0, self.num_identities, _ROWS_PER_DRAW):
            rows = torch.empty(min(_ROWS_PER_DRAW, self.num_identities - start), embedding_dim).normal_(0, 0.01)
            first, last = max(start, self.start), min(start + len(rows), self.stop)
            if first < last:
                block[first - self.start : last - self.start] = rows[first - start : last - start]
        return block

    def start_step(self, labels: Tensor, step: int) -> None:
        """Sample the identities of a step. Call this before its first ``forward``.

        Args:
            labels: Identities of all faces of this process in the step, shape (b,).
            step: Number of the step in the run, 0 first.
        """
        if self.sample_rate < 1:
            self.sampled_rows = self.sample_rows(self._columns(_gather(labels)), step)
            self.active_weight = nn.Parameter(self.weight.detach()[self.sampled_rows])

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Mean loss over the faces of all processes, a scalar; every process gets the same value.

        Args:
            features: Features of this process before normalisation, shape (b, D).
            labels: Identity of each face, shape (b,), from 0 to num_identities - 1.
        """
        features, columns = _gather_features(features.float()), self._columns(_gather(labels))  # (B, D), (B,)
        if self.sampled_rows is not None:
            columns = torch.where(columns >= 0, torch.searchsorted(self.sampled_rows, columns.clamp_min(0)), -1)
        is_here, places = target_places(columns)
        cosine = F.linear(F.normalize(features), F.normalize(self.active_weight))  # (B, C)
        target = _sum_over_processes(torch.where(is_here, cosine.detach()[places], 0.0))
        logits, regularizer = self.margin(cosine, columns, features.norm(dim=1), target)
        loss = _pairwise_loss(logits, columns) if self.margin.pairwise else _SplitCrossEntropy.apply(logits, columns)
        if regularizer is not None:  # every process computes it from all norms, and adds its share of the gradient
            weighted = self.margin.regularizer_weight * regularizer
            share = weighted / self.world_size
            loss = loss + share + (weighted - share).detach()
        return loss

    def _columns(self, labels: Tensor) -> Tensor:
        """Row of ``weight`` for each label; -1 for identities of other processes."""
        return torch.where((labels >= self.start) & (labels < self.stop), labels - self.start, -1)

    def sample_rows(self, columns: Tensor, step: int) -> Tensor:
        """Rows of ``weight`` that a step uses, ascending: those of the batch and a random share of the others.

        A hash of (seed, step, identity) selects them, so that the number of processes does not matter.

        Args:
            columns: Row of ``weight`` of each face's identity, shape (B,); -1 for identities of other processes.
            step: Number of the step in the run.
        """
        identities = np.arange(self.start, self.stop)
        is_used = draw(self.seed, step, identities, "identities", num_draws=1)[:, 0] < self.sample_rate
        own_columns = columns.cpu().numpy()
        is_used[own_columns[own_columns >= 0]] = True
        is_used[0] |= not is_used.any()  # a softmax needs at least one column
        return torch.from_numpy(np.flatnonzero(is_used)).to(columns.device)

    def own_rows(self, rows: Tensor) -> Tensor:
        """The rows of this process's identities, out of one row per identity of the dataset."""
        return rows[self.start : self.stop]

    @torch.no_grad()
    def gather_rows(self, block: Tensor) -> Tensor | None:
        """The blocks of all processes as one tensor on the CPU of rank 0; None elsewhere. All processes must call this.

        Blocks are broadcast one after the other, so that a device holds at most one block of another process.
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
    def sum_margin_gradients(self) -> None:
        """Sum the gradients of the margin's own parameters over the processes. Call this after ``backward``."""
        for parameter in self.margin.parameters():
            if parameter.grad is not None:
                _sum_over_processes(parameter.grad)


@contextmanager
def active_rows(optimizer: torch.optim.Optimizer, head: Head) -> Iterator[None]:
    """Let the optimiser of ``head.weight`` update only the sampled rows inside the block.

    Other rows keep their weights and their optimiser state (momentum, moments). The state of the sampled rows is copied
    out of the whole state before the block and back after it.

    Args:
        optimizer: Optimiser whose only parameter is ``head.weight``.
        head: The head, after ``start_step``.
    """
    rows, weight, active = head.sampled_rows, head.weight, head.active_weight
    if rows is None:
        yield
        return
    state = optimizer.state.pop(weight, {})
    optimizer.param_groups[0]["params"] = [active]
    optimizer.state[active] = {
        name: value[rows] if has_row_per_identity(value, weight) else value for name, value in state.items()
    }
    yield
    weight.data[rows] = active.detach()
    for name, value in optimizer.state.pop(active).items():
        if has_row_per_identity(value, active):
            state.setdefault(name, torch.zeros_like(weight.detach()))[rows] = value
        else:
            state[name] = value
    optimizer.state[weight] = state
    optimizer.param_groups[0]["params"] = [weight]


def has_row_per_identity(value: Any, weight: Tensor) -> bool:
    """Whether an entry of the optimiser's state is a tensor with a row per identity, as the class weights are."""
    return isinstance(value, Tensor) and value.shape == weight.shape


class _SplitCrossEntropy(torch.autograd.Function):
    """Mean softmax cross-entropy of logits (B, C) whose columns are split over processes.

    ``labels`` (B,) holds the column of each row's target, or -1 where another process has that column.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
        largest = logits.amax(dim=1, keepdim=True)
        if dist.is_initialized():
            dist.all_reduce(largest, dist.ReduceOp.MAX)
        shifted = logits - largest
        is_here, places = target_places(labels)
        target = torch.where(is_here, shifted[places], 0.0)
        probabilities = shifted.exp_()
        total = _sum_over_processes(probabilities.sum(dim=1))
        ctx.save_for_backward(probabilities.div_(total.unsqueeze(1)), labels)
        return (total.log() - _sum_over_processes(target)).mean()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        probabilities, labels = ctx.saved_tensors
        is_here, places = target_places(labels)
        logit_gradient = probabilities.clone()
        logit_gradient[places] -= is_here.to(logit_gradient.dtype)
        return logit_gradient.mul_(gradient / len(labels)), None


def _pairwise_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over the rows of softplus(-target) plus the sum of softplus(other), over the columns of all processes.

    The gradient is that of this process's columns.
    """
    is_here, places = target_places(labels)
    sign = torch.ones_like(logits)
    sign[places] = torch.where(is_here, -1.0, 1.0)
    own_loss = F.softplus(sign * logits).sum() / len(labels)
    return own_loss + (_sum_over_processes(own_loss.detach().clone()) - own_loss.detach())


class _GatherFeatures(torch.autograd.Function):
    """Features (b, D) of each process -> features (B, D) of all; backward sums the gradients over the processes."""

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
    """Concatenate the tensors of all processes in rank order. All must have the same number of rows."""
    if not dist.is_initialized():
        return tensor
    parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, tensor.contiguous())
    return torch.cat(parts)


def _sum_over_processes(tensor: Tensor) -> Tensor:
    """Sum a tensor over the processes in place, and return it."""
    if dist.is_initialized():
        dist.all_reduce(tensor)
    return tensor
