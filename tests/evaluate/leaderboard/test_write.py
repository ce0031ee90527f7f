"""The leaderboard says what the cards say: means, seeds, floors, apart what is apart, escaped what is hostile."""

import csv
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from leaderboard_rows import add_result, floor, made_up_scores
from paths import GOLDEN, REPORTS
from PIL import Image
from results import PROTOCOLS, make_protocol_result, make_result, make_template_result, write_run

from bench.config.benchmarks import load_benchmark
from bench.errors import InputError
from bench.runs.cards import Cost, ResultCard, read_card, write_card
from bench.runs.stage import recipe_sha256
from evaluate.leaderboard.estimates import mean_price, spread_over_groups
from evaluate.leaderboard.protocol_names import FIVE, RENDERED_FIVE, protocol_title
from evaluate.leaderboard.published import group_by_size, read_published
from evaluate.leaderboard.read import read_local
from evaluate.leaderboard.tables import make_tables
from evaluate.leaderboard.template_tables import make_template_tables
from evaluate.leaderboard.write import format_row, write_committed_leaderboard, write_leaderboard
from evaluate.measure.scores import write_scores
from evaluate.test_sets.registry import RFW


class Page(HTMLParser):
    """Tables of a page as lists of rows of text, without footnote marks, and its tags. Tables may be nested."""

    def __init__(self, path):
        super().__init__()
        self.tables, self.tags, self.open, self.in_mark = [], [], [], False
        self.feed(Path(path).read_text())

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "table":
            self.open.append([])
            self.tables.append(self.open[-1])
        elif tag == "tr":
            self.open[-1].append([])
        elif tag in ("td", "th"):
            self.open[-1][-1].append("")
        elif tag == "sup":
            self.in_mark = True

    def handle_endtag(self, tag):
        if tag == "table":
            self.open.pop()
        elif tag == "sup":
            self.in_mark = False

    def handle_data(self, data):
        if self.open and self.open[-1] and self.open[-1][-1] and not self.in_mark:
            self.open[-1][-1][-1] += data.replace("\u2011", "-")


@pytest.fixture
def runs(tmp_path):
    """Three seeds of smoke, a floor each for rendered and real sets, two real results, given weights on other sets."""
    for seed, accuracy in enumerate((0.91, 0.93, 0.92)):
        write_run(tmp_path, accuracy=accuracy, seed=seed)
    Image.new("RGB", (900, 300), "red").save(tmp_path / "smoke" / "faces" / "faces0" / "grid.png")
    add_result(tmp_path, "low", 0.61, protocols=PROTOCOLS, separation=5, **floor())
    add_result(tmp_path, "real_low", 0.62, separation=5, **floor())
    add_result(tmp_path, "a", accuracies=dict(zip(FIVE, (0.99, 0.9, 0.95, 0.94, 0.87), strict=True)), separation=45)
    add_result(tmp_path, "b", accuracies=dict(zip(FIVE, (0.98, 0.91, 0.9, 0.9, 0.8), strict=True)), separation=35)
    add_result(tmp_path, "weights", protocols=("lfw", "cfp_ff"), row="model", dataset=None, recipe=None, separation=60)
    return tmp_path


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


def test_seeds_are_one_row_with_their_standard_deviation(runs):
    row = tables_of(runs)["rendered_five"].rows[0]
    assert [result.card.seed for result in row.results] == [0, 1, 2]
    assert row.mean.value == pytest.approx(0.92)
    assert row.mean.spread == pytest.approx(np.std([0.91, 0.93, 0.92], ddof=1))
    assert row.accuracy("render_lfw").spread == pytest.approx(0.01)
    text = (write_leaderboard(runs).parent / "leaderboard.md").read_text()
    assert "| smoke | open | n=3 | 92.00 ± 1.00 | +31.00 |" in text


def test_one_seed_has_the_standard_error_of_the_mean(runs):
    row = tables_of(runs)["real_five"].rows[0]
    errors = [(one.accuracy * (1 - one.accuracy) / 600) ** 0.5 for one in row.card.protocols.values()]
    assert row.mean.spread == pytest.approx(np.sqrt(np.sum(np.square(errors))) / 5)


def test_other_settings_or_other_test_sets_are_not_seeds_of_each_other(runs):
    other = make_result(accuracy=0.5, seed=7, fingerprint="other", recipe={"name": "smoke_arcface", "sha256": "b" * 64})
    write_card(runs / "smoke" / "results" / "other", other)
    copied = {name: make_protocol_result(0.4).model_copy(update={"sha256": "1" * 64}) for name in PROTOCOLS}
    copied = make_result(accuracy=0.4, seed=8, fingerprint="copied").model_copy(update={"protocols": copied})
    write_card(runs / "smoke" / "results" / "copied", copied)
    rows = [row for row in tables_of(runs)["rendered_five"].rows if not row.is_floor]
    assert [len(row.results) for row in rows] == [3, 1, 1]
    assert "measured on another copy of render LFW" in rows[2].notes[-1]


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
    assert re.search(r"\| cfp_small [\[\]\d ]*\| closed \| 0 \| 90.00 ± 1.22 \| REAL \|", text)
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


def test_cards_of_schema_1_still_load_and_newer_ones_are_refused(tmp_path):
    """golden/result_schema_1.json is reports/results/smoke.json as it was written before schema 2."""
    folder = tmp_path / "smoke" / "results" / "old"
    folder.mkdir(parents=True)
    shutil.copy(GOLDEN / "result_schema_1.json", folder / "result.json")
    table = make_tables(read_local(tmp_path))[0]
    assert table.rows[0].mean.value == pytest.approx(0.8576666)
    assert table.rows[0].mean.low < table.rows[0].mean.value < table.rows[0].mean.high
    assert "85.77 ± 0.63" in write_leaderboard(tmp_path).read_text().replace(' <span class="spread">', " ")
    card = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps(card | {"schema_version": 99}))
    with pytest.raises(InputError, match="has schema 99, this code reads up to 3; update the code"):
        read_local(tmp_path)


def test_csv_has_every_number_and_means_are_those_of_their_columns(runs):
    rows = list(csv.DictReader((write_leaderboard(runs).parent / "leaderboard.csv").open()))
    groups = {}
    for row in rows:
        groups.setdefault((row["table"], row["name"]), []).append(row)
    for (table, _), lines in groups.items():
        *parts, mean = lines
        assert mean["protocol"] == f"mean of {table}"
        assert float(mean["accuracy"]) == pytest.approx(np.mean([float(one["accuracy"]) for one in parts]))
    a = {row["protocol"]: float(row["accuracy"]) for row in groups["real_five", "a"]}
    assert a["cfp_fp"] == 0.9


def test_every_accuracy_in_the_page_is_a_card_s(runs):
    page = Page(write_leaderboard(runs))
    table = next(table for table in page.tables if table[0][0] == "row" and "LFW" in table[0])
    columns = {name: table[0].index(name) for name in map(protocol_title, FIVE)}
    found = {row[0].strip(): row for row in table if len(row) == len(table[0])}
    for name in ("a", "b"):
        card = read_card(runs / name / "results" / name, ResultCard)
        for protocol in FIVE:
            cell = found[name][columns[protocol_title(protocol)]]
            one = card.protocols[protocol]
            assert cell.replace("\n", " ").strip() == f"{100 * one.accuracy:.2f} ± {100 * one.standard_error:.2f}"
        assert found[name][table[0].index("mean")].startswith(f"{100 * card.mean_accuracy:.2f}")


def test_the_page_needs_nothing_else_and_has_its_figures(runs):
    page = Page(write_leaderboard(runs))
    for tag, attributes in page.tags:
        for link in (attributes.get("src"), attributes.get("href")):
            assert link is None or link.startswith(("data:image/jpeg;base64,", "#"))
        assert tag != "link"
    assert sum(tag == "img" for tag, _ in page.tags) == 1  # grids that are no images are left out
    titles = re.findall(r'<svg class="plot"[^>]*><title>([^<]*)', (runs / "leaderboard.html").read_text())
    assert titles.count("ROC, LFW") == 2
    assert titles.count("DET, CPLFW") == 1
    assert titles.count("LFW") == 4
    assert "Accuracy against number of training images" in titles


def test_differences_in_the_page_come_from_the_paired_test(runs):
    text = write_leaderboard(runs).read_text()
    data = json.loads(re.search(r'id="differences-real_five">(.*?)</script>', text)[1])
    assert data["rows"] == {"0": "a", "1": "b", "2": "raw pixels"}
    value, low, high, p_value = data["pairs"]["0,2"]["mean"]
    assert low < value < high
    assert p_value < 1e-10


def test_hostile_names_are_escaped(runs):
    name = "<script>alert(1)</script>|x"
    dataset = {"name": "<img src=x onerror=alert(2)>", "num_images": 1, "num_identities": 1}
    write_card(runs / "bad" / "results" / "bad", make_result("bad", name=name, fingerprint="bad", dataset=dataset))
    scores = {key: made_up_scores(20, 0, 0.875) for key in PROTOCOLS}
    write_scores(runs / "bad" / "results" / "bad" / "scores.npz", scores)
    text = write_leaderboard(runs).read_text()
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    markdown = (runs / "leaderboard.md").read_text()
    assert "&lt;script>alert(1)&lt;/script>\\|x" in markdown


def test_the_same_cards_give_the_same_bytes(runs):
    write_leaderboard(runs)
    before = {suffix: (runs / f"leaderboard.{suffix}").read_bytes() for suffix in ("md", "csv", "html")}
    write_leaderboard(runs)
    assert before == {suffix: (runs / f"leaderboard.{suffix}").read_bytes() for suffix in ("md", "csv", "html")}


def test_no_results_yet(tmp_path):
    assert "No results yet" in write_leaderboard(tmp_path).read_text()


def test_a_card_that_contradicts_itself_is_refused(runs):
    path = runs / "a" / "results" / "a" / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"mean_accuracy": 0.99}))
    with pytest.raises(InputError, match=r"mean_accuracy is 0.99, but its protocols average 0.930000; run the eval"):
        write_leaderboard(runs)


def test_committed_leaderboard_is_that_of_the_committed_cards(tmp_path):
    """What lies in reports/ is rendered again and compared."""
    if not (REPORTS / "leaderboard.md").exists():
        pytest.skip("reports/leaderboard.md is not rendered yet")
    shutil.copytree(REPORTS, tmp_path / "reports")
    write_committed_leaderboard(tmp_path / "reports")
    for suffix in ("md", "csv", "html"):
        expected = (REPORTS / f"leaderboard.{suffix}").read_text()
        assert (tmp_path / "reports" / f"leaderboard.{suffix}").read_text() == expected, (
            f"leaderboard.{suffix} is stale"
        )


def test_committed_results_are_read_with_their_scores(runs, tmp_path):
    reports = tmp_path / "reports"
    (reports / "results").mkdir(parents=True)
    for source, target in (("result.json", "a.json"), ("scores.npz", "a.npz")):
        shutil.copy(runs / "a" / "results" / "a" / source, reports / "results" / target)
    shutil.copy(REPORTS / "published.csv", reports)
    assert "ROC, LFW" in write_committed_leaderboard(reports).read_text()
    assert "| a [1] [2] [3] [4] [5] [6] | open | 0 | 93.00 ±" in (reports / "leaderboard.md").read_text()


def test_template_protocols_have_a_table_of_their_own(runs):
    for seed, tar in ((0, 0.9), (1, 0.92)):
        card = make_result("strong", 0.9, seed=seed, protocols=FIVE, fingerprint=f"strong{seed}")
        card = card.model_copy(update={"templates": {"ijbc": make_template_result(tar)}})
        write_card(runs / "strong" / "results" / f"strong{seed}", card)
    alone = make_result("weights", row="model", dataset=None, recipe=None, name="net", fingerprint="alone")
    none = {"protocols": {}, "mean_accuracy": None, "mean_standard_error": None}
    alone = alone.model_copy(update=none | {"templates": {"ijbc": make_template_result(0.95)}})
    write_card(runs / "weights" / "results" / "alone", alone)
    assert all(table.core != ("ijbc",) and "ijbc" not in table.extras for table in tables_of(runs).values())
    (table,) = make_template_tables(read_local(runs))
    assert [row.label for row in table.rows] == ["strong", "net"]  # divisions first, then the rate
    rate = table.rate(table.rows[0], "1e-4")
    assert (rate.value, rate.spread) == (pytest.approx(0.91), pytest.approx(np.std([0.9, 0.92], ddof=1)))
    assert table.rate(table.rows[1], "1e-4").spread == pytest.approx((0.95 * 0.05 / 1000) ** 0.5)
    assert table.rate(table.rows[0], "1e-6") is None
    text = (write_leaderboard(runs).parent / "leaderboard.md").read_text()
    assert "## IJB-C: templates one to one, TAR at FAR" in text
    rates = "99.00 ± 0.31 | 98.00 ± 0.44 | 97.00 ± 0.54 | 95.00 ± 0.69 | - | -"
    assert "- [1] the model's card is missing" in text  # of the first row
    assert f"| net [2] [3] | given weights | 0 | {rates} |" in text
    assert "- [3] IJB-C has 11,000 pairs instead of the published 15,658,489" in text
    lines = [row for row in csv.DictReader((runs / "leaderboard.csv").open()) if row["table"] == "ijbc"]
    assert [(row["name"], row["tar_at_far_1e-4"], row["accuracy"]) for row in lines] == [
        ("strong", "0.91", ""),
        ("net", "0.95", ""),
    ]
    headers = [table[0] for table in Page(runs / "leaderboard.html").tables if "1e-4" in table[0]]
    assert headers[0][:3] == ["row", "division", "seeds"]


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


def test_terminal_row():
    head, line = format_row(make_result()).splitlines()
    assert head.split() == ["name", "seed", "mean", *" ".join(map(protocol_title, PROTOCOLS)).split()]
    assert line.split() == ["smoke", "0", "87.50", "±", "0.60", *["87.50"] * 5]
    assert len(head) == len(line)


def test_published_rows_and_their_misprints():
    rows = {row.dataset: row for row in read_published(REPORTS / "published.csv")}
    assert rows["HSFace10K"].mean == pytest.approx(92.0)
    assert not rows["HSFace300K"].is_misprint  # 93.514 printed as 93.52: five roundings explain it
    assert {name for name, row in rows.items() if row.is_misprint} == {
        "UIFace (third-party)",
        "USynthFace 400K + RandAugment",
    }
    assert rows["UIFace (third-party)"].misprint == "printed 93.00, the five average 92.30"
    assert rows["IDnet + RandAugment"].misprint == "Vec2Face README prints AgeDB 63.88: transcription error"
    assert sum(row.misprint is not None for row in rows.values()) == 3
    assert rows["UIFace (third-party)"].mean == pytest.approx(92.296)
    assert rows["HSFace10K"].gap_to_real == pytest.approx(94.784 - 92.0)  # the same source's CASIA, the same recipe
    assert rows["VariFace (unconstrained)"].gap_to_real is None
    assert rows["CASIA-WebFace (real)"].gap_to_real is None
    assert rows["VariFace (unconstrained)"].mean == 95.67
    assert [row.dataset for row in group_by_size(list(rows.values()))["Vec2Face"]][:2] == ["HSFace10K", "HSFace20K"]


def test_published_files_that_do_not_fit(tmp_path):
    path = tmp_path / "published.csv"
    path.write_text("dataset,lfw\nx,99\n")
    with pytest.raises(InputError, match=r"published.csv has columns \['dataset', 'lfw'\]; give it the columns"):
        read_published(path)
    header = (REPORTS / "published.csv").read_text().splitlines()[0]
    path.write_text(f"{header}\nx,x,2020,1,1,R50,ArcFace,ninety,1,1,1,1,1,paper\n")
    with pytest.raises(InputError, match=r"published.csv line 2: could not convert .*; write numbers in per cent"):
        read_published(path)
    path.write_text(f"{header}\nx,x,2020,1,1,R50,ArcFace,990,1,1,1,1,1,paper\n")
    with pytest.raises(InputError, match=r"line 2: accuracies \[990.0\] are outside 0 to 100; write them in per cent"):
        read_published(path)


def test_heavy_libraries_stay_out():
    code = "import sys, evaluate.leaderboard.write; print({'torch', 'mlflow', 'pandas', 'matplotlib'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
