"""Gradient checkpointing: the backward pass recomputes the activations inside a block, so that they need no memory.

Batch norm would count a batch twice; its running statistics are therefore frozen during the recomputation.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def run_blocks(blocks: Iterable[nn.Module], x: Tensor, *, recompute: bool) -> Tensor:
    """Apply the blocks to ``x``, one after the other.

    Args:
        blocks: Modules that map one tensor to one tensor.
        x: Input of the first block.
        recompute: Whether the backward pass recomputes the activations inside each block. Results are bitwise equal.
    """
    for block in blocks:
        if recompute:
            x = checkpoint(block, x, use_reentrant=False, context_fn=partial(_recompute_contexts, block))
        else:
            x = block(x)
    return x


def has_batch_norm(module: nn.Module) -> bool:
    """Whether the module contains a batch norm."""
    return bool(_batch_norms(module))


def _batch_norms(module: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    return [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]


def _recompute_contexts(block: nn.Module) -> tuple[AbstractContextManager, AbstractContextManager]:
    """Context managers for the first forward pass of a block, and for its recomputation."""
    return nullcontext(), _frozen_statistics(block)


@contextmanager
def _frozen_statistics(block: nn.Module) -> Iterator[None]:
    """Freeze the running statistics of all batch norms during the block."""
    norms = _batch_norms(block)
    saved = [(n, n.momentum, count, count.clone()) for n in norms if (count := n.num_batches_tracked) is not None]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:  # PyTorch ends the recomputation by an exception as soon as it has every tensor that it needs
        for norm, momentum, count, saved_count in saved:
            norm.momentum = momentum
            count.copy_(saved_count)
