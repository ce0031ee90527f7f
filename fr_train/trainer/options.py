"""How a run is carried out: what changes its speed, memory and messages, but not what is learned.

Part of no recipe and no fingerprint: an interrupted run may go on with other options. As with more processes, smaller
micro batches let batch norm see fewer faces at a time and dropout draw other masks; nothing else moves beyond rounding,
but for AdaFace and CurricularFace, whose running statistics follow the micro batches.
"""

import argparse
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class RunOptions:
    """Options of one run."""

    device: str = "cpu"
    """Torch device; under torchrun with GPUs, each process takes its own."""
    num_workers: int | None = None
    """Processes that decode and augment, for each rank; None takes one per spare core, at most 8. Changes no bit."""
    micro_batch: int | None = None
    """Faces at a time in one process; gradients add up to the global batch. None takes a rank's whole share."""
    compile: bool = False
    """Whether the backbone runs through torch.compile."""
    gradient_checkpointing: bool = False
    """Whether activations are computed again in the backward pass instead of being kept."""
    checkpoint_minutes: float = 10
    """Longest time between checkpoints within an epoch; one is written after every epoch in any case."""
    validate_every: int = 5
    """Epochs between validations, and after the last; 0 for never. Shorter runs are not validated."""


def add_run_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a training run."""
    parser.add_argument("--micro-batch", type=int, help="faces at a time in one process (default: all of its share)")
    parser.add_argument("--compile", action="store_true", help="torch.compile the backbone")
    parser.add_argument("--gradient-checkpointing", action="store_true", help="less memory for a third more time")
    parser.add_argument("--checkpoint-minutes", type=float, default=RunOptions.checkpoint_minutes, metavar="MINUTES")
    parser.add_argument("--validate-every", type=int, default=RunOptions.validate_every, metavar="EPOCHS")
    parser.add_argument("--num-workers", type=int, help="decoding processes of each rank (default: spare cores)")


def run_options(args: argparse.Namespace, device: str) -> RunOptions:
    """The options that the flags say."""
    return RunOptions(device, **{field.name: getattr(args, field.name) for field in fields(RunOptions)[1:]})
