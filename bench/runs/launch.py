"""How a stage of a benchmark is started: as a command of its own, under the launcher that the user names."""

import argparse
import os
import shlex
import sys

from bench.cli import stage_parser
from bench.runs.stage import Stage

_PACKAGES = {"generate": "generate", "train": "fr_train", "evaluate": "evaluate"}
_FLAGS = ("scale", "seed", "device", "runs", "test_sets", "weights", "config")


def stage_command(stage: Stage, args: argparse.Namespace) -> list[str]:
    """The stage's own command; NPROC or LAUNCH put a launcher before it, TRAIN_FLAGS end that of the training.

    Args:
        stage: What to run.
        args: The stage flags of the benchmark's command.
    """
    launcher = [sys.executable, "-m"]
    if os.environ.get("LAUNCH"):
        launcher = [*shlex.split(os.environ["LAUNCH"]), "-m"]
    elif int(os.environ.get("NPROC") or 1) > 1:
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        launcher += [f"--nproc-per-node={os.environ['NPROC']}", "-m"]
    flags = {name: getattr(args, name) for name in _FLAGS}
    usual = vars(stage_parser("", "").parse_args([]))  # a card records the command: without what goes without saying
    flat = [
        part
        for name, value in flags.items()
        if name in ("scale", "seed") or value != usual[name]
        for part in (f"--{name.replace('_', '-')}", str(value))
    ]
    own = shlex.split(os.environ.get("TRAIN_FLAGS", "")) if stage.name == "train" else []
    return [*launcher, _PACKAGES[stage.name], *flat, *own]
