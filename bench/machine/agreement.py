"""Checks that all processes of a launch run the same code on the same settings, before they share any work."""

import json
import os
import secrets
import socket
from collections.abc import Mapping
from typing import Any

import torch.distributed as dist

from bench.errors import InputError
from bench.files import flatten
from bench.machine.device import LAUNCH_NUMBER, process_rank
from bench.machine.facts import changes_digest, git_state
from bench.machine.processes import gather_in_order


def refuse_different_processes(settings: Mapping[str, Any]) -> None:
    """Refuse processes whose commit or settings differ from those of process 0. All processes must call this.

    It also gives the launch a number, see ``bench.machine.device.launch_id``.

    Args:
        settings: What decides the outcome of the stage, nested or flat.

    Raises:
        InputError: In every process. The message names two processes with their machines, and both values.
    """
    if process_rank()[1] == 1:
        return
    git = git_state()
    own = {"commit": f"{git.commit}{f' with the changes {changes_digest()}' if git.dirty else ''}"}
    own |= {name: str(value) for name, value in flatten(dict(settings)).items()}
    description = (socket.gethostname(), own, secrets.token_hex(8))
    everyone = gather_in_order(description) if dist.is_initialized() else _exchange(description)
    first_host, first, os.environ[LAUNCH_NUMBER] = everyone[0]
    for rank, (host, values, _) in enumerate(everyone):
        for name in sorted(first.keys() | values.keys()):
            if first.get(name) != values.get(name):
                raise InputError(
                    f"process {rank} on {host} has {name}={values.get(name)}, process 0 on {first_host} has "
                    f"{name}={first.get(name)}; start the same commit with the same settings on every machine"
                )


def _exchange(description: tuple[str, dict[str, str], str]) -> list[tuple[str, dict[str, str], str]]:
    """The descriptions of all processes, through torchrun's store: a process group can be joined once only."""
    store, rank, world_size = next(iter(dist.rendezvous("env://")))
    store = dist.PrefixStore("agreement", store)
    store.set(f"own{rank}", json.dumps(description))
    everyone = [json.loads(store.get(f"own{other}")) for other in range(world_size)]
    store.set(f"read{rank}", "")
    if rank == 0:  # without torchrun, rank 0 serves the store and must stay until all have read it
        store.wait([f"read{other}" for other in range(world_size)])
    return everyone
