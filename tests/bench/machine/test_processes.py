"""Work shared by the processes of a group, and the end of the group, however its block ends."""

import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from training import run_processes

from bench.errors import InputError, Preempted
from bench.machine.processes import average_gradients, gather_in_order, process_group, share_in_order


class StopError(Exception):
    """An error that ends a block."""


def squares(items):
    for item in items:
        if item < 0:
            raise InputError(f"{item} is negative")
        yield item**2


def test_one_process_does_everything():
    assert list(share_in_order([3, 1, 2], squares)) == [9, 1, 4]
    with pytest.raises(InputError, match="-1 is negative"):
        list(share_in_order([3, -1, 2], squares))


def share_and_leave(folder):
    """Average gradients, share items with a bad one among them, then leave by an error; write what was seen."""
    network = torch.nn.Linear(2, 1)
    with suppress(StopError), process_group("cpu"):
        averaging = average_gradients(network)
        averaging(torch.full((1, 2), float(os.environ["RANK"]))).sum().backward()
        done = []

        def work(items):
            for result in squares(items):
                done.append(result)
                yield result

        seen = list(share_in_order([3, 1, 2, 5, 4], work))
        error = None
        try:
            list(share_in_order([3, 1, -2, 5], squares))
        except InputError as bad:
            error = str(bad)
        raise StopError
    threads = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    mean = network.weight.grad.mean().item()
    found = {
        "seen": seen,
        "gradient": mean,
        "done": done,
        "error": error,
        "threads": threads,
        "joined": dist.is_initialized(),
    }
    (folder / f"{os.environ['RANK']}.json").write_text(json.dumps(found))
    with suppress(Preempted), process_group("cpu"):  # a process may join again
        gather_in_order(None)
        raise Preempted(signal.SIGTERM)
    assert not dist.is_initialized()


@pytest.mark.slow
@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_share_items_and_end_their_group_before_they_end(tmp_path, world_size):
    run_processes(share_and_leave, world_size, tmp_path)
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(world_size)]
    for rank, process in enumerate(found):
        assert process["seen"] == [9, 1, 4, 25, 16]
        assert process["done"] == process["seen"][rank::world_size]
        assert process["error"] == "-2 is negative"
        assert process["joined"] is False
        assert process["gradient"] == pytest.approx((world_size - 1) / 2)  # the mean of the ranks
        if sys.platform == "linux":
            assert not [name for name in process["threads"] if "gloo" in name]
