"""The real command makes the same bytes when it is killed with kill -9, and with another number of processes."""

import pytest
import torch
from interrupted_generation import check_equal, make_four

from bench.machine.device import num_cores, use_every_core


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    ("given", "num_processes", "every"),
    [(None, 1, True), (None, 2, True), ("1", 1, False), ("1", 2, True), ("3", 2, False)],
)
def test_threads_do_not_depend_on_the_number_of_processes(monkeypatch, given, num_processes, every):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    use_every_core(num_processes)
    assert torch.get_num_threads() == (num_cores() if every else 1)


@pytest.mark.slow
def test_images_by_landmarks_that_fill_a_quota_have_the_same_bytes_too(tmp_path):
    counts = {"num_identities": 4, "images_per_identity": 3, "identities_per_shard": 2}
    quota = {"quota": {"max_drawn": 6, "max_tried": 10}, "filters": {"min_identity_cosine": 0.0}}  # half pass
    datasets = make_four(tmp_path, kills=2, size="tiny", scale="v20k", **counts, **quota)
    check_equal(datasets, "refused.parquet")


@pytest.mark.slow
def test_killed_or_by_two_processes_the_command_makes_the_same_bytes(tmp_path):
    counts = {"num_identities": 12, "images_per_identity": 3, "identities_per_shard": 2}
    datasets = make_four(tmp_path, kills=2, size="tiny", processes=(1, 2, 3), **counts)
    check_equal(datasets)
    assert sum(hits for _, hits in datasets.values()) >= 1
