"""Tables of errors by group and of identification: cells, figures, and that the mean stays as it is."""

import numpy as np
import pytest
from leaderboard_rows import add_result

from bench.runs.card_parts.groups import FairnessMeasure, GroupErrors, GroupRates, GroupResult
from bench.runs.cards import ResultCard, read_card, write_card
from evaluate.layouts.searches import NOBODY, Enrolment, Searches
from evaluate.leaderboard.people_tables import make_people_tables
from evaluate.leaderboard.read import read_local
from evaluate.leaderboard.write import format_row, write_leaderboard
from evaluate.measure.identification.measure import identify


def make_group_result(garbe=0.3, fnmr=(0.1, 0.2), groups=("dark", "light"), sha256="0" * 64):
    curve = {"fmr": [0.001, 0.01, 0.1], "fnmr": [0.4, 0.2, 0.1]}
    groups = [
        GroupRates(group=name, num_identities=30, num_images=120, num_impostors=6960, num_genuine=180, fmr=0.01,
                   fmr_interval=(0.005, 0.02), fnmr=rate, fnmr_interval=(0.05, None), curve=curve)
        for name, rate in zip(groups, fnmr, strict=True)
    ]  # fmt: skip
    names = ("fmr_max_geo", "fnmr_max_geo", "fairness_discrepancy_rate", "inequity_rate", "garbe")
    measure = FairnessMeasure(value=garbe, interval=(0.1, 0.5), null=(0.0, 0.2), p_value=0.004)
    infinite = FairnessMeasure(value=None, interval=(1, None), null=(1, None), p_value=None)
    measures = dict.fromkeys(names, measure) | {"inequity_rate": infinite}
    errors = GroupErrors(threshold=0.4, threshold_interval=(0.3, 0.5), threshold_from="all groups, equal weights",
                         groups=groups, measures=measures)  # fmt: skip
    return GroupResult(
        attributes={"skin": {"1e-2": errors, "1e-3": None}}, num_images=240, num_identities=60, sha256=sha256
    )


def make_searches(seed):
    rng = np.random.default_rng(seed)
    gallery, noise = rng.normal(size=(40, 16)), rng.normal(size=(30, 16))
    probes = np.concatenate([gallery[:20], np.zeros((10, 16))]) + 0.8 * noise
    rows = np.concatenate([probes, gallery])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    ids = np.concatenate([np.arange(20), np.full(20, NOBODY)])
    probe_ids = np.concatenate([np.arange(20), np.arange(100, 110)])
    searches = Searches(Enrolment(np.arange(30), probe_ids), {"gallery": Enrolment(np.arange(30, 70), ids)})
    return identify(rows, searches, num_images=70, sha256="1" * 64)


@pytest.fixture
def runs(tmp_path):
    for key, garbe in (("b_fair", 0.1), ("a_biased", 0.6)):
        folder = add_result(tmp_path, key, name=key, dataset={"name": key, "generator_sha256": key[0] * 64})
        card = read_card(folder, ResultCard)
        update = {
            "group_errors": {"render_groups": make_group_result(garbe)},
            "identification": {"render_gallery": make_searches(len(key))},
        }
        write_card(folder, card.model_copy(update=update))
    return tmp_path


def test_a_table_for_each_attribute_and_resolved_rate_and_for_each_set_of_searches(runs):
    groups, searches = make_people_tables(read_local(runs))
    assert groups.title == "Errors by skin: render groups, FMR 1e-2"
    header, fair, biased = groups.cells
    assert header[3:6] == ["GARBE", "shuffled GARBE", "p"]
    assert header[6:10] == ["FNMR dark", "FNMR light", "FMR dark", "FMR light"]
    assert fair[6:10] == ["10.00", "20.00", "1", "1"]
    assert fair[0].startswith("b_fair") and biased[0].startswith("a_biased")  # the smallest GARBE first
    assert biased[header.index("GARBE")] == "0.600 [0.100, 0.500]"
    assert biased[header.index("inequity rate")] == "-"
    assert biased[4:6] == ["[0.000, 0.200]", "0.004"]
    assert [caption for caption, _ in groups.figures] == ["FNMR by group", "FMR by group", "DET by group"]
    assert groups.legend[0][0] == "dark"
    header, first, second = searches.cells
    assert header[3:9] == ["rank 1", "rank 5", "rank 10", "rank 20", "TPIR at FPIR 1e-2", "TPIR at FPIR 1e-1"]
    assert float(first[3]) >= float(second[3])
    assert first[7] == "-" and first[9:] == ["40", "20", "10"]  # ten strangers do not resolve 1e-2
    assert all(figure.startswith("<svg") for table in (groups, searches) for _, figure in table.figures)


def test_the_leaderboard_shows_them_and_its_mean_stays(runs):
    before = {row.card.name: row.card.mean_accuracy for row in read_local(runs)}
    page = write_leaderboard(runs).read_text()
    markdown = (runs / "leaderboard.md").read_text()
    for text in (page, markdown):
        assert "Errors by skin: render groups, FMR 1e-2" in text
        assert "Identification: render gallery" in text
    assert page.count("DET by group") == 1 and 'href="#identification_render_gallery"' in page
    card = read_local(runs)[0].card
    assert before[card.name] == card.mean_accuracy == pytest.approx(0.9)
    assert "GARBE" not in (runs / "leaderboard.csv").read_text()
    assert "render gallery rank 1" in format_row(card)


@pytest.mark.parametrize("groups", [("brown", "dark"), ("dark",)])
def test_copies_with_other_groups_have_tables_of_their_own(runs, groups):
    folder = add_result(runs, "c_other", name="c_other", dataset={"name": "c", "generator_sha256": "c" * 64})
    other = make_group_result(0.2, (0.3, 0.4)[: len(groups)], groups, sha256="2" * 64)
    searches = make_searches(3).model_copy(update={"sha256": "3" * 64})
    update = {"group_errors": {"render_groups": other}, "identification": {"render_gallery": searches}}
    write_card(folder, read_card(folder, ResultCard).model_copy(update=update))
    tables = make_people_tables(read_local(runs))
    assert [table.title for table in tables[:2]] == [
        f"Errors by skin: render groups (copy {digit * 8}), FMR 1e-2" for digit in "02"
    ]
    header, line = tables[1].cells
    assert header[6] == f"FNMR {groups[0]}" and line[6] == "30.00"
    assert len(tables[0].cells) == 3 and len({table.key for table in tables}) == 3
    notes = {row.label: row.notes for row in tables[2].rows}
    note = "measured on another copy of render gallery than the first row"
    assert (note in notes["c_other"]) != (note in notes["a_biased"])
    write_leaderboard(runs)


def test_results_without_people_make_no_table(tmp_path):
    add_result(tmp_path, "plain")
    assert make_people_tables(read_local(tmp_path)) == []
