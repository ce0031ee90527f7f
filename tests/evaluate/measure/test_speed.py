"""The measured table of scoring: both functions give equal accuracies, and ours is faster."""

import json

import pytest

from bench.speed import SPEED_DIR
from evaluate.measure import speed


def test_both_ways_agree_and_ours_is_faster(monkeypatch):
    monkeypatch.setattr(speed, "NUM_SETS", 2)
    monkeypatch.setattr(speed, "NUM_PAIRS", 600)
    loop, ours = speed.scoring_rows()
    assert (loop["implementation"], ours["implementation"]) == ("grid loop", "ours")
    assert loop["times faster"] == 1
    assert ours["times faster"] > 3  # tens of times on whole sets; a busy machine must not fail the test
    assert 0.6 < ours["mean accuracy"] < 1


def test_ways_that_differ_are_refused(monkeypatch):
    monkeypatch.setattr(speed, "NUM_SETS", 1)
    monkeypatch.setattr(speed, "NUM_PAIRS", 60)
    monkeypatch.setattr(speed, "fold_accuracies", lambda embeddings, is_genuine: [0.5] * 10)
    with pytest.raises(RuntimeError, match="fold accuracies differ"):
        speed.scoring_rows()


def test_the_committed_table_shows_fifteen_times():
    record = json.loads((SPEED_DIR / "evaluate.json").read_text())
    (rows,) = record["tables"].values()
    assert {row["implementation"]: row["times faster"] for row in rows}["ours"] >= 15
    assert {row["pairs per set"] for row in rows} == {6000}
