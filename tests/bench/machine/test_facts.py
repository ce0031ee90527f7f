"""Facts about the machine: memory as far as a job may use it."""

import psutil
import pytest

from bench.machine import facts
from bench.machine.facts import memory_limit


@pytest.mark.parametrize(
    ("own_groups", "limits", "expected"),
    [
        ("0::/job/step\n", {"job/memory.max": "5000\n", "job/step/memory.max": "max\n"}, 5000),
        ("0::/job/step\n", {"job/memory.max": "5000\n", "job/step/memory.max": "3000\n"}, 3000),
        ("4:memory:/job\n2:cpu:/job\n", {"memory/job/memory.limit_in_bytes": "7000\n"}, 7000),
        ("0::/\n", {}, None),
        ("0::/job\n", {"job/memory.max": f"{2**62}\n"}, None),
    ],
    ids=["job", "step", "version 1", "no limit", "more than the machine"],
)
def test_the_memory_of_a_job_is_limited_by_its_control_group(tmp_path, monkeypatch, own_groups, limits, expected):
    (tmp_path / "own").write_text(own_groups)
    for name, text in limits.items():
        (tmp_path / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "groups" / name).write_text(text)
    monkeypatch.setattr(facts, "_OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(facts, "_CONTROL_GROUPS", tmp_path / "groups")
    assert memory_limit() == (expected or psutil.virtual_memory().total)


def test_the_whole_memory_counts_where_there_are_no_control_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(facts, "_OWN_GROUPS", tmp_path / "none")
    assert memory_limit() == psutil.virtual_memory().total
