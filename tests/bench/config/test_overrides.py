"""SET: any field of an entry changes, is checked by the schema, and is recorded; mistakes are one line."""

import copy

import pytest

from bench.config.benchmarks import load_benchmark
from bench.config.overrides import apply_changes, join_changes, parse_changes
from bench.errors import InputError
from bench.runs.cards import DatasetCard
from bench.runs.fingerprints import plan_stages


def changed(text, name="smoke_attrop"):
    return load_benchmark(name, changes=text)


def test_fields_of_every_section_change():
    text = "generator.num_identities=100 recipe.margin.margin=0.40 generator.perturbation.sigmas.0=0.5 protocols=five"
    benchmark = changed(text)
    assert benchmark.generator.num_identities == 100
    assert benchmark.recipe.margin.margin == 0.4
    assert benchmark.generator.perturbation.sigmas == (0.5, 0.9, 1.15)
    assert benchmark.protocols[:2] == ("lfw", "cfp_fp")
    assert benchmark.changes[:2] == ("generator.num_identities=100", "recipe.margin.margin=0.4")
    assert benchmark.recipe_name == "smoke_arcface with margin.margin=0.4"
    assert load_benchmark("smoke").changes == ()


def test_another_recipe_by_name_and_changes_of_it():
    benchmark = changed("recipe.schedule.epochs=2 recipe=mini_arcface")
    assert (benchmark.recipe.batch_size, benchmark.recipe.schedule.epochs) == (32, 2)
    assert benchmark.recipe_name == "mini_arcface with schedule.epochs=2"
    assert changed("recipe=mini_arcface").recipe_name == "mini_arcface"  # a released recipe stays one


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("recipe.schedule.epochs=3", ("recipe.schedule.epochs=3",)),  # smoke_arcface has 3, mini_arcface 8
        ("recipe.schedule.epochs=8", ()),
        ("recipe.backbone.depth=18 recipe.batch_size=64", ("recipe.batch_size=64",)),
        ("recipe.augmentation.erasing.probability=0.5", ("recipe.augmentation.erasing.probability=0.5",)),
    ],
)
def test_changes_of_another_recipe_are_told_by_that_recipe(text, changes):
    benchmark = changed(f"recipe=mini_arcface {text}", "smoke")
    assert benchmark.changes == ("recipe=mini_arcface", *changes)
    names = ", ".join(change.removeprefix("recipe.") for change in changes)
    assert benchmark.recipe_name == (f"mini_arcface with {names}" if changes else "mini_arcface")


def test_sections_and_fields_that_the_entry_leaves_out():
    benchmark = changed("'generator={kind: render, num_identities: 24, images_per_identity: 4}'")
    assert benchmark.generator.kind == "render"
    assert changed("generator.turned.share=0.5").generator.turned.share == 0.5
    assert changed("recipe.augmentation.crop=0.3").recipe.augmentation.crop == 0.3


def test_a_value_that_is_that_of_the_file_is_no_change():
    benchmark = changed("generator.num_identities=280 recipe=smoke_arcface recipe.margin.scale=32")
    assert benchmark == load_benchmark("smoke_attrop")


def test_changes_survive_as_text():
    changes = {"generator.centers": "it's here.npy", "generator.perturbation.sigmas": [0.5, 0.7], "about": "12"}
    assert parse_changes(join_changes(changes)) == changes


def test_the_entry_of_the_file_is_not_touched():
    entry = {"generator": {"sigmas": [1, 2]}}
    before = copy.deepcopy(entry)
    assert apply_changes(entry, {"generator.sigmas.1": 3, "generator.a.b": 1})["generator"] == {
        "sigmas": [1, 3],
        "a": {"b": 1},
    }
    assert entry == before


def test_each_stage_records_its_own_changes(tmp_path):
    text = "generator.num_identities=100 recipe.margin.margin=0.4 protocols=[render_lfw] about=changed"
    folders = {"seed": 0, "runs": tmp_path, "test_sets": tmp_path}
    stages = plan_stages(changed(text), **folders)
    assert stages.generate.changes == ("generator.num_identities=100",)
    assert stages.train.changes == ("generator.num_identities=100", "recipe.margin.margin=0.4")
    assert stages.evaluate.changes[2:] == ('protocols=["render_lfw"]',)
    base = plan_stages(load_benchmark("smoke_attrop"), **folders)
    assert all(now.fingerprint != before.fingerprint for now, before in zip(stages, base, strict=True))
    assert {stage.directory.parent for stage in stages} == {stage.directory.parent for stage in base}
    only_about = plan_stages(changed("about=changed"), **folders)
    assert [stage.fingerprint for stage in only_about] == [stage.fingerprint for stage in base]
    assert only_about.evaluate.changes == ()


def test_cards_without_changes_are_as_before():
    field = DatasetCard.model_fields["changes"]
    assert field.default == ()
    assert field.exclude_if(())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("generator.num_identites=3", r"generator\.num_identites is unknown \(did you mean num_identities\?"),
        ("recipe.margin.margn=3", r"recipe\.margin\.margn is unknown \(did you mean margin\?"),
        ("generatr.kind=render", r"generatr is unknown \(did you mean generator\?"),
        ("generator.num_identities=-3", r"num_identities: input should be greater than 0, got -3; correct SET"),
        ("generator.num_identities=many", r"got 'many'"),
        ("generator.num_identities", r"is no FIELD=VALUE; write it as in generator\.num_identities=100"),
        ("=3", r"is no FIELD=VALUE"),
        ("generator.num_identities=1 generator.num_identities=2", r"num_identities is given twice; keep one"),
        ("generator={} generator.kind=render", r"generator\.kind lies inside generator, which is changed too"),
        ("about.text=x", r"about is .* and holds no further fields; change about itself"),
        ("generator.perturbation.sigmas.7=3", r"is no position of a list of 3; give 0 to 2"),
        ("generator.perturbation.sigmas.x=3", r"is no position of a list of 3; give 0 to 2"),
        ("generator.num_identities=[1", r"is not YAML: '\[1' .*; put quotes around it"),
        ("about='", r"is no list of words \(No closing quotation\); correct its quotes"),
        ("recipe=smoke_arcfac", r"recipe=smoke_arcfac is unknown; did you mean smoke_arcface\?"),
        ("name=other", r"name cannot be changed; give SCALE another entry"),
        ("seeds=[1]", r"seeds cannot be changed; give SEEDS"),
        ("generator.perturbation.shares=[1,1,1]", r"one share per sigma, adding up to 1"),
    ],
)
def test_mistakes_are_one_line(text, message):
    with pytest.raises(InputError, match=message) as error:
        changed(text)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("SET")
