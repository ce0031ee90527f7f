"""How much a rehearsal runs, and how rates and memory of the long run follow from so little."""

import argparse
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.config.recipe import REHEARSED_IDENTITIES, micro_batches
from bench.errors import InputError
from bench.runs.cards import DatasetCard, ModelCard
from bench.runs.launch import words_of


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
    """Faces per step of one process, at most; None for the batch of the recipe. From 16 on, memory grows evenly."""
    num_pairs: int
    """Pairs of each test set."""


ON_A_GPU = Sizes(64, 16, times_more=3, num_steps=120, batch_size=None, num_pairs=500)
ON_A_CPU = Sizes(8, 4, times_more=4, num_steps=8, batch_size=16, num_pairs=40)
RELEASED_ON_A_CPU = Sizes(2, 4, times_more=2, num_steps=8, batch_size=16, num_pairs=40)
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


def ever_smaller(micro_batch: int, num_faces: int) -> list[int]:
    """Micro-batches of a process with ``num_faces``, from the given one on, each at most half of the one before."""
    sizes = [micro_batch]
    while smaller := [n for n in micro_batches(num_faces) if 2 * n <= sizes[-1]]:
        sizes.append(smaller[-1])
    return sizes


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

    def largest(self, num_faces: int, limit: float) -> int | None:
        """The largest micro-batch of a process with ``num_faces`` that fits into ``limit`` GB; None if none does."""
        return max((n for n in micro_batches(num_faces) if self.of(n) <= limit), default=None)


def asked_micro_batch() -> int | None:
    """The faces at a time that TRAIN_FLAGS asks for; None if it does not say.

    Raises:
        InputError: If TRAIN_FLAGS is no command line, or its --micro-batch no number.
    """
    return _micro_batch_of(words_of("TRAIN_FLAGS"))[0]


@contextmanager
def rehearsed_training(micro_batch: int | None, num_identities: int) -> Iterator[None]:
    """Let trainings that the block starts rehearse.

    Args:
        micro_batch: Faces at a time, in place of what TRAIN_FLAGS says; None for all faces of a process.
        num_identities: Identities of the long run, so many class weights are trained; 0 for those of the dataset.
    """
    words = [*_micro_batch_of(words_of("TRAIN_FLAGS"))[1], "--validate-every", "0"]
    changed = {
        "TRAIN_FLAGS": shlex.join(words + (["--micro-batch", str(micro_batch)] if micro_batch else [])),
        REHEARSED_IDENTITIES: str(num_identities),
    }
    before = {name: os.environ.get(name, "") for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        os.environ.update(before)


def _micro_batch_of(words: list[str]) -> tuple[int | None, list[str]]:
    """The value of --micro-batch in flags, and the other flags."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--micro-batch")
    known, others = parser.parse_known_args(words)
    if known.micro_batch is not None and not known.micro_batch.isdecimal():
        raise InputError(f"TRAIN_FLAGS has --micro-batch {known.micro_batch}, which is no number of faces; give one")
    return known.micro_batch and int(known.micro_batch), others
