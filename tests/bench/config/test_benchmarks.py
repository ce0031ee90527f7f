"""benchmarks.yaml: every entry loads, and the message for a mistake is one line with field, value and remedy."""

import pytest
import yaml

from bench.config.benchmarks import BENCHMARKS_PATH, load_benchmark, load_benchmarks, load_recipe, protocol_names
from bench.errors import InputError

TEXT = BENCHMARKS_PATH.read_text()


def load_changed(tmp_path, old, new, name):
    assert old in TEXT
    path = tmp_path / "benchmarks.yaml"
    path.write_text(TEXT.replace(old, new, 1))
    return load_benchmark(name, path)


def test_every_benchmark_loads():
    benchmarks = load_benchmarks()
    assert {"smoke", "10k", "20k", "100k", "200k", "300k"} <= benchmarks.keys()
    assert all(benchmark.name == name for name, benchmark in benchmarks.items())


def test_hsface_scales_differ_only_in_identities():
    benchmarks = load_benchmarks()
    reference = benchmarks["10k"]
    for name, thousands in [("10k", 10), ("20k", 20), ("100k", 100), ("200k", 200), ("300k", 300)]:
        benchmark = benchmarks[name]
        assert benchmark.generator.num_identities == thousands * 1000
        assert benchmark.recipe == reference.recipe
        assert benchmark.generator.model_copy(update={"num_identities": 10_000}) == reference.generator


def test_the_hsface_recipe_is_the_published_one():
    recipe = load_benchmark("20k").recipe
    assert (recipe.backbone.depth, recipe.backbone.se, recipe.backbone.dropout) == (50, "shortcut", 0.4)
    assert (recipe.margin.kind, recipe.margin.margin, recipe.margin.scale) == ("arcface", 0.5, 64)
    assert (recipe.optimizer.lr, recipe.optimizer.momentum, recipe.optimizer.weight_decay) == (0.1, 0.9, 5e-4)
    assert (recipe.schedule.epochs, recipe.schedule.drop_epochs) == (26, (12, 20, 24))
    assert recipe.augmentation.crop == recipe.augmentation.low_resolution == recipe.augmentation.photometric == 0.3
    assert recipe.augmentation.erasing.probability == 0.5


@pytest.mark.parametrize(
    ("old", "new", "name", "message"),
    [
        ("lr: 0.1,", "lrate: 0.1,", "10k", r"recipe\.optimizer\.lrate is unknown \(did you mean lr\?"),
        ("depth: 50", "depth: 51", "20k", r"recipe\.backbone\.depth: .*18, 34, 50.*got 51"),
        ("lr: 0.1,", "lr: -1,", "20k", r"recipe\.optimizer\.lr: input should be greater than 0, got -1"),
        ("flip: 0.5", "flip: 1.5", "20k", r"augmentation\.flip: .*less than or equal to 1, got 1\.5"),
        ("num_identities: 10000", "num_identities: many", "10k", r"generator\.num_identities: .*got 'many'"),
        (
            "drop_epochs: [12, 20, 24]",
            "drop_epochs: [12, 20, 34]",
            "20k",
            r"drop_epochs=\[12, 20, 34\]; .*none after epoch 26",
        ),
        ("shares: [0.4, 0.4, 0.2]", "shares: [0.4, 0.4, 0.4]", "20k", r"one share per sigma, adding up to 1"),
        ("recipe: hsface_arcface", "recipe: hsface_arcfac", "10k", r"did you mean hsface_arcface\?"),
        ("protocols: five", "protocols: fiv", "10k", r"protocols=fiv is unknown; did you mean five\?"),
        ("batch_size: 512\n", "batch_size: 512\n    batch_size: 32\n", "10k", r"key given twice: batch_size"),
        ("  five: [", "  five: [[", "10k", r"while parsing a flow sequence"),
        ("recipes:\n", "recipies:\n", "10k", r"holds \['benchmarks', 'protocols', 'recipies'\] at"),
    ],
)
def test_a_mistake_is_named(tmp_path, old, new, name, message):
    with pytest.raises(InputError, match=message) as caught:
        load_changed(tmp_path, old, new, name)
    assert "\n" not in str(caught.value)


def test_lists_of_protocols_are_expanded():
    assert protocol_names(["lfw", "ijb", "mine"]) == ["lfw", "ijbb", "ijbc", "mine"]
    assert protocol_names(["five"]) == list(load_benchmark("10k").protocols)
    assert len(protocol_names(["rfw"])) == 4


def test_unknown_scale_names_the_nearest():
    with pytest.raises(InputError, match=r"SCALE=smok is not in .*did you mean smoke\? choose from smoke, smoke_ref"):
        load_benchmark("smok")


def test_a_recipe_by_name_is_that_of_its_benchmark():
    assert load_recipe("hsface_arcface") == load_benchmark("20k").recipe


def test_unknown_recipe_names_the_nearest():
    with pytest.raises(InputError, match=r"recipe smoke_arcfac is not in .*did you mean smoke_arcface\? choose from"):
        load_recipe("smoke_arcfac")


def test_a_mistake_in_a_recipe_is_named(tmp_path):
    path = tmp_path / "benchmarks.yaml"
    path.write_text(TEXT.replace("lr: 0.1,", "lrate: 0.1,", 1))
    with pytest.raises(InputError, match=r"recipes\.hsface_arcface: optimizer\.lrate is unknown \(did you mean lr\?"):
        load_recipe("hsface_arcface", path)


def test_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.yaml does not exist; .*--config FILE"):
        load_benchmark("smoke", tmp_path / "nothing.yaml")


def test_groups_inside_lists_of_protocols(tmp_path):
    document = yaml.safe_load(BENCHMARKS_PATH.read_text())
    document["benchmarks"]["smoke"]["protocols"] = ["five", "lfw", "ijb"]
    (tmp_path / "b.yaml").write_text(yaml.safe_dump(document))
    expected = ("lfw", "cfp_fp", "agedb_30", "calfw", "cplfw", "ijbb", "ijbc")
    assert load_benchmark("smoke", tmp_path / "b.yaml").protocols == expected
