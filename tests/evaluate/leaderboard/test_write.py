"""Markdown, CSV and page say what the cards say; hostile names are escaped; equal cards give equal bytes."""

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
from leaderboard_rows import add_scores
from paths import GOLDEN, REPORTS
from results import PROTOCOLS, make_result, make_template_result

from bench.errors import InputError
from bench.runs.cards import ResultCard, read_card, write_card
from evaluate.leaderboard.protocol_names import FIVE, protocol_title
from evaluate.leaderboard.read import read_local
from evaluate.leaderboard.tables import make_tables
from evaluate.leaderboard.template_tables import make_template_tables
from evaluate.leaderboard.write import format_row, write_committed_leaderboard, write_leaderboard


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
    with pytest.raises(InputError, match="has schema 99, this code reads up to 5; update the code"):
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
    assert a["cfp_fp"] == pytest.approx(0.9)


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
    add_scores(runs / "bad" / "results" / "bad")
    text = write_leaderboard(runs).read_text()
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    markdown = (runs / "leaderboard.md").read_text()
    assert "&lt;script>alert(1)&lt;/script>\\|x" in markdown


@pytest.mark.parametrize(
    "name",
    ["[x](javascript:alert(1))", "\\\\[x](javascript:alert(1))", "[1]: javascript:alert(1)", "a [1](javascript:b)"],
)
def test_names_make_no_links_in_markdown(runs, name):
    write_card(runs / "bad" / "results" / "bad", make_result("bad", name=name, fingerprint="bad", protocols=(name,)))
    write_leaderboard(runs)
    markdown = (runs / "leaderboard.md").read_text()
    without_code = re.sub(r"`[^`]*`", "", markdown)
    lines = [line for line in without_code.splitlines() if "javascript:" in line]
    assert lines
    for line in lines:
        unescaped = re.sub(r"\\.", "", line)  # an escaped character starts nothing
        assert not re.search(r"\[[^\]]*\]\(|\[[^\]]*\]:", unescaped), line


def test_the_same_cards_give_the_same_bytes(runs):
    write_leaderboard(runs)
    before = {suffix: (runs / f"leaderboard.{suffix}").read_bytes() for suffix in ("md", "csv", "html")}
    write_leaderboard(runs)
    assert before == {suffix: (runs / f"leaderboard.{suffix}").read_bytes() for suffix in ("md", "csv", "html")}


def test_no_results_yet(tmp_path):
    assert "No results yet" in write_leaderboard(tmp_path).read_text()


def test_one_broken_card_is_named_and_the_others_are_shown(runs, capsys):
    path = runs / "a" / "results" / "a" / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"mean_accuracy": 0.99}))
    (runs / "b" / "results" / "b" / "result.json").write_text("{")
    (runs / "weights" / "results" / "weights" / "scores.npz").write_bytes(b"PK")
    (runs / "smoke" / "models" / "model0" / "model.json").write_text("[]")
    with pytest.raises(InputError, match=r"mean_accuracy is 0.99, but its protocols average 0.930000; run the eval"):
        read_local(runs)
    page = write_leaderboard(runs).read_text()
    markdown = (runs / "leaderboard.md").read_text()
    assert "## Results that are not shown" in markdown
    for text in (page, markdown, capsys.readouterr().err):
        assert "a/results/a/result.json" in text
        assert "mean_accuracy is 0.99, but its protocols average 0.930000" in text
        assert "b/results/b/result.json" in text
        assert "weights/results/weights/result.json" in text
    labels = [row.label for table in make_tables(read_local(runs, {})) for row in table.rows]
    assert labels == ["raw pixels", "smoke", "smoke", "raw pixels"]  # smoke's first seed has lost its parents
    assert "the card of its model or its dataset is broken" in markdown


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
    assert "| a [1] [2] [3] [4] [5] [6] | open | 1 | 93.00 ±" in (reports / "leaderboard.md").read_text()


def test_template_protocols_have_a_table_of_their_own(runs):
    for seed, tar in ((0, 0.9), (1, 0.92)):
        card = make_result("strong", 0.9, seed=seed, protocols=FIVE, fingerprint=f"strong{seed}")
        card = card.model_copy(update={"templates": {"ijbc": make_template_result(tar)}})
        write_card(runs / "strong" / "results" / f"strong{seed}", card)
    alone = make_result("weights", row="model", dataset=None, recipe=None, name="net", fingerprint="alone")
    none = {"protocols": {}, "mean_accuracy": None, "mean_standard_error": None}
    alone = alone.model_copy(update=none | {"templates": {"ijbc": make_template_result(0.95)}})
    write_card(runs / "weights" / "results" / "alone", alone)
    assert all(table.core != ("ijbc",) and "ijbc" not in table.extras for table in make_tables(read_local(runs)))
    (table,) = make_template_tables(read_local(runs))
    assert [row.label for row in table.rows] == ["strong", "net"]  # divisions first, then the rate
    rate = table.rate(table.rows[0], "1e-4")
    assert (rate.value, rate.standard_error) == (pytest.approx(0.91), pytest.approx((0.91 * 0.09 / 1000) ** 0.5))
    assert table.seed_std(table.rows[0], "1e-4") == pytest.approx(np.std([0.9, 0.92], ddof=1))
    assert table.seed_std(table.rows[1], "1e-4") is None
    assert table.rate(table.rows[0], "1e-6") is None
    text = (write_leaderboard(runs).parent / "leaderboard.md").read_text()
    assert "## IJB-C: templates one to one, TAR at FAR" in text
    rates = "99.00 ± 0.31 | 98.00 ± 0.44 | 97.00 ± 0.54 | 95.00 ± 0.69 | - | - | -"
    assert "- [1] the model's card is missing" in text  # of the first row
    assert f"| net [2] [3] | given weights | 1 | {rates} |" in text
    assert "- [3] IJB-C has 11,000 pairs instead of the published 15,658,489" in text
    lines = [row for row in csv.DictReader((runs / "leaderboard.csv").open()) if row["table"] == "ijbc"]
    assert [(row["name"], row["tar_at_far_1e-4"], row["accuracy"]) for row in lines] == [
        ("strong", "0.91", ""),
        ("net", "0.95", ""),
    ]
    headers = [table[0] for table in Page(runs / "leaderboard.html").tables if "1e-4" in table[0]]
    assert headers[0][:3] == ["row", "division", "seeds"]


def test_terminal_row():
    head, line = format_row(make_result()).splitlines()
    assert head.split() == ["name", "seed", "mean", *" ".join(map(protocol_title, PROTOCOLS)).split()]
    assert line.split() == ["smoke", "0", "87.50", "±", "0.60", *["87.50"] * 5]
    assert len(head) == len(line)


@pytest.mark.slow
def test_heavy_libraries_stay_out():
    code = "import sys, evaluate.leaderboard.write; print({'torch', 'mlflow', 'pandas', 'matplotlib'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_mixture_states_its_parts(runs):
    assert "composition" not in write_leaderboard(runs).read_text(), "the column is there for mixtures alone"
    path = next(path for path in runs.glob("*/results/*/result.json") if read_card(path, ResultCard).dataset)
    card = read_card(path, ResultCard)
    parts = "67% photos + 33% drawn"
    write_card(path.parent, card.model_copy(update={"dataset": card.dataset.model_copy(update={"composition": parts})}))
    page = write_leaderboard(runs)
    assert any(parts in cell for table in Page(page).tables for row in table for cell in row)
    markdown = (runs / "leaderboard.md").read_text()
    assert re.search(r"\| *identities *\| *composition *\|", markdown)
    assert parts in markdown
    with (runs / "leaderboard.csv").open() as file:
        assert {row["composition"] for row in csv.DictReader(file) if row["scale"] == card.scale} == {parts}
