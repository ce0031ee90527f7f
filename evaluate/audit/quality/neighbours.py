"""Two sets of features -> precision, recall, density and coverage, from balls that reach to the k-th neighbour.

| measure | share of | in |
|---|---|---|
| precision | our images | the ball of at least one real image |
| recall | real images | the ball of at least one of our images |
| coverage | real images | whose own ball holds at least one of our images |

Density is the number of real balls that hold one of our images, divided by k, as a mean over our images: 1 for two
samples of one distribution, above 1 where our images crowd together. Precision and recall: Kynkäänniemi et al., arXiv
1904.06991; density and coverage: Naeem et al., arXiv 2002.09797. The values equal those of the package ``prdc`` 0.2,
which holds all N x N distances in memory. Here distances are computed block by block. Time grows with the square of the
number of images, memory with the number. Measured for two sets with D = 512 on one CPU thread; memory is that of the
process with both sets:

| images of each set | seconds of CPU | memory |
|---|---|---|
| 12,500 | 8 | 0.8 GB |
| 25,000 | 28 | 0.8 GB |
| 50,000 | 111 | 1.1 GB |
| 100,000 | 564, beside other work | 1.6 GB |

Legend: N our images, M real images, D dimensions, B rows of a block.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from bench.errors import InputError
from bench.machine.progress import progress
from evaluate.audit.quality.checks import check_pair

NUM_NEIGHBOURS = 5
_BLOCK_ROWS, _BLOCK_COLUMNS = 1024, 8192
_MIN_BLOCKS_FOR_BAR = 21
_ROUNDING = 4e-6
"""Rounding of a squared distance in float32, in units of the squared length of the vectors."""


@dataclass(frozen=True)
class Overlap:
    """Result of ``measure_overlap``; shares are fractions."""

    precision: float
    recall: float
    density: float
    coverage: float


def measure_overlap(
    features: NDArray[np.floating],
    real: NDArray[np.floating],
    *,
    num_neighbours: int = NUM_NEIGHBOURS,
    device: str = "cpu",
    block_rows: int = _BLOCK_ROWS,
    block_columns: int = _BLOCK_COLUMNS,
) -> Overlap:
    """Precision, recall, density and coverage of a dataset against real faces.

    An image lies in a ball if its distance is *smaller* than the radius, by more than float32 rounds: a set against
    itself has 1 for all four, density within 1e-3. Distances are Euclidean. Memory beyond the input is one copy of both
    sets as float32 and one block of distances.

    Args:
        features: Features of the dataset, shape (N, D).
        real: Features of real faces, shape (M, D).
        num_neighbours: k; the radius of a ball is the distance to the k-th nearest *other* image of the same set.
        device: Torch device of the products.
        block_rows: Rows of a block of distances.
        block_columns: Columns of a block of distances.

    Raises:
        InputError: If the widths differ, a number is not finite, or a set has at most k images.
    """
    if num_neighbours < 1:
        raise InputError(f"{num_neighbours} neighbours make no ball; give 1 or more")
    check_pair(features, real, min_rows=num_neighbours + 1)
    block = (block_rows, block_columns)
    ours, theirs = (_tensor(rows, device) for rows in (features, real))
    our_radii, real_radii = (_squared_radii(rows, num_neighbours, block) for rows in (ours, theirs))
    num_balls = 0
    is_precise = torch.zeros(len(ours), dtype=torch.bool, device=device)
    is_recalled = torch.zeros(len(theirs), dtype=torch.bool, device=device)
    nearest = torch.full((len(theirs),), torch.inf, device=device)
    for rows, columns, squared in _distance_blocks(ours, theirs, block):  # (B, columns)
        is_in_real = squared < real_radii[columns]
        num_balls += int(is_in_real.sum())
        is_precise[rows] |= is_in_real.any(dim=1)
        is_recalled[columns] |= (squared < our_radii[rows, None]).any(dim=0)
        nearest[columns] = torch.minimum(nearest[columns], squared.amin(dim=0))
    return Overlap(
        precision=is_precise.double().mean().item(),
        recall=is_recalled.double().mean().item(),
        density=num_balls / (num_neighbours * len(ours)),
        coverage=(nearest < real_radii).double().mean().item(),
    )


def covered_share(
    features: NDArray[np.floating], real: NDArray[np.floating], num_neighbours: int, *, device: str = "cpu"
) -> float:
    """Recall alone: share of real images in the ball of at least one of ours.

    Args:
        features: Checked features of the dataset, shape (N, D), N above ``num_neighbours``.
        real: Checked features of real faces, shape (M, D).
        num_neighbours: k.
        device: Torch device of the products.
    """
    ours, theirs = (_tensor(rows, device) for rows in (features, real))
    block = (_BLOCK_ROWS, _BLOCK_COLUMNS)
    radii = _squared_radii(ours, num_neighbours, block)
    is_recalled = torch.zeros(len(theirs), dtype=torch.bool, device=device)
    for rows, columns, squared in _distance_blocks(ours, theirs, block):
        is_recalled[columns] |= (squared < radii[rows, None]).any(dim=0)
    return is_recalled.double().mean().item()


def _tensor(features: NDArray[np.floating], device: str) -> torch.Tensor:
    return torch.from_numpy(np.array(features, dtype=np.float32)).to(device)


def _squared_radii(features: torch.Tensor, num_neighbours: int, block: tuple[int, int]) -> torch.Tensor:
    """Squared distance of each row to its k-th nearest other row, less its rounding, shape (N,)."""
    radii = torch.empty(len(features), device=features.device)
    nearest = torch.empty(0)
    for rows, columns, squared in _distance_blocks(features, features, block):
        own = torch.arange(rows.start, rows.stop, device=features.device)
        is_inside = (own >= columns.start) & (own < columns.stop)
        squared[is_inside.nonzero().flatten(), own[is_inside] - columns.start] = torch.inf
        smallest = squared.topk(min(num_neighbours, squared.shape[1]), largest=False).values  # (B, at most k)
        nearest = smallest if columns.start == 0 else torch.cat([nearest, smallest], dim=1)
        nearest = nearest.topk(min(num_neighbours, nearest.shape[1]), largest=False).values
        if columns.stop == len(features):
            radii[rows] = nearest.amax(dim=1)
    return radii - _ROUNDING * features.square().sum(dim=1)


def _distance_blocks(
    first: torch.Tensor, second: torch.Tensor, block: tuple[int, int]
) -> Iterator[tuple[slice, slice, torch.Tensor]]:
    """Squared distances of all rows of ``first`` to all of ``second``: rows, columns, and the block of both."""
    block_rows, block_columns = block
    lengths = second.square().sum(dim=1)
    starts = range(0, len(first), block_rows)
    has_bar = len(starts) >= _MIN_BLOCKS_FOR_BAR
    for start in progress(starts, desc="distances", unit="block") if has_bar else starts:
        rows = slice(start, min(start + block_rows, len(first)))
        part = first[rows]
        own = part.square().sum(dim=1, keepdim=True)
        for left in range(0, len(second), block_columns):
            columns = slice(left, min(left + block_columns, len(second)))
            squared = torch.addmm(lengths[columns].expand(len(part), -1), part, second[columns].T, alpha=-2)
            yield rows, columns, squared.add_(own).clamp_(min=0)
