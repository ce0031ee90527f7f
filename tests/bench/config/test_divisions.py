"""Divisions of challenges: caps, frozen recipes and backbones, in entries of benchmarks.yaml."""

import pytest

from bench.config.benchmarks import BENCHMARKS_PATH, load_benchmark, load_benchmarks, load_recipe
from bench.config.divisions import DIVISIONS
from bench.config.released import RELEASED_RECIPES
from bench.errors import InputError
from bench.runs.fingerprints import plan_stages

LARGE = """
  too_many:
    about: more people than the division allows
    division: datacv_10k
    generator: {kind: render, num_identities: 10001, images_per_identity: 10}
    recipe: hsface_arcface
    protocols: five
    expected: {<<: *hsface_expected}
"""


def write_entry(tmp_path, entry):
    path = tmp_path / "benchmarks.yaml"
    path.write_text(BENCHMARKS_PATH.read_text().rstrip() + "\n" + entry)
    return path


def test_every_division_has_an_entry_of_its_name():
    entries = {name: entry for name, entry in load_benchmarks().items() if entry.division}
    assert {name: entry.division for name, entry in entries.items()} == {name: name for name in DIVISIONS}


def test_caps_and_recipes_are_those_of_the_challenges():
    sizes = {name: (rules.max_identities, rules.max_images) for name, rules in DIVISIONS.items()}
    assert sizes == {
        "datacv_10k": (10_000, 500_000),
        "datacv_20k": (20_000, 1_000_000),
        "datacv_100k": (100_000, 5_000_000),
        "sdfr_task1": (None, 1_000_000),
    }
    assert DIVISIONS["datacv_10k"].recipe_sha256 == RELEASED_RECIPES["hsface_arcface"]
    assert DIVISIONS["sdfr_task1"].recipe_problem(load_recipe("sdfr_arcface")) is None


def test_sizes_at_and_over_the_caps():
    rules = DIVISIONS["datacv_10k"]
    assert rules.size_problem(10_000, 500_000) is None
    assert rules.size_problem(10_001, 9) == "10,001 identities, more than 10,000"
    assert (
        rules.size_problem(10_001, 500_001)
        == "10,001 identities, more than 10,000 and 500,001 images, more than 500,000"
    )


def test_another_recipe_or_backbone_is_refused(tmp_path):
    changed = LARGE.replace("10001", "100").replace("hsface_arcface", "small_arcface")
    with pytest.raises(
        InputError, match=r"division=datacv_10k: the recipe has the SHA-256 7482fb2c0cb6c0f6\.\.\., the"
    ):
        load_benchmark("too_many", write_entry(tmp_path, changed))
    task = changed.replace("datacv_10k", "sdfr_task1").replace("small_arcface", "hsface_arcface")
    with pytest.raises(
        InputError, match=r"the backbone is iresnet-50, the division demands a plain iresnet-50 of width"
    ):
        load_benchmark("too_many", write_entry(tmp_path, task))


def test_a_generator_that_makes_too_much_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"the generator makes 10,001 identities, more than 10,000; make fewer"):
        load_benchmark("too_many", write_entry(tmp_path, LARGE))


def test_an_unknown_division_and_a_subset_of_none(tmp_path):
    with pytest.raises(InputError, match=r"division=datacv_30k is unknown; did you mean datacv_"):
        load_benchmark("too_many", write_entry(tmp_path, LARGE.replace("datacv_10k", "datacv_30k")))
    lone = LARGE.replace("division: datacv_10k", "over_caps: subset")
    with pytest.raises(InputError, match="over_caps=subset needs a division; name one, or leave over_caps out"):
        load_benchmark("too_many", write_entry(tmp_path, lone))


def test_only_a_subset_changes_the_fingerprint(tmp_path):
    def fingerprint(name, path=BENCHMARKS_PATH):
        return plan_stages(load_benchmark(name, path), seed=0, runs=tmp_path, test_sets=tmp_path).generate.fingerprint

    entry = LARGE.replace(
        "kind: render, num_identities: 10001, images_per_identity: 10", "kind: files, path: data/here"
    )
    plain = fingerprint("too_many", write_entry(tmp_path, entry.replace("    division: datacv_10k\n", "")))
    assert fingerprint("too_many", write_entry(tmp_path, entry)) == plain
    cut = entry.replace("division: datacv_10k", "division: datacv_10k\n    over_caps: subset")
    assert fingerprint("too_many", write_entry(tmp_path, cut)) != plain
