"""How many images each part of a mixture gives, from shares and a budget.

The two budgets answer different questions. ``total_images`` keeps the size of the mixture: can synthetic faces replace
real ones? ``keep_real`` keeps all real faces and adds to them: do synthetic faces help?
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.errors import InputError
from bench.faces.mixture.subset import By

_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Budget:
    """The rule for the sizes of the parts. With neither field every part is taken whole."""

    total_images: int | None = None
    """Images of the mixture; each part gives its share of them, and the shares add up to 1."""
    keep_real: bool = False
    """Take the real parts whole; of every other part, its share times their number of images."""
    filled_by: By = "identities"
    """Whether a part is cut to its size by leaving out identities, or images of all identities."""


@dataclass(frozen=True)
class PartSize:
    """What a budget needs to know of a part."""

    name: str
    num_images: int
    share: float | None = None
    is_real: bool = False


def check_shares(sizes: Sequence[PartSize], budget: Budget) -> None:
    """Refuse shares that do not fit the budget.

    Args:
        sizes: The parts; their numbers of images are not looked at.
        budget: The rule.

    Raises:
        InputError: If shares are missing or not wanted, or do not add up to 1.
    """
    with_share = [part.name for part in sizes if part.share is not None]
    without_share = [part.name for part in sizes if part.share is None and not (budget.keep_real and part.is_real)]
    if budget.total_images is not None and budget.keep_real:
        raise InputError(f"total_images={budget.total_images} and keep_real are two budgets; give one of them")
    if budget.total_images is None and not budget.keep_real:
        if with_share:
            raise InputError(f"share of {', '.join(with_share)} is a share of nothing; give total_images or keep_real")
        return
    if without_share:
        raise InputError(f"{', '.join(without_share)} without a share; give one to every part, 0 to leave a part out")
    if budget.total_images is not None:
        total = sum(part.share or 0 for part in sizes)
        if abs(total - 1) > _TOLERANCE:
            raise InputError(f"the shares add up to {total:g}; with total_images they must add up to 1")
        return
    if not any(part.is_real for part in sizes):
        raise InputError("keep_real, but no part is real; set real on the parts to keep whole")
    if wrong := [part.name for part in sizes if part.is_real and part.share is not None]:
        raise InputError(f"{', '.join(wrong)} is real and kept whole, so it has no share; remove the share")


def images_of_parts(sizes: Sequence[PartSize], budget: Budget) -> list[int]:
    """Number of images that each part gives.

    With ``total_images`` they add up to it exactly: largest remainders are rounded up.

    Args:
        sizes: The parts, with the number of images that each has.
        budget: The rule.

    Raises:
        InputError: If the shares do not fit the budget, or a part has fewer images than its share (says how many).
    """
    check_shares(sizes, budget)
    available = [part.num_images for part in sizes]
    if budget.total_images is not None:
        wanted = _apportion(budget.total_images, [part.share or 0 for part in sizes])
    elif budget.keep_real:
        num_real = sum(part.num_images for part in sizes if part.is_real)
        wanted = [part.num_images if part.is_real else round((part.share or 0) * num_real) for part in sizes]
    else:
        wanted = available
    for part, num_images in zip(sizes, wanted, strict=True):
        if num_images > part.num_images:
            raise InputError(
                f"part {part.name} has {part.num_images} images, but its share of {part.share:g} is {num_images}; "
                "lower the share or the budget, or take more of the part"
            )
    return wanted


def _apportion(total: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers close to ``total`` times the shares, which add up to 1; they add up to ``total``."""
    exact = total * np.asarray(shares)
    counts = np.floor(exact + _TOLERANCE).astype(int)
    largest_remainders = np.argsort(-(exact - counts), kind="stable")
    counts[largest_remainders[: total - counts.sum()]] += 1
    return counts.tolist()
