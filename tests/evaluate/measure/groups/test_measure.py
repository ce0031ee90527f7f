"""Sections of errors by group: what a biased network shows, that a fair one shows nothing, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from bench.errors import InputError
from bench.runs.card_parts.groups import GroupResult
from evaluate.layouts.face_table import FaceTable
from evaluate.layouts.images import LazyImages
from evaluate.measure.groups import comparisons as module
from evaluate.measure.groups import resampling
from evaluate.measure.groups.comparisons import compare_all
from evaluate.measure.groups.difference import group_differences
from evaluate.measure.groups.measure import check_resolution, group_errors, groupings_of, measure_groups
from evaluate.measure.groups.rates import GroupedComparisons
from evaluate.measure.groups.resampling import estimate_groups, middle_95, p_value
from evaluate.pages.curves import group_det_plot

PEOPLE, IMAGES, DIMENSIONS = 60, 4, 12
GROUPS = np.arange(PEOPLE) % 2


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(resampling, "NUM_RESAMPLES", 200)
    for name in ("estimate_groups", "shuffled_measures"):
        kept = dict(getattr(resampling, name).__kwdefaults__)
        few = {key: 200 if key.startswith("num_") else value for key, value in kept.items()}
        monkeypatch.setattr(getattr(resampling, name), "__kwdefaults__", few)


def embed_people(noise=(0.5, 0.5), spread=(1.0, 1.0), seed=0):
    """Unit embeddings of people in two groups, by noise within people and spread between people of each group."""
    rng = np.random.default_rng(seed)
    mean = np.eye(DIMENSIONS)[0] * 1.5
    centers = mean + rng.normal(size=(PEOPLE, DIMENSIONS)) * np.array(spread)[GROUPS, None]
    ids = np.repeat(np.arange(PEOPLE), IMAGES)
    embeddings = centers[ids] + rng.normal(size=(len(ids), DIMENSIONS)) * np.array(noise)[GROUPS[ids], None]
    return (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype(np.float32)


def make_table(**attributes):
    ids = np.repeat(np.arange(PEOPLE), IMAGES)
    faces = LazyImages(lambda _: np.zeros((112, 112, 3), np.uint8), np.arange(len(ids)))
    names = [f"p{i}" for i in range(PEOPLE)]
    attributes = attributes or {"tone": tuple(np.array(["dark", "light"])[GROUPS])}
    return FaceTable("made_up", faces, ids, names, attributes, "0" * 64)


def errors_of(embeddings, fmr="1e-2"):
    table = make_table()
    comparisons = compare_all(embeddings, table.identity_ids, highest_fmr=0.01)
    return group_errors(comparisons, groupings_of(table)[0], fmr)


def test_a_biased_network_is_more_unequal_than_shuffled_labels():
    errors = errors_of(embed_people(spread=(0.5, 1.5)))
    dark, light = errors.groups
    assert (dark.group, dark.num_identities, dark.num_images, dark.num_genuine) == ("dark", 30, 120, 180)
    assert dark.num_impostors == 120 * 119 // 2 - 180
    assert dark.fmr > 3 * light.fmr
    assert (dark.fmr + light.fmr) / 2 <= 0.01
    assert dark.fmr_interval[0] < dark.fmr < dark.fmr_interval[1]
    garbe = errors.measures["garbe"]
    assert garbe.value > garbe.null[1] and garbe.p_value < 0.02
    assert errors.threshold_interval[0] < errors.threshold < errors.threshold_interval[1]
    assert errors.threshold_from == "all groups, equal weights"


def test_a_fair_network_lies_within_the_shuffled_labels():
    garbe = errors_of(embed_people()).measures["garbe"]
    assert garbe.null[0] <= garbe.value <= garbe.null[1] and garbe.p_value > 0.05
    assert garbe.null[0] > 0  # noise alone is never 0: the measure without its null would mislead


def test_zero_errors_of_a_group_are_said():
    errors = errors_of(embed_people(noise=(0.05, 0.9)))
    dark, _ = errors.groups
    assert dark.fnmr == 0
    assert errors.measures["fnmr_max_min"].value is None and errors.measures["fnmr_max_min"].p_value is None
    assert errors.measures["inequity_rate"].value is None
    assert errors.measures["fnmr_max_geo"].value > 1
    assert any(note.startswith("no error behind the FNMR of dark: its ratio") for note in errors.notes)


def test_the_det_of_a_group_falls():
    for group in errors_of(embed_people()).groups:
        assert group.curve["fmr"] == sorted(group.curve["fmr"])
        assert group.curve["fnmr"] == sorted(group.curve["fnmr"], reverse=True)


@pytest.mark.parametrize("max_kept", [module._MAX_KEPT_FOR_GROUPS, 1])
def test_a_group_without_high_impostor_scores_is_measured(monkeypatch, max_kept):
    """The DET of a group reaches the wanted rate, or is left out where too few of its impostors are kept."""
    monkeypatch.setattr(module, "MIN_KEPT", 10)
    monkeypatch.setattr(module, "_MAX_KEPT_FOR_GROUPS", max_kept)
    embeddings = embed_people()
    embeddings[GROUPS[make_table().identity_ids] == 1] += (4, *[0] * (embeddings.shape[1] - 1))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    errors = measure_groups(embeddings, make_table()).attributes["tone"]["1e-2"]
    dark, light = errors.groups
    assert dark.fmr == 0 and light.fmr == pytest.approx(0.02, rel=0.1)
    assert max(light.curve["fmr"]) > 0.1
    assert dark.curve == {} if max_kept == 1 else max(dark.curve["fmr"]) > 0.1
    assert group_det_plot(errors, "DET").startswith("<svg")


def test_all_attributes_and_rates_of_a_set_are_in_the_card():
    table = make_table(tone=make_table().attributes["tone"], half=("a",) * 30 + ("b",) * 30)
    result = measure_groups(embed_people(), table)
    assert list(result.attributes) == ["tone", "half"]
    by_fmr = result.attributes["half"]
    assert by_fmr["1e-2"] is not None and by_fmr["1e-3"] is None and by_fmr["1e-4"] is None  # 6,960 impostors each
    assert (result.num_images, result.num_identities) == (240, 60)
    assert GroupResult.model_validate_json(result.model_dump_json()) == result


def test_a_reference_group_sets_the_threshold():
    table = make_table()
    comparisons = compare_all(embed_people(spread=(0.5, 1.5)), table.identity_ids, highest_fmr=0.01)
    grouping = groupings_of(table)[0]
    errors = group_errors(comparisons, grouping, "1e-2", reference="light")
    assert errors.threshold_from == "light" and errors.groups[1].fmr <= 0.01 < errors.groups[0].fmr
    with pytest.raises(InputError, match="tone has no group 'green'; choose the reference from dark, light"):
        group_errors(comparisons, grouping, "1e-2", reference="green")


def test_the_threshold_is_chosen_anew_and_people_are_drawn_within_groups():
    table = make_table()
    grouped = GroupedComparisons(compare_all(embed_people(), table.identity_ids, highest_fmr=0.01), GROUPS)
    estimate = estimate_groups(grouped, 0.01)
    assert len(np.unique(estimate.thresholds)) > 20
    assert np.all(estimate.fmr.mean(axis=1) <= 0.01 + 1e-9)
    again = estimate_groups(grouped, 0.01)
    assert np.array_equal(estimate.fnmr, again.fnmr)
    assert not np.array_equal(estimate.fnmr, estimate_groups(grouped, 0.01, seed=1).fnmr)


def test_two_networks_are_compared_on_the_same_resamples():
    table = make_table()
    grouping = groupings_of(table)[0]
    fair, biased = (
        compare_all(each, table.identity_ids, highest_fmr=0.01)
        for each in (embed_people(), embed_people(spread=(0.5, 1.5)))
    )
    found = {each.name: each for each in group_differences(biased, fair, grouping, "1e-2")}
    assert found["garbe"].is_beyond_chance and found["garbe"].low > 0
    assert found["FMR dark"].first > found["FMR dark"].second
    same = group_differences(fair, fair, grouping, "1e-2")
    assert all(each.first == each.second and (each.low, each.high) == (0, 0) for each in same)
    assert not any(each.is_beyond_chance for each in same)


def test_p_values_count_the_measured_labels_and_know_which_side_is_unequal():
    assert p_value("garbe", 0.5, np.array([0.1, 0.5, 0.6, 0.2])) == 3 / 5
    assert p_value("fairness_discrepancy_rate", 0.5, np.array([0.1, 0.5, 0.6, 0.2])) == 4 / 5
    assert p_value("garbe", 0.5, np.array([0.1, 0.5, np.nan, np.nan])) == 2 / 3


def test_ends_that_are_infinite_or_undefined_are_left_out():
    assert middle_95(np.array([1.0, np.inf, np.inf])) == (1, None)
    assert middle_95(np.array([np.nan, 2.0])) == (2, 2)
    assert middle_95(np.array([np.nan])) == (None, None)


def check(groups, fmr="1e-2", images=None):
    table = make_table(tone=tuple(groups))
    ids = table.identity_ids if images is None else table.identity_ids[images]
    check_resolution(np.bincount(ids), groupings_of(table)[0], fmr)


def test_what_cannot_be_resolved_is_refused():
    too_few = r"needs 30,000 impostor comparisons in every group \(30 errors\), but tone dark has 6,960; give an FMR of"
    with pytest.raises(InputError, match=rf"FMR 1e-3 {too_few} 0\.0043 or above, or more faces"):
        check(make_table().attributes["tone"], "1e-3")
    with pytest.raises(InputError, match=r"tone a has 1 identities and 0 impostor comparisons; give 10 identities"):
        check(["a"] + ["b"] * 59)
    with pytest.raises(InputError, match="tone dark has one image of each person; give two or more images of some"):
        first_of_dark = np.flatnonzero((np.arange(240) % 4 == 0) | (GROUPS.repeat(4) == 1))
        check(make_table().attributes["tone"], images=first_of_dark)


def test_one_group_or_none_is_refused():
    with pytest.raises(InputError, match=r"made_up: tone has 1 group, \['a'\]; give two or more groups"):
        groupings_of(make_table(tone=("a",) * 59 + ("",)))
    with pytest.raises(InputError, match="made_up states no group; add a column of groups"):
        groupings_of(replace(make_table(), attributes={}))


def test_embeddings_that_are_not_finite_are_refused():
    embeddings = embed_people()
    embeddings[7, 3] = np.nan
    with pytest.raises(InputError, match="1 of 240 are not finite"):
        measure_groups(embeddings, make_table())
