"""How much a rehearsal runs, and how rates and memory of the long run follow from so little."""

import argparse
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.runs.cards import DatasetCard, ModelCard

_BYTES_OF_CLASS_WEIGHT = 12
"""A float32 weight of the head, its gradient and its momentum."""


@dataclass(frozen=True)
class Sizes:
    """How much is rehearsed."""

    num_identities: int
    """Identities of the first dataset, for each process."""
    images_per_identity: int
    times_more: int
    """The second dataset has this many times the identities of the first; their differences give rate and bytes."""
    num_steps: int
    """Steps of training."""
    batch_size: int | None
    """Faces per step of one process; None for the batch of the recipe."""
    num_pairs: int
    """Pairs of each test set."""


ON_A_GPU = Sizes(64, 16, times_more=3, num_steps=120, batch_size=None, num_pairs=500)
ON_A_CPU = Sizes(8, 4, times_more=4, num_steps=8, batch_size=4, num_pairs=40)
RELEASED_ON_A_CPU = Sizes(2, 4, times_more=2, num_steps=8, batch_size=4, num_pairs=40)
"""For networks of the released size. An image for which AttrOP takes all its steps needs 15 seconds on two cores."""


def marginal_rate(few: DatasetCard, many: DatasetCard) -> float:
    """Images per second of generating without the start-up, from two datasets.

    Loading the networks takes as long for a few images as for millions, so the plain rate of a few would be too low.
    """
    seconds, images = many.cost.seconds - few.cost.seconds, many.num_images - few.num_images
    if seconds <= 0:  # another program slowed down the first one
        return many.num_images / many.cost.seconds
    return images / seconds


def step_rate(card: ModelCard) -> float | None:
    """Images per second of the steps of a training, without the wait for the first faces of a short one."""
    rate, waited = card.final.get("images_per_second"), card.final.get("data_wait_share")
    if not rate or waited is None:
        return card.cost.images_per_second
    return rate / max(1 - waited, 0.05)


def head_gigabytes(num_classes: float, embedding_dim: int) -> float:
    """Memory in GB of the class weights of so many identities in training, with gradient and momentum."""
    return num_classes * embedding_dim * _BYTES_OF_CLASS_WEIGHT / 1e9


@dataclass(frozen=True)
class MemoryOfTraining:
    """A line through the memory that two small batches took."""

    size: int
    """Faces of the smaller batch; the other has twice as many."""
    gigabytes: float
    """Memory with ``size`` faces at a time."""
    per_face: float
    """What each further face adds, GB."""

    def of(self, num_faces: int) -> float:
        """Memory in GB with ``num_faces`` at a time."""
        return self.gigabytes + self.per_face * (num_faces - self.size)

    def largest(self, num_faces: int, limit: float) -> int:
        """The largest part of ``num_faces``, at least 2, that fits into ``limit`` GB and divides them evenly."""
        parts = (n for n in range(2, num_faces + 1) if num_faces % n == 0 and self.of(n) <= limit)
        return max(parts, default=2)


def asked_micro_batch() -> int | None:
    """The faces at a time that TRAIN_FLAGS asks for; None if it does not say."""
    return _micro_batch_of(shlex.split(os.environ.get("TRAIN_FLAGS", "")))[0]


@contextmanager
def train_flags(micro_batch: int | None) -> Iterator[None]:
    """Set TRAIN_FLAGS for the block: the user's, with this micro-batch, and without validations."""
    before = os.environ.get("TRAIN_FLAGS", "")
    words = [*_micro_batch_of(shlex.split(before))[1], "--validate-every", "0"]
    os.environ["TRAIN_FLAGS"] = shlex.join(words + (["--micro-batch", str(micro_batch)] if micro_batch else []))
    try:
        yield
    finally:
        os.environ["TRAIN_FLAGS"] = before


def _micro_batch_of(words: list[str]) -> tuple[int | None, list[str]]:
    """The value of --micro-batch in flags, and the other flags."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--micro-batch", type=int)
    known, others = parser.parse_known_args(words)
    return known.micro_batch, others
