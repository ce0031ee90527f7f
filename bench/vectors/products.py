"""Products of a block of vectors with many others, some of these at a time."""

from collections.abc import Iterator

import torch


def products_by_blocks(block: torch.Tensor, others: torch.Tensor, rows: int) -> Iterator[tuple[int, torch.Tensor]]:
    """Inner products of every vector of a block with every other one.

    All products are written into one piece of memory: the C library takes each large new one from the system, which
    zeroes it, and that costs a fifth of the time.

    Args:
        block: Float32, shape (B, D).
        others: Float32 on the same device, shape (N, D).
        rows: How many of the others to take at a time.

    Yields:
        Number of the first of the others, and products, shape (B, rows), or fewer columns at the end. The next ones
        overwrite them.
    """
    memory = torch.empty(len(block) * min(rows, len(others)), device=block.device)
    for start in range(0, len(others), rows):
        some = others[start : start + rows]
        products = memory[: len(block) * len(some)].view(len(block), len(some))
        torch.mm(block, some.T, out=products)
        yield start, products
