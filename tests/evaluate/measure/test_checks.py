"""Every contradiction is reported with its numbers; consistent results, the committed ones among them, have none."""

import numpy as np
import pytest
from leaderboard_rows import made_up_verification, results_and_means
from paths import REPORTS
from results import make_protocol_result, make_result, make_template_result

from bench.errors import InputError
from bench.runs.cards import ResultCard, read_card, write_card
from evaluate.leaderboard.read import read_committed
from evaluate.measure.checks import contradictions, grid_misleads, protocol_contradictions
from evaluate.measure.result import summarise_groups
from evaluate.test_sets.registry import RFW

FOLDS = (0.9, 0.8) * 5
SOUND = make_protocol_result(0.85).model_copy(
    update={
        "folds": FOLDS,
        "fold_std": float(np.std(FOLDS)),
        "interval": (0.8, 0.9),
        "tar_at_far": {"1e-1": 0.9, "1e-2": 0.6},
    }
)


def test_a_sound_result_has_none():
    assert list(protocol_contradictions(SOUND)) == []
    assert contradictions(make_result()) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"folds": (0.9,) * 10}, "folds average 0.900000, but the accuracy is 0.85"),
        ({"fold_std": 0.06}, "standard deviation of the folds is 0.050000, but fold_std is 0.06"),
        ({"standard_error": 0.02}, "standard_error is 0.02, but accuracy 0.85 on 600 pairs gives another"),
        ({"tar_at_far": {"1e-2": 0.5, "1e-1": 0.4}}, "TAR falls as FAR rises"),
        ({"tar_at_far": {"1e-3": 0.5}}, "TAR is given at FAR 0.001, but 300 impostor pairs resolve 0.00333 and above"),
        ({"interval": (0.9, 0.8)}, r"interval \(0.9, 0.8\) does not hold two ascending fractions"),
        ({"num_impostors": 601}, "num_impostors is 601 of 600 pairs"),
    ],
)
def test_each_contradiction_is_said(change, text):
    with pytest.raises(AssertionError, match=text):
        wrong = list(protocol_contradictions(SOUND.model_copy(update=change)))
        assert not wrong, "; ".join(wrong)


def test_means_and_scores_are_counted_again():
    card = make_result(accuracy=0.85)
    assert contradictions(card.model_copy(update={"mean_accuracy": 0.86})) == [
        "mean_accuracy is 0.86, but its protocols average 0.850000"
    ]
    assert contradictions(card.model_copy(update={"mean_standard_error": 0.5}))[0].startswith("mean_standard_error is")
    made_up = made_up_verification(0.85)
    card = card.model_copy(update=results_and_means({"render_lfw": made_up.result}))
    assert contradictions(card, {"render_lfw": made_up.arrays}, resample=True) == []
    assert contradictions(card, {}) == ["render_lfw: scores.npz lacks it"]
    fewer = {field: values[:500] for field, values in made_up.arrays.items()}
    (text,) = contradictions(card, {"render_lfw": fewer})
    assert text.startswith("render_lfw: the card has 600 pairs, 300 of them impostor pairs, but scores.npz holds 500")
    wrong = contradictions(card, {"render_lfw": made_up.arrays | {"is_correct": ~made_up.is_correct}})
    assert wrong[0] == f"render_lfw: accuracy is {made_up.result.accuracy}, but its decisions give 0.150000"


@pytest.mark.parametrize("value", [-5.0, 0.2, 1.5, float("nan"), float("inf")])
@pytest.mark.parametrize("figure", ["auc", "eer", "exact_accuracy", "d_prime", "interval", "tar_at_far", "accuracy"])
def test_every_figure_is_counted_again_from_the_scores(figure, value):
    """No value but the right one passes, and NaN least of all."""
    made_up = made_up_verification(0.85)
    change = {"interval": (value, value), "tar_at_far": made_up.result.tar_at_far | {"1e-2": value}}
    result = made_up.result.model_copy(update={figure: change.get(figure, value)})
    card = make_result(accuracy=0.85).model_copy(update=results_and_means({"lfw": result}))
    wrong = contradictions(card, {"lfw": made_up.arrays}, resample=True)
    assert any(text.startswith("lfw: ") for text in wrong)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"eer": -5.0}, "eer is -5.0, no fraction"),
        ({"auc": float("nan")}, "auc is nan, no fraction"),
        ({"tar_at_far": {"1e-1": float("nan")}}, "TAR at FAR 1e-1 is nan, no fraction"),
        ({"accuracy": float("nan"), "folds": ()}, "accuracy is nan, no fraction"),
        ({"num_pairs": 0, "num_impostors": 0, "tar_at_far": {}}, "num_pairs is 0"),
    ],
)
def test_figures_that_no_network_can_have(change, text):
    assert text in list(protocol_contradictions(SOUND.model_copy(update=change)))


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-1e999"])
def test_numbers_that_are_not_finite_are_refused_in_cards(tmp_path, literal):
    write_card(tmp_path, make_result())
    path = tmp_path / "result.json"
    path.write_text(path.read_text().replace('"mean_accuracy": 0.875', f'"mean_accuracy": {literal}'))
    with pytest.raises(InputError, match=r"should be a finite number|is no number"):
        read_card(tmp_path, ResultCard)


def test_groups_and_templates_are_counted_again():
    results = {name: make_protocol_result(0.8 + 0.02 * i) for i, name in enumerate(RFW)}
    groups = summarise_groups(results)
    assert groups["rfw"].mean_accuracy == pytest.approx(0.83)
    assert groups["rfw"].std == pytest.approx(np.std([0.8, 0.82, 0.84, 0.86], ddof=1))
    assert summarise_groups({name: results[name] for name in RFW[:3]}) == {}
    card = make_result(accuracy=0.83).model_copy(update=results_and_means(results) | {"groups": groups})
    assert contradictions(card) == []
    wrong = {"rfw": groups["rfw"].model_copy(update={"std": 0.01})}
    (text,) = contradictions(card.model_copy(update={"groups": wrong}))
    assert text == "rfw: mean 0.830000 and std 0.010000, but its groups give 0.830000 and 0.025820"
    (text,) = contradictions(make_result(accuracy=0.83).model_copy(update={"groups": groups}))
    assert text.startswith("rfw: the card has only 0 of its groups rfw_african, rfw_asian, rfw_caucasian, rfw_indian")
    falls = make_template_result(0.5).model_copy(update={"tar_at_far": {"1e-1": 0.5, "1e-2": 0.9}})
    (text,) = contradictions(make_result().model_copy(update={"templates": {"ijbc": falls}}))
    assert text.startswith("ijbc: TAR falls as FAR rises")


def test_where_the_grid_misleads():
    assert not grid_misleads(SOUND)
    assert grid_misleads(SOUND.model_copy(update={"exact_accuracy": 0.87}))
    assert not grid_misleads(SOUND.model_copy(update={"exact_accuracy": None}))


def test_committed_results_are_sound():
    results = read_committed(REPORTS)
    assert results
    for result in results:
        assert contradictions(result.card) == []
