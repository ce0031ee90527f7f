"""Gradient checkpointing: activations within a block are computed again in the backward pass instead of being kept."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def run_blocks(blocks: Iterable[nn.Module], x: Tensor, *, recompute: bool) -> Tensor:
    """``x`` through the blocks, one after the other.

    Args:
        blocks: Each takes and gives one tensor.
        x: What the first takes.
        recompute: Whether the activations inside each block are computed again in the backward pass. Changes no bit.
    """
    for block in blocks:
        if recompute:
            x = checkpoint(block, x, use_reentrant=False, context_fn=partial(_recomputing, block))
        else:
            x = block(x)
    return x


def has_batch_norm(module: nn.Module) -> bool:
    """Whether any part is a batch norm, whose running statistics count a batch whenever it is computed."""
    return any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules())


def _recomputing(block: nn.Module) -> tuple[AbstractContextManager, AbstractContextManager]:
    """Contexts of a checkpointed block's two forward passes: the second must not count in the running statistics."""
    return nullcontext(), _frozen_statistics(block)


@contextmanager
def _frozen_statistics(block: nn.Module) -> Iterator[None]:
    norms = [module for module in block.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    before = [(n, n.momentum, count, count.clone()) for n in norms if (count := n.num_batches_tracked) is not None]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:  # the second pass ends by an exception as soon as it has all that it needs
        for norm, momentum, count, earlier in before:
            norm.momentum = momentum
            count.copy_(earlier)
