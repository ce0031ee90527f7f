"""The real command, killed with kill -9 and by another number of processes: the same bytes."""

import pytest
from interrupted_generation import check_equal, make_four


@pytest.mark.slow
def test_killed_or_by_two_processes_the_command_makes_the_same_bytes(tmp_path):
    counts = {"num_identities": 12, "images_per_identity": 3, "identities_per_shard": 2}
    made = make_four(tmp_path, kills=2, size="tiny", **counts)
    check_equal(made)
    assert sum(hits for _, hits in made.values()) >= 1
