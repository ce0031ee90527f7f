"""Every number on a rendered page stands in a card, or follows from cards by arithmetic spelt out here."""

import csv
import html
import json
import re
import shutil
from collections import defaultdict
from itertools import pairwise, product
from statistics import fmean, stdev

import pytest
from leaderboard_rows import add_result, floor
from paths import GOLDEN, REPORTS
from results import make_protocol_result, make_result, make_template_result, write_run
from scipy.stats import spearmanr

from bench.machine.facts import Cost
from bench.runs.cards import AuditCard, read_card, write_card
from evaluate.audit.page import render_audit
from evaluate.leaderboard.cells import HOW_TO_READ
from evaluate.leaderboard.protocol_names import FIVE
from evaluate.leaderboard.write import write_leaderboard
from evaluate.measure.result import summarise_groups
from evaluate.pages.render import TEMPLATES
from evaluate.test_sets.registry import REGISTRY, RFW

# An exponent has one or two digits: 979e704 is a commit.
NUMBER = re.compile(r"(?<![\w.#-])[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d{1,2})?(?!\w)")
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:tmp|work|home|root|Users|mnt|data)/")
TITLE = re.compile(r"<title>(.*?)</title>")


def numbers_in(value):
    """All numbers of a card, those within its texts too."""
    if isinstance(value, dict):
        return [one for part in (*value, *value.values()) for one in numbers_in(part)]
    if isinstance(value, list | tuple):
        return [one for part in value for one in numbers_in(part)]
    if isinstance(value, str):
        return [float(token.replace(",", "")) for token in NUMBER.findall(value)]
    return [float(value)] if isinstance(value, int | float) else []


def is_found(token, numbers):
    """Whether a printed number is one of ``numbers``, or a hundred times it, rounded as it is printed."""
    digits, _, exponent = token.replace(",", "").partition("e")
    half = 0.5 * 10 ** (int(exponent or 0) - len(digits.partition(".")[2]))
    shown = float(token.replace(",", ""))
    return any(
        abs(shown - factor * one) <= half * 1.000001 + 1e-12 * abs(shown) for one in numbers for factor in (1, 100)
    )


def missing(text, numbers):
    """The printed numbers of a text that are not to be found."""
    return [token for token in NUMBER.findall(text) if not is_found(token, numbers)]


def visible(page):
    """Text of a page, with the titles of its figures but without their ticks, styles, scripts and pictures."""
    page = re.sub(r"<(style|script)\b.*?</\1>", " ", page, flags=re.S)
    page = re.sub(r"<svg\b.*?</svg>", lambda svg: " ".join(["", *TITLE.findall(svg[0]), ""]), page, flags=re.S)
    return html.unescape(re.sub(r"<[^>]*>", " ", page)).replace("\u2011", "-")


def template_text(name):
    """What the page says whatever the cards say."""
    source = re.sub(r"{%.*?%}|{{.*?}}", " ", (TEMPLATES / name).read_text(), flags=re.S)
    return visible(source) + " ".join(HOW_TO_READ.values())


def rows_of(cards):
    """Seeds of the same benchmark together, as label -> cards."""
    rows = defaultdict(list)
    for card in cards:
        settings = (
            [card["scale"], card["dataset"]["name"], card["recipe"]["sha256"]] if card["dataset"] else card["inputs"]
        )
        rows[card["name"], str(settings)].append(card)
    return list(rows.values())


def derived(cards):
    """What a row prints beside the numbers of its cards: means, deviations, intervals, hours, prices."""
    found = [float(len(cards))]
    names = set.intersection(*(set(card["protocols"]) for card in cards))
    for part in (FIVE, RFW, [f"render_{name}" for name in FIVE], *([name] for name in names), sorted(names)):
        if not part or not set(part) <= names:
            continue
        values = [[card["protocols"][name]["accuracy"] for name in part] for card in cards]
        means = [fmean(one) for one in values]
        found += [fmean(means), *means, *([stdev(means)] if len(means) > 1 else [])]
        below, above, errors = [], [], []
        for card, accuracies in zip(cards, values, strict=True):
            protocols = [card["protocols"][name] for name in part]
            errors.append(sum(one["standard_error"] ** 2 for one in protocols) ** 0.5 / len(part))
            ends = [
                one.get("interval") or (a - 1.96 * one["standard_error"], a + 1.96 * one["standard_error"])
                for one, a in zip(protocols, accuracies, strict=True)
            ]
            below.append(sum((low - a) ** 2 for (low, _), a in zip(ends, accuracies, strict=True)) ** 0.5 / len(part))
            above.append(sum((high - a) ** 2 for (_, high), a in zip(ends, accuracies, strict=True)) ** 0.5 / len(part))
        found += [*errors, fmean(errors), fmean(means) - fmean(below), fmean(means) + fmean(above)]
        if len(part) == len(RFW):
            spreads = [stdev(one) for one in values]
            found += [fmean(spreads), *([stdev(spreads)] if len(spreads) > 1 else [])]
    for name, first in cards[0]["templates"].items() if cards[0].get("templates") else ():
        num_genuine = first["num_pairs"] - first["num_impostors"]
        found.append(num_genuine)
        for far in first["tar_at_far"]:
            rates = [card["templates"][name]["tar_at_far"][far] for card in cards]
            if None not in rates:
                value = fmean(rates)
                found += [
                    value,
                    *([stdev(rates)] if len(rates) > 1 else []),
                    (value * (1 - value) / num_genuine) ** 0.5,
                ]
    costs = [list(card["stage_costs"].values()) for card in cards]
    found.append(fmean(sum(one["seconds"] * one["num_processes"] / 3600 for one in part) for part in costs))
    prices = [
        one["seconds"] * one["num_processes"] / 3600 * (one.get("price_per_hour") or 0)
        for part in costs
        for one in part
    ]
    found.append(sum(prices) / len(cards))
    rates = [card["stage_costs"].get("train", {}).get("images_per_second") for card in cards]
    return found + ([fmean(rates)] if rates and None not in rates else [])


def gaps(rows):
    """Differences of the means of any two rows on the same protocols, and of one in parts of the other."""
    means = [{name: derived_mean(cards, part) for name, part in families(cards).items()} for cards in rows]
    found = []
    for a in means:
        for b in means:
            found += [a[name] - b[name] for name in a.keys() & b.keys()]
            found += [(a[name] - b[name]) / b[name] for name in a.keys() & b.keys()]
    return found


def families(cards):
    names = set.intersection(*(set(card["protocols"]) for card in cards))
    parts = (FIVE, RFW, [f"render_{name}" for name in FIVE], sorted(names))
    return {tuple(part): part for part in parts if part and set(part) <= names}


def derived_mean(cards, part):
    return fmean(card["protocols"][name]["accuracy"] for card in cards for name in part)


def entries(page):
    """Text of every table row that holds a result, and of the rest of the page."""
    parts = re.split(r'(?=<tbody class="entry)|(?=<tbody class="group)|(?=</table></div>)', page)
    rows = [visible(part) for part in parts if part.startswith('<tbody class="entry')]
    return rows, visible(" ".join(part for part in parts if not part.startswith('<tbody class="entry')))


def reader_rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def published_numbers(path):
    """Numbers of published.csv, means of the five, and their gaps."""
    rows = reader_rows(path)
    means = [fmean(float(row[name]) for name in FIVE) for row in rows if all(row[name] for name in FIVE)]
    means += [float(row["avg"]) for row in rows if row["avg"]]
    found = [one for row in rows for one in numbers_in(list(row.values()))]
    return found + means + [a - b for a in means for b in means]


def public_audits():
    """Numbers of the public audits, accuracies of their rows, and how well the ranks of ratio and accuracy agree."""
    rows = reader_rows(REPORTS / "published_audits.csv")
    accuracies = {row["dataset"]: float(row["avg"]) for row in reader_rows(REPORTS / "published.csv") if row["avg"]}
    pairs = [
        (float(row["fisher_ratio"]), accuracies[row["accuracy_row"]])
        for row in rows
        if row["accuracy_row"] in accuracies
    ]
    found = numbers_in(rows) + list(accuracies.values())
    for chosen in (pairs, [pair for pair in pairs if pair[0] >= 3]):
        found += [float(len(chosen)), float(spearmanr(*zip(*chosen, strict=True)).statistic)]
    return found


def wrong_numbers(folder, cards, published):
    """Numbers of leaderboard.html, .md and .csv that no card gives, with the row that they stand in."""
    rows = rows_of(cards)
    shared = [*gaps(rows), *map(float, range(len(cards) + 1)), 95.0]  # ranks and counts; 95 % interval
    registry = [float(one.num_pairs) for one in REGISTRY.values() if one.num_pairs]
    own = {}  # label -> numbers that its rows may print
    for group in rows:
        own.setdefault(group[0]["name"], []).extend(numbers_in(group) + derived(group) + shared)
    everything = [one for part in own.values() for one in part] + published + registry
    page = (folder / "leaderboard.html").read_text()
    texts, rest = entries(page)
    markdown = (folder / "leaderboard.md").read_text()
    lines = markdown.splitlines()
    heads = [line for line, below in pairwise(lines) if below.startswith("| :--")]
    texts += [line.strip("| ") for line in lines if line.startswith("| ") and line not in heads and "| :--" not in line]
    texts += [" ".join(row.values()) for row in reader_rows_with_name_first(folder / "leaderboard.csv")]
    wrong = [(text.split("  ")[0][:60], missing(text, numbers_for(text, own) or published)) for text in texts]
    static = numbers_in(template_text("leaderboard.html"))
    wrong.append(("rest of the page", missing(rest, everything + static)))
    other_lines = "\n".join(line for line in markdown.splitlines() if not line.startswith("| "))
    wrong.append(("rest of the Markdown", missing(other_lines, everything + static)))
    return [(where, numbers) for where, numbers in wrong if numbers]


def reader_rows_with_name_first(path):
    return [{"name": row.pop("name")} | row for row in reader_rows(path)]


def numbers_for(text, own):
    """Numbers of the rows whose name the text begins with, the longest such name."""
    names = [name for name in own if text.lstrip().startswith(name)]
    return own[max(names, key=len)] if names else None


@pytest.fixture
def runs(tmp_path):
    """Seeds, floors, a real reference, prices, groups of people, templates, an older card: all that a page can show."""
    for seed, accuracy in enumerate((0.9133, 0.9317, 0.9251)):
        write_run(tmp_path, accuracy=accuracy, seed=seed)
    add_result(tmp_path, "low", 0.6123, protocols=[f"render_{name}" for name in FIVE], **floor())
    add_result(tmp_path, "real", accuracies=dict(zip(FIVE, (0.9912, 0.9034, 0.9571, 0.9449, 0.8743), strict=True)))
    priced = {name: Cost(seconds=1811, num_processes=8, price_per_hour=2.53) for name in ("train", "evaluate")}
    add_result(tmp_path, "priced", 0.8871, protocols=FIVE, stage_costs=priced)
    for seed in (0, 1):
        results = {name: make_protocol_result(0.81 + 0.013 * i + 0.0071 * seed) for i, name in enumerate(RFW)}
        templates = {name: make_template_result(0.9371 - 0.0123 * seed) for name in ("ijbb", "ijbc")}
        card = make_result("unequal", seed=seed, fingerprint=f"unequal{seed}").model_copy(
            update={
                "protocols": results,
                "groups": summarise_groups(results),
                "templates": templates,
                "mean_accuracy": fmean(one.accuracy for one in results.values()),
            }
        )
        write_card(tmp_path / "unequal" / "results" / f"unequal{seed}", card)
    old = tmp_path / "smoke" / "results" / "old"
    old.mkdir()
    shutil.copy(GOLDEN / "result_schema_1.json", old / "result.json")
    return tmp_path


def cards_below(folder, pattern):
    return [json.loads(path.read_text()) for path in sorted(folder.glob(pattern))]


@pytest.mark.slow
def test_every_number_of_a_leaderboard_is_a_card_s(runs):
    write_leaderboard(runs)
    cards, published = cards_below(runs, "*/results/*/result.json"), published_numbers(REPORTS / "published.csv")
    assert wrong_numbers(runs, cards, published) == []
    for name in ("leaderboard.html", "leaderboard.md", "leaderboard.csv"):  # and the test would see a wrong one
        text = (runs / name).read_text()
        accuracy = "0.9034" if name.endswith("csv") else "90.34"
        assert accuracy in text
        (runs / name).write_text(text.replace(accuracy, accuracy[:-1] + "9"))
    wrong = [set(numbers) for _, numbers in wrong_numbers(runs, cards, published)]
    assert wrong == [{"90.39"}, {"90.39"}, {"0.9039"}]


def test_every_number_of_the_committed_leaderboard_is_a_card_s():
    cards = cards_below(REPORTS, "results/*.json")
    assert wrong_numbers(REPORTS, cards, published_numbers(REPORTS / "published.csv")) == []


@pytest.mark.parametrize("path", sorted((REPORTS / "audits").glob("*.json")), ids=lambda path: path.stem)
def test_every_number_of_a_committed_audit_is_its_card_s(path):
    page = path.with_suffix(".html").read_text()
    assert page == render_audit(read_card(path, AuditCard))
    numbers = numbers_in(json.loads(path.read_text())) + numbers_in(template_text("audit.html")) + public_audits()
    assert missing(visible(page), numbers) == []
    assert missing(visible(page).replace("0.9", "0.97", 1), numbers) != [] or "0.9" not in visible(page)


def test_differences_on_the_committed_page_are_those_of_its_cards():
    cards = cards_below(REPORTS, "results/*.json")
    page = (REPORTS / "leaderboard.html").read_text()
    for text in re.findall(r'id="differences-\w+">(.*?)</script>', page):
        data = json.loads(text)
        for places, found in data["pairs"].items():
            labels = [data["rows"][place].split(" (")[0] for place in places.split(",")]
            candidates = [[card["protocols"] for card in cards if card["name"] == label] for label in labels]
            possible = []  # "raw pixels" stands in several tables
            for first, second in product(*candidates):
                shared = first.keys() & second.keys()
                differences = [100 * (first[name]["accuracy"] - second[name]["accuracy"]) for name in shared]
                possible += [*differences, *([fmean(differences)] if differences else [])]
            for value, low, high, _ in found.values():
                assert low <= value <= high
                assert min(abs(value - one) for one in possible) <= 0.0005001


def test_reports_name_no_machine_s_folders():
    for path in sorted(REPORTS.rglob("*")):
        if path.suffix in {".json", ".html", ".md", ".csv", ".txt", ".tsv"}:
            text = re.sub(r"data:image/[^\"']*", "", path.read_text())  # base64 holds slashes of its own
            found = MACHINE_PATH.search(text)
            assert not found, f"{path.name}: {text[found.start() - 60 : found.end() + 40]!r}"
