"""Cards of a pull request: a good one is accepted, bad ones are refused, each for its own reason.

The good card is the committed result of smoke with seed 2; the base is two other committed results.
"""

import json
import shutil

import numpy as np
import pytest
from paths import REPORTS

from bench.config.released import RELEASED_RECIPES
from bench.errors import InputError
from evaluate.__main__ import main
from evaluate.challenge.pull_request import check_pull_request

GOOD = "smoke_seed2"


def copy(name, target):
    target.mkdir(parents=True, exist_ok=True)
    for path in (REPORTS / "results").glob(f"{name}.*"):
        shutil.copy(path, target)


@pytest.fixture
def base(tmp_path):
    for name in ("smoke", "smoke_raw_pixels"):
        copy(name, tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def head(tmp_path, base):
    shutil.copytree(base, tmp_path / "head")
    copy(GOOD, tmp_path / "head")
    return tmp_path / "head"


def edit(head, change, name=GOOD):
    path = head / f"{GOOD}.json"
    card = json.loads(path.read_text())
    change(card)
    path.unlink()
    for old in head.glob(f"{GOOD}.*"):
        old.rename(old.with_name(old.name.replace(GOOD, name)))
    (head / f"{name}.json").write_text(json.dumps(card))


def test_a_good_card_is_accepted(base, head):
    changed = ["reports/results/smoke_seed2.json", "reports/results/smoke_seed2.npz", "reports/leaderboard.md"]
    line = check_pull_request(base, head, changed)
    mean = json.loads((head / f"{GOOD}.json").read_text())["mean_accuracy"]
    assert line.startswith(f"accepted smoke_seed2.json: smoke, seed 2, mean {mean:.2%} over render_lfw, render_cfp_fp")


def other_schema(head):
    edit(head, lambda card: card.pop("protocols"))


def no_json(head):
    (head / f"{GOOD}.json").write_text("{")


def other_accuracy(head):
    """All figures of the card agree with each other, but not with its scores."""

    def change(card):
        result = card["protocols"]["render_lfw"]
        result["folds"] = [1.0] * 10
        result |= {"accuracy": 1.0, "fold_std": 0.0, "standard_error": 0.0, "exact_accuracy": 1.0}
        set_means(card, card["protocols"].values())

    edit(head, change)


def set_means(card, results):
    """The mean of a card, and its standard error, over some of its sets."""
    errors = np.array([result["standard_error"] for result in results])
    card["mean_accuracy"] = float(np.mean([result["accuracy"] for result in results]))
    card["mean_standard_error"] = float(np.sqrt(np.sum(errors**2)) / len(errors))


def no_scores(head):
    (head / f"{GOOD}.npz").unlink()


def other_name(head):
    edit(head, lambda card: None, name="smoke_best")


def other_recipe(head):
    edit(head, lambda card: card.update(scale="datacv_10k"), name="datacv_10k_seed2")


def over_the_caps(head):
    def change(card):
        card["scale"], card["recipe"]["sha256"] = "datacv_10k", RELEASED_RECIPES["hsface_arcface"]
        card["dataset"] |= {"num_identities": 10_000, "num_images": 500_001}

    edit(head, change, name="datacv_10k_seed2")


def outside_the_band(head):
    for path in (REPORTS / "results").glob("smoke_attrop_seed2.*"):
        shutil.copy(path, head / path.name.replace("smoke_attrop_seed2", GOOD))
    edit(head, lambda card: card.update(scale="smoke_reference"), name="smoke_reference_seed2")


def unknown_benchmark(head):
    edit(head, lambda card: card.update(scale="mine"), name="mine_seed2")


def uncommitted_code(head):
    edit(head, lambda card: card["git"].update(dirty=True))


def known_network(head):
    twin = json.loads((head / "smoke.json").read_text())["model"]["weights_sha256"]
    edit(head, lambda card: card["model"].update(weights_sha256=twin))


def other_pairs(head):
    """A set of this name has 6,000 pairs, and no copy of it has these bytes."""
    rename_set(head, "lfw")


def unknown_copy(head):
    rename_set(head, "hadrian")  # a hard set, which does not enter the mean beside others
    edit(
        head, lambda card: set_means(card, [card["protocols"][name] for name in card["protocols"] if name != "hadrian"])
    )


def rename_set(head, name):
    def change(card):
        card["protocols"][name] = card["protocols"].pop("render_cplfw")

    edit(head, change)
    with np.load(head / f"{GOOD}.npz") as file:
        arrays = {key.replace("render_cplfw", name): value for key, value in file.items()}
    np.savez_compressed(head / f"{GOOD}.npz", **arrays)


def removed_row(head):
    (head / "smoke_raw_pixels.json").unlink()


def replaced_card(head):
    shutil.copy(head / f"{GOOD}.json", head / "smoke.json")


def linked_card(head):
    (head / f"{GOOD}.json").unlink()
    (head / f"{GOOD}.json").symlink_to("/etc/hostname")


def program(head):
    (head / "run.py").write_text("print(1)")


def scores_alone(head):
    shutil.copy(head / f"{GOOD}.npz", head / "lonely.npz")


def large_file(head):
    (head / f"{GOOD}.jpg").write_bytes(b"\xff\xd8\xff" + bytes(5_000_000))


def grid_of_photographs(head):
    def change(card):
        card["scale"] = "mini_reference"
        card["recipe"] = {"name": "mini_arcface", "sha256": RELEASED_RECIPES["mini_arcface"]}

    edit(head, change, name="mini_reference_seed2")


def grid_of_a_mixture(head):
    def change(card):
        card["scale"] = "mini_mixture"
        card["recipe"] = {"name": "mini_arcface", "sha256": RELEASED_RECIPES["mini_arcface"]}

    edit(head, change, name="mini_mixture_seed2")


def one_network_as_two_seeds(head):
    for path in list(head.glob(f"{GOOD}.*")):
        shutil.copy(path, head / path.name.replace(GOOD, "smoke_seed3"))
    card = json.loads((head / "smoke_seed3.json").read_text())
    (head / "smoke_seed3.json").write_text(json.dumps(card | {"seed": 3}))


def nothing_new(head):
    for path in head.glob(f"{GOOD}.*"):
        path.unlink()


BAD = {
    other_schema: r"smoke_seed2\.json: protocols: Field required",
    no_json: r"smoke_seed2\.json: ",
    other_accuracy: r"render_lfw: accuracy is 1\.0, but its decisions give 0\.900000",
    no_scores: r"smoke_seed2\.npz is missing, so no number can be checked; add it",
    other_name: r"the file of this card is called smoke_seed2\.json; rename it",
    other_recipe: r"the recipe has the SHA-256 9aa1c8bc6ae9c391\.\.\., division datacv_10k has 36a1285db9a1b6f3\.\.\.",
    over_the_caps: r"the dataset has 500,001 images, more than 500,000 in division datacv_10k; cut it down",
    outside_the_band: r"the mean accuracy 80\.53% is outside the plausible band 82\.0% to 90\.0%",
    unknown_benchmark: r"scale mine is no entry of benchmarks\.yaml; add the entry in a pull request of its own first",
    uncommitted_code: r"the code was at commit \w{12} with changes; run a committed version",
    known_network: r"the network \w{16}\.\.\. is the row smoke\.json already; add another network",
    other_pairs: r"lfw has 600 pairs instead of the published 6,000; take the whole set",
    unknown_copy: r"hadrian is a copy that is not known, SHA-256 \w{16}\.\.\.; fetch the set by evaluate fetch",
    removed_row: r"smoke_raw_pixels\.json of the base is removed; restore it, rows are never removed",
    replaced_card: r"smoke\.json of the base is replaced; restore it, and add your result under its own name and seed",
    linked_card: r"smoke_seed2\.json: is a link, not a file; add the file itself",
    program: r"run\.py: is no part of a card; add NAME\.json, NAME\.npz and NAME\.jpg",
    scores_alone: r"lonely\.npz: has no card lonely\.json beside it; add the card, or leave the file out",
    large_file: r"smoke_seed2\.jpg: has 5,000,003 bytes, more than 5,000,000",
    grid_of_photographs: r"mini_reference_seed2\.jpg may show photographs of people; leave it out",
    grid_of_a_mixture: r"mini_mixture_seed2\.jpg may show photographs of people; leave it out",
    one_network_as_two_seeds: r"smoke_seed3\.json: the network \w{16}\.\.\. is the row smoke_seed2\.json already",
    nothing_new: r"no card is added; add reports/results/NAME\.json with NAME\.npz, by evaluate publish",
}


@pytest.mark.parametrize("break_card", BAD, ids=lambda function: function.__name__)
def test_a_bad_card_is_refused_for_its_own_reason(base, head, break_card):
    break_card(head)
    with pytest.raises(InputError, match=BAD[break_card]):
        check_pull_request(base, head)


def test_other_files_may_not_change(base, head):
    with pytest.raises(InputError, match=r"2 other files change, first evaluate/metrics\.py; put cards into a pull"):
        check_pull_request(base, head, ["evaluate/metrics.py", "reports/results/a.json", ".github/workflows/cards.yml"])


def test_the_command(base, head, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["evaluate", "cards", str(head), "--base", str(base)])
    assert main() == 0
    assert capsys.readouterr().out.startswith("accepted smoke_seed2.json")
