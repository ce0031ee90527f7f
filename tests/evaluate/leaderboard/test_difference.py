"""Two results as text: which settings differ, and whether the accuracies do."""

import numpy as np
import pytest
from leaderboard_rows import add_result
from results import write_run

from bench.errors import InputError
from bench.runs.cards import ResultCard, read_card, write_card
from evaluate.leaderboard.difference import describe_difference, read_settings
from evaluate.measure.scores import write_scores


def test_description_names_settings_and_verdict(tmp_path):
    a = write_run(tmp_path, seed=0)
    b = write_run(tmp_path, seed=1)
    labels = np.arange(400) % 2 == 0
    for folder, share in ((a, 0.95), (b, 0.5)):
        is_correct = np.random.default_rng(0).random(400) < share
        fields = {"scores": np.zeros(400), "is_genuine": labels, "fold": np.zeros(400, int), "is_correct": is_correct}
        write_scores(folder / "scores.npz", {"render_lfw": fields})
    text = describe_difference(a, b)
    assert "  seed: 0 -> 1" in text
    assert "recipe.optimizer.lr" not in text  # equal, so not listed
    line = next(line for line in text.splitlines() if line.strip().startswith("render_lfw"))
    assert line.endswith(": significant (p < 0.05)")
    same = describe_difference(a, a)
    assert "  none differ" in same
    assert "McNemar p = 1: not significant (p >= 0.05)" in same


def test_changed_recipe_and_generator_are_listed(tmp_path):
    a, b = write_run(tmp_path / "a"), write_run(tmp_path / "b")
    card = tmp_path / "b" / "smoke" / "models" / "model0" / "model.json"
    card.write_text(card.read_text().replace('"lr": 0.1', '"lr": 0.05'))
    first, second = read_settings(a), read_settings(b / "result.json")
    changed = {key for key in first if first[key] != second[key]}
    assert changed == {"recipe.optimizer.lr"}
    assert first["generator.kind"] == "render"


def test_results_on_other_copies_of_a_test_set_are_not_compared(tmp_path):
    a, b = (add_result(tmp_path, name, protocols=("lfw", "cfp_fp"), separation=20) for name in "ab")
    card = read_card(b, ResultCard)
    other = card.protocols["lfw"].model_copy(update={"sha256": "1" * 64})
    write_card(b, card.model_copy(update={"protocols": card.protocols | {"lfw": other}}))
    for first, second in ((a, b), (a / "result.json", b / "result.json")):
        with pytest.raises(InputError, match=r"on different copies \(SHA-256\) of lfw; evaluate both on the same"):
            describe_difference(first, second)
    assert "McNemar" in describe_difference(a / "result.json", a)
