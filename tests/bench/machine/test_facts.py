"""Facts about the machine: memory as far as a job may use it."""

import subprocess

import psutil
import pytest

from bench.machine import facts, stopwatch
from bench.machine.facts import changes_digest, memory_limit


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


def test_equal_changes_have_equal_digests_whatever_the_users_git_shows(tmp_path):
    digests = []
    for name, settings in (("first", {}), ("second", {"core.abbrev": "12", "diff.noprefix": "true"}), ("third", {})):
        folder = tmp_path / name
        folder.mkdir()
        git = ["git", "-C", str(folder), "-c", "user.name=me", "-c", "user.email=me@example.org"]
        (folder / "code.py").write_text("one\n")
        for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
            subprocess.run([*git, *command], check=True)
        for key, value in settings.items():
            subprocess.run([*git, "config", key, value], check=True)
        (folder / "code.py").write_text("three\n" if name == "third" else "two\n")
        digests.append(changes_digest(folder))
    assert digests[0] == digests[1] != digests[2]


def test_gpu_memory_is_what_torch_took(monkeypatch):
    monkeypatch.setattr("torch.cuda.max_memory_reserved", lambda device: {"cuda:1": 3 * 2**20}[device])
    assert stopwatch.peak_gpu_memory_mb("cuda:1") == 3.0
    assert stopwatch.peak_gpu_memory_mb("cpu") is None
