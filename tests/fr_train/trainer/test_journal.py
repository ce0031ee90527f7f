"""The journal: fields of a line as strict JSON; lines after the checkpoint are removed; other ranks write nothing."""

import json

import pytest
import torch

from bench.files import read_json_lines
from fr_train.trainer import journal
from fr_train.trainer.journal import Journal


@pytest.fixture
def clock(monkeypatch):
    """The journal's clock, seconds."""
    now = [100.0]
    monkeypatch.setattr(journal.time, "perf_counter", lambda: now[0])
    return now


def test_a_line(tmp_path, clock):
    run_journal = Journal(tmp_path / "train.jsonl", 0, torch.device("cpu"), is_writing=True)
    assert not run_journal.is_due
    for _ in range(4):
        clock[0] += 2
        run_journal.count(64, 0.5)
    assert run_journal.is_due
    line = run_journal.build_line(4, {"loss": torch.tensor(3.0), "grad_norm": torch.tensor(float("inf")), "lr": 0.1})
    clock[0] += 1000  # a validation
    run_journal.write(line | {"lfw/accuracy": 0.9})
    (row,) = [json.loads(text) for text in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert row["step"] == 4
    assert (row["loss"], row["grad_norm"], row["lr"], row["lfw/accuracy"]) == (3.0, None, 0.1, 0.9)
    assert (row["images_per_second"], row["data_wait_share"]) == (32.0, 0.25)
    assert row["memory_mb"] > 50
    assert 0 <= row["system/cpu_utilization_percentage"] <= 100
    assert not run_journal.is_due
    clock[0] += 8
    run_journal.write(run_journal.build_line(5, {"loss": 2.0}))
    assert run_journal.data_wait_share == 0.125


def test_lines_after_the_checkpoint_are_dropped(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text('{"step": 1, "loss": 3}\n{"step": 2, "loss": 2}\n{"step": 3, "lo')
    assert Journal(path, 1, torch.device("cpu"), is_writing=True).last_line == {"step": 1, "loss": 3}
    assert read_json_lines(path) == [{"step": 1, "loss": 3}]


def test_other_processes_write_nothing(tmp_path):
    run_journal = Journal(tmp_path / "train.jsonl", 0, torch.device("cpu"), is_writing=False)
    run_journal.write(run_journal.build_line(1, {"loss": 1.0}))
    assert run_journal.last_line["loss"] == 1.0
    assert not (tmp_path / "train.jsonl").exists()
