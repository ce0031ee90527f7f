"""Tables and rows hold what the cards say: means, seeds, divisions, gaps, ranks, footnotes."""

import csv
import json
import re
import shutil

import numpy as np
import pytest
from leaderboard_rows import add_result, floor
from results import PROTOCOLS, make_protocol_result, make_result

from bench.config.benchmarks import load_benchmark, load_benchmarks
from bench.config.released import RELEASED_RECIPES
from bench.machine.facts import Cost
from bench.runs.cards import ResultCard, read_card, write_card
from bench.runs.fingerprints import recipe_sha256
from evaluate.leaderboard.estimates import mean_price, spread_over_groups
from evaluate.leaderboard.protocol_names import FIVE, RENDERED_FIVE, protocol_title
from evaluate.leaderboard.read import read_local
from evaluate.leaderboard.tables import make_tables
from evaluate.leaderboard.write import write_leaderboard
from evaluate.test_sets.registry import RFW


def tables_of(runs):
    return {table.key: table for table in make_tables(read_local(runs))}


def test_tables_hold_what_was_measured_on_the_same_protocols(runs):
    tables = tables_of(runs)
    assert list(tables) == ["real_five", "real_lfw_cfp_ff", "rendered_five"]
    assert [row.label for row in tables["real_five"].rows] == ["a", "b", "raw pixels"]
    assert [row.label for row in tables["rendered_five"].rows] == ["smoke", "raw pixels"]


def test_real_and_rendered_never_share_a_table_even_from_one_card(runs):
    add_result(runs, "both", 0.8, protocols=(*FIVE, *RENDERED_FIVE))
    for table in tables_of(runs).values():
        assert len({name.startswith("render_") for name in (*table.core, *table.extras)}) == 1
    lines = (write_leaderboard(runs).parent / "leaderboard.md").read_text().splitlines()
    headers = [line for line in lines if line.startswith("| row")]
    assert len(headers) == 3
    for header in headers:
        names = [cell.strip(" ()") for cell in header.split("|")]
        assert not (set(map(protocol_title, FIVE)) & set(names) and set(map(protocol_title, PROTOCOLS)) & set(names))


def test_further_real_sets_stand_beside_the_five_and_not_in_the_mean(runs):
    accuracies = dict.fromkeys(FIVE, 0.9) | {"cfp_ff": 0.5}
    add_result(runs, "more", protocols=tuple(accuracies), accuracies=accuracies)
    table = tables_of(runs)["real_five"]
    assert table.extras == ("cfp_ff",)
    assert next(row for row in table.rows if row.label == "more").mean.value == pytest.approx(0.9)


def test_hard_sets_have_a_table_of_their_own(runs):
    shutil.rmtree(runs)
    add_result(runs, "own", 0.9, protocols=(*FIVE, "xqlfw", "hadrian"), mean_standard_error=(0.09 / 600 / 5) ** 0.5)
    tables = {table.title: table for table in make_tables(read_local(runs), load_benchmarks())}
    assert list(tables) == ["Real faces: the five sets", "Hard sets: HADRIAN, XQLFW"]
    assert tables["Real faces: the five sets"].extras == ()
    (row,) = tables["Real faces: the five sets"].rows
    assert row.mean.value == pytest.approx(0.9)


def test_seeds_are_one_row_with_their_standard_deviation(runs):
    row = tables_of(runs)["rendered_five"].rows[0]
    assert [result.card.seed for result in row.results] == [0, 1, 2]
    assert row.mean.value == pytest.approx(0.92)
    assert row.mean.seed_std == pytest.approx(np.std([0.91, 0.93, 0.92], ddof=1))
    assert row.accuracy("render_lfw").seed_std == pytest.approx(0.01)
    errors = [(share * (1 - share) / 600) ** 0.5 for share in (0.91, 0.93, 0.92)]
    assert row.accuracy("render_lfw").standard_error == pytest.approx(np.mean(errors))
    text = (write_leaderboard(runs).parent / "leaderboard.md").read_text()
    assert "| smoke | open | 3 | 92.00 ± 0.49 | 1.00 | +31.00 |" in text


def test_one_seed_has_the_standard_error_of_the_mean(runs):
    row = tables_of(runs)["real_five"].rows[0]
    errors = [(one.accuracy * (1 - one.accuracy) / 600) ** 0.5 for one in row.card.protocols.values()]
    assert row.mean.standard_error == pytest.approx(np.sqrt(np.sum(np.square(errors))) / 5)


def test_other_settings_or_other_test_sets_are_not_seeds_of_each_other(runs):
    other = make_result(accuracy=0.5, seed=7, fingerprint="other", recipe={"name": "smoke_arcface", "sha256": "b" * 64})
    write_card(runs / "smoke" / "results" / "other", other)
    copied = {name: make_protocol_result(0.4).model_copy(update={"sha256": "1" * 64}) for name in PROTOCOLS}
    copied = make_result(accuracy=0.4, seed=8, fingerprint="copied").model_copy(update={"protocols": copied})
    write_card(runs / "smoke" / "results" / "copied", copied)
    rows = [row for row in tables_of(runs)["rendered_five"].rows if not row.is_floor]
    assert [len(row.results) for row in rows] == [3, 1, 1]
    assert "measured on another copy of render LFW" in rows[2].notes[-1]


def test_a_seed_stays_in_its_row_when_the_dataset_has_got_another_name(runs):
    dataset = {"num_images": 6400, "num_identities": 320, "generator_sha256": "e" * 64}
    for seed, name in ((0, "HSFace mini"), (1, "Vec2Face mini")):
        card = make_result("mini", seed=seed, protocols=FIVE, dataset=dataset | {"name": name})
        write_card(runs / "mini" / "results" / card.fingerprint, card)
    (row,) = [row for row in tables_of(runs)["real_five"].rows if row.label == "mini"]
    assert len(row.results) == 2


def test_the_newest_result_of_a_seed_stands_and_the_row_says_so(runs):
    newer = make_result(
        accuracy=0.95, fingerprint="newer", inputs={"model": "model0"}, created_utc="2999-01-01T00:00:00"
    )
    write_card(runs / "smoke" / "results" / "newer", newer)
    row = tables_of(runs)["rendered_five"].rows[0]
    assert len(row.results) == 3
    assert row.accuracy("render_lfw").value == pytest.approx((0.95 + 0.93 + 0.92) / 3)
    assert row.notes == ("older results of the same seeds left out: 1",)


def test_a_card_without_its_parents_is_shown_and_marked(runs):
    shutil.rmtree(runs / "smoke" / "models")
    assert tables_of(runs)["rendered_five"].rows[0].notes == ("the model's card is missing",)
    text = (write_leaderboard(runs).parent / "leaderboard.md").read_text()
    assert "| smoke [1] |" in text
    assert "- [1] the model's card is missing" in text


def test_floors_come_last_and_the_gap_is_to_the_best_of_them(runs):
    add_result(runs, "high", 0.95, protocols=PROTOCOLS, **floor("untrained backbone"))
    table = tables_of(runs)["rendered_five"]
    assert [row.is_floor for row in table.rows] == [False, True, True]
    assert table.gap_to_floor(table.rows[0]) == pytest.approx(0.92 - 0.95)
    assert table.gap_to_floor(table.rows[1]) is None


def test_borda_ranks_by_hand(runs):
    add_result(runs, "c", accuracies=dict(zip(FIVE, (0.97, 0.92, 0.96, 0.94, 0.86), strict=True)))
    table = tables_of(runs)["real_five"]
    places = {table.rows[i].label: rank for i, rank in table.borda_ranks.items()}
    # points with a (2, 0, 1, 1.5, 2), c (0, 2, 2, 1.5, 1) and b (1, 1, 0, 0, 0); each 0.5 for itself per set
    assert places == {"a": 1, "c": 1, "b": 3}


def test_closed_is_the_recipe_of_benchmarks_yaml(runs):
    recipe = {"name": "smoke_arcface", "sha256": recipe_sha256(load_benchmark("smoke").recipe)}
    add_result(runs, "named", 0.99, protocols=PROTOCOLS, recipe=recipe)
    rows = list(csv.DictReader((write_leaderboard(runs).parent / "leaderboard.csv").open()))
    assert {row["name"]: row["division"] for row in rows if row["table"] == "rendered_five"} == {
        "named": "closed",
        "smoke": "open",
        "raw pixels": "floor",
    }


def test_rows_stand_in_divisions_and_rank_within_them(runs):
    recipe = {"name": "smoke_arcface", "sha256": recipe_sha256(load_benchmark("smoke").recipe)}
    for name, accuracy in (("first", 0.7), ("second", 0.65)):
        add_result(runs, name, accuracy, protocols=PROTOCOLS, recipe=recipe)
    add_result(
        runs, "given", 0.99, protocols=PROTOCOLS, row="model", dataset=None, recipe=None, model={"weights_sha256": "x"}
    )
    table = tables_of(runs)["rendered_five"]
    assert [row.label for row in table.rows] == ["first", "second", "smoke", "given", "raw pixels"]
    titles = [(group.title.split(":")[0], len(group.positions)) for group in table.groups]
    assert titles == [
        ("Closed division, recipe smoke_arcface", 2),
        ("Open division", 1),
        ("Given weights", 1),
        ("Floors", 1),
    ]
    assert table.borda_ranks == {0: 1, 1: 2, 2: 1, 3: 1}


def test_gap_to_the_real_reference_of_the_same_recipe(runs):
    """REAL - SYN in points; a row of another recipe has none."""
    recipe = {"name": "small_arcface", "sha256": recipe_sha256(load_benchmark("cfp_small").recipe)}
    add_result(runs, "cfp_small", 0.9, protocols=("lfw",), recipe=recipe)
    add_result(runs, "synthetic", 0.85, protocols=("lfw",), recipe=recipe)
    add_result(runs, "other", 0.95, protocols=("lfw",))
    table = tables_of(runs)["real_lfw"]
    gaps = {row.label: table.gap_to_real(row) for row in table.rows}
    assert gaps == {"cfp_small": None, "synthetic": pytest.approx(0.05), "other": None}
    text = (write_leaderboard(runs).parent / "leaderboard.md").read_text()
    assert "| row | division | seeds | LFW | gap to real |" in text
    assert re.search(r"\| cfp_small [\[\]\d ]*\| closed \| 1 \| 90.00 ± 1.22 \| REAL \|", text)
    assert "| 85.00 ± 1.46 | +5.00 |" in text
    rows = {
        row["name"]: row
        for row in csv.DictReader((runs / "leaderboard.csv").open())
        if "mean of real_lfw" in row["protocol"]
    }
    assert rows["synthetic"]["real_reference"] == "cfp_small"
    assert float(rows["synthetic"]["gap_to_real_relative"]) == pytest.approx(0.05 / 0.85)


def test_price_where_every_stage_knows_it(runs):
    costs = {name: Cost(seconds=1800, num_processes=8, price_per_hour=2.5) for name in ("train", "evaluate")}
    add_result(runs, "priced", 0.9, stage_costs=costs)
    add_result(runs, "half", 0.8, stage_costs=costs | {"evaluate": Cost(seconds=1)})
    rows = {row.label: row for row in tables_of(runs)["real_five"].rows if not row.is_floor}
    prices = {row.results[0].card.fingerprint: mean_price(row.cards) for row in rows.values()}
    assert prices["priced"] == pytest.approx(20.0)
    assert prices["half"] is None
    assert "| price |" in (write_leaderboard(runs).parent / "leaderboard.md").read_text()


def test_the_interval_is_the_bootstraps_and_that_of_a_mean_adds_in_squares(runs):
    results = {
        name: make_protocol_result(0.9).model_copy(update={"interval": (0.9 - below, 0.9 + 0.02)})
        for name, below in zip(FIVE, (0.03, 0.04, 0.0, 0.0, 0.0), strict=True)
    }
    card = make_result("ends", 0.9, protocols=FIVE, fingerprint="ends").model_copy(update={"protocols": results})
    write_card(runs / "ends" / "results" / "ends", card)
    row = next(row for row in tables_of(runs)["real_five"].rows if row.card.fingerprint == "ends")
    assert (row.accuracy("lfw").low, row.accuracy("lfw").high) == (pytest.approx(0.87), pytest.approx(0.92))
    assert row.mean.low == pytest.approx(0.9 - 0.05 / 5)
    assert row.mean.high == pytest.approx(0.9 + 0.02 * 5**0.5 / 5)


def test_a_row_says_where_the_grid_misleads(runs):
    card = make_result("crowded", 0.9, protocols=("lfw",), fingerprint="crowded")
    one = card.protocols["lfw"].model_copy(update={"exact_accuracy": 0.95})
    write_card(runs / "crowded" / "results" / "crowded", card.model_copy(update={"protocols": {"lfw": one}}))
    row = tables_of(runs)["real_lfw"].rows[0]
    assert row.notes[-1] == "the published grid of thresholds is too coarse: exact ones give LFW 95.00 (seed 0)"


def test_groups_of_people_have_a_table_with_their_spread(runs):
    accuracies = dict(zip(RFW, (0.80, 0.84, 0.90, 0.86), strict=True))
    add_result(runs, "unequal", accuracies=dict.fromkeys(FIVE, 0.9) | accuracies)
    tables = tables_of(runs)
    assert set(RFW).isdisjoint(tables["real_five"].extras)
    (row,) = tables["rfw"].rows
    assert row.mean.value == pytest.approx(0.85)
    assert spread_over_groups(row.cards) == (pytest.approx(np.std(list(accuracies.values()), ddof=1)), None)
    text = (write_leaderboard(runs).parent / "leaderboard.md").read_text()
    assert "| mean | spread over groups | RFW African | RFW Asian | RFW Caucasian | RFW Indian |" in text
    assert "| 85.00 ± 0.73 | 4.16 | 80.00 ± 1.63 |" in text
    lines = {row["protocol"]: row for row in csv.DictReader((runs / "leaderboard.csv").open()) if row["table"] == "rfw"}
    assert float(lines["mean of rfw"]["spread_over_groups"]) == pytest.approx(0.0416333)


def test_rows_on_other_copies_are_not_paired(runs):
    """No gap, rank or difference between rows whose test sets have other digests, though a footnote says so."""
    recipe = {"name": "small_arcface", "sha256": recipe_sha256(load_benchmark("cfp_small").recipe)}
    add_result(runs, "cfp_small", 0.9, protocols=("lfw",), recipe=recipe, separation=20)
    folder = add_result(runs, "mine", 0.85, protocols=("lfw",), recipe=recipe, separation=20)
    add_result(runs, "floor", 0.6, protocols=("lfw",), separation=20, **floor())
    table = tables_of(runs)["real_lfw"]
    assert table.gap_to_real(table.rows[1]) == pytest.approx(0.05)
    card = read_card(folder, ResultCard)
    other = card.protocols["lfw"].model_copy(update={"sha256": "1" * 64})
    write_card(folder, card.model_copy(update={"protocols": {"lfw": other}}))
    table = tables_of(runs)["real_lfw"]
    mine = next(row for row in table.rows if row.label == "mine")
    assert mine.notes[-1] == "measured on another copy of LFW than the first row"
    assert (table.gap_to_real(mine), table.gap_to_floor(mine)) == (None, None)
    assert set(table.borda_ranks.values()) == {1}
    text = write_leaderboard(runs).read_text()
    data = json.loads(re.search(r'id="differences-real_lfw">(.*?)</script>', text)[1])
    assert len(data["pairs"]) == 1


def test_released_recipes_are_those_of_benchmarks_yaml(runs):
    """A recipe that somebody adds or edits is open; a change of a released one has to change this list too."""
    recipes = {entry.recipe_name: recipe_sha256(entry.recipe) for entry in load_benchmarks().values()}
    assert recipes.items() <= RELEASED_RECIPES.items()
    edited = load_benchmark("smoke").recipe.model_copy(update={"batch_size": 65})
    for key, name in (("added", "mine"), ("edited", "smoke_arcface")):
        add_result(runs, key, protocols=("lfw",), recipe={"name": name, "sha256": recipe_sha256(edited)})
    assert {row.division for row in tables_of(runs)["real_lfw"].rows} == {"open"}
