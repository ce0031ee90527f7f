"""Options of a training run that change its speed, memory and messages, but not what is learned.

They are in no recipe and no fingerprint, so an interrupted run may resume with other options. The micro batch, like the
number of processes, has an effect beyond rounding on three things: batch norm sees fewer faces at a time, dropout draws
other masks, and AdaFace and CurricularFace update their running statistics once per micro batch.
"""

import argparse
from dataclasses import dataclass, fields

from bench.config import flags


@dataclass(frozen=True)
class RunOptions:
    """Options of one run."""

    device: str = "cpu"
    """Torch device: cpu, cuda or cuda:N. Under torchrun with GPUs, each process takes the GPU of its local rank."""
    num_workers: int | None = None
    """Worker processes per rank that decode and augment. None takes one per spare core, at most 8; the result is
    bitwise the same for any number."""
    micro_batch: int | None = None
    """Faces per forward pass of a process; gradients are accumulated to the global batch. None takes the rank's whole
    share of the batch."""
    compile: bool = False
    """Whether to run the backbone through torch.compile."""
    gradient_checkpointing: bool = False
    """Whether the backward pass recomputes activations, which saves memory."""
    checkpoint_minutes: float = 10
    """Minutes between checkpoints within an epoch. One is also written after every epoch."""
    validate_every: int = 5
    """Epochs between validations; the last epoch is validated too. 0 switches validation off, and runs of fewer epochs
    are not validated."""


def add_run_flags(parser: argparse.ArgumentParser) -> None:
    """Add one flag for every field of ``RunOptions`` but the device."""
    parser.add_argument(
        "--micro-batch",
        type=flags.count,
        metavar="FACES",
        help="faces per forward pass of a process, to save memory (default: the process's whole share of the batch)",
    )
    parser.add_argument("--compile", action="store_true", help="run the backbone through torch.compile (default: off)")
    parser.add_argument(
        "--gradient-checkpointing",
        action="store_true",
        help="recompute activations in the backward pass: less memory, a third more time (default: off)",
    )
    parser.add_argument(
        "--checkpoint-minutes",
        type=flags.positive_or_zero,
        default=RunOptions.checkpoint_minutes,
        metavar="MINUTES",
        help="minutes between checkpoints within an epoch; each epoch ends with one too (default: %(default)s)",
    )
    parser.add_argument(
        "--validate-every",
        type=flags.count_or_zero,
        default=RunOptions.validate_every,
        metavar="EPOCHS",
        help="epochs between validations on the test sets that are present; 0 for none (default: %(default)s)",
    )
    parser.add_argument(
        "--num-workers",
        type=flags.count_or_zero,
        metavar="PROCESSES",
        help="worker processes per rank that decode and augment (default: one per spare core, at most 8)",
    )


def run_options(args: argparse.Namespace, device: str) -> RunOptions:
    """The options of parsed flags, on a device."""
    return RunOptions(device, **{field.name: getattr(args, field.name) for field in fields(RunOptions)[1:]})
