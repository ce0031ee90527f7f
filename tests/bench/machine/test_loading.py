"""Prefetched batches come in order, whatever the workers; bad input is raised as the worker raised it."""

import os

import pytest
from torch.utils.data import Dataset

from bench.errors import InputError
from bench.machine.loading import default_workers, prefetched_batches, timed


class Squares(Dataset):
    """Batch s is s * s; the batch of step 7 is broken."""

    def __getitem__(self, step):
        if step == 7:
            raise InputError("batch 7 is broken; mend it")
        return step * step


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_come_in_order_and_errors_as_they_were_raised(num_workers):
    assert list(prefetched_batches(Squares(), range(2, 6), num_workers=num_workers)) == [4, 9, 16, 25]
    with pytest.raises(InputError, match=r"^batch 7 is broken; mend it$"):
        list(prefetched_batches(Squares(), range(6, 9), num_workers=num_workers))


def test_waiting_is_timed_and_work_is_not(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("bench.machine.loading.time.perf_counter", lambda: now[0])

    def slow_batches():
        for batch in "ab":
            now[0] += 2
            yield batch

    waits = []
    for batch, waited in timed(slow_batches()):
        now[0] += 100
        waits.append((batch, waited))
    assert waits == [("a", 2.0), ("b", 2.0)]


@pytest.mark.parametrize(("cores", "ranks", "workers"), [(1, 1, 1), (4, 1, 3), (64, 1, 8), (16, 4, 3), (2, 4, 1)])
def test_the_ranks_of_a_machine_share_its_cores(monkeypatch, cores, ranks, workers):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(ranks))
    assert default_workers() == workers
