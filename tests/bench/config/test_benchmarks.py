"""benchmarks.yaml: every entry loads, and the message for a mistake is one line with field, value and remedy."""

import pytest
import yaml

from bench.config.benchmarks import BENCHMARKS_PATH, load_benchmark, load_benchmarks, load_recipe, protocol_names
from bench.config.recipe import DEFAULT_MARGINS, Margin
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


def test_vface_scales_differ_only_in_numbers_and_have_the_published_means():
    benchmarks = load_benchmarks()
    published = {
        "v10k": (10, 50, 0.9389),
        "v20k": (20, 50, 0.946),
        "v100k": (100, 40, 0.9488),
        "v300k": (300, 40, 0.9493),
    }
    for name, (thousands, per_identity, mean) in published.items():
        generator, expected = benchmarks[name].generator, benchmarks[name].expected
        assert (generator.num_identities, generator.images_per_identity) == (thousands * 1000, per_identity)
        same = generator.model_copy(update={"num_identities": 10_000, "images_per_identity": 50})
        assert same == benchmarks["v10k"].generator
        assert f"published mean {mean:.2%}".replace("%", " %") in benchmarks[name].about
        assert expected.mean_accuracy == pytest.approx((mean - 0.005, mean + 0.005), abs=1e-3)
        assert benchmarks[name].recipe == benchmarks["10k"].recipe
    assert "v300k_published" not in benchmarks  # its faces were never uploaded
    for name in ("v10k", "v20k", "v100k"):
        drawn, downloaded = benchmarks[name].generator, benchmarks[f"{name}_published"].generator
        assert downloaded == drawn.model_copy(update={"source": "hub"}) and downloaded.weight_files == []


def test_v10k_differs_from_10k_in_the_generator_and_in_how_a_pose_is_made():
    new, old = (load_benchmark(name).generator.model_dump() for name in ("v10k", "10k"))
    assert {name for name in new | old if new.get(name) != old.get(name)} == {"attributes", "generator_weights", "pose"}
    assert (new["pose"]["share"], new["pose"]["yaw_degrees"]) == (0.2, old["attributes"]["yaw_degrees"])


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
        (
            "kind: arcface, margin: 0.5",
            "kind: sphereface, margin: 0.5",
            "10k",
            r"margin=0\.5 is no margin of sphereface.*such as 1\.7",
        ),
        ("kind: arcface, margin: 0.5", "kind: magface, margin: 0.1", "10k", r"margin=0\.1 has no use .*lower_margin"),
        (
            "margin: 0.5, scale",
            "parameters: {margin: 0.3}, scale",
            "10k",
            r"parameters\.margin=0\.3 says what margin says",
        ),
        ("kind: arcface, margin: 0.5", "kind: arcfac", "10k", r"recipe\.margin\.kind: .*'arcface', .*got 'arcfac'"),
        ("batch_size: 512\n", "batch_size: 512\n    batch_size: 32\n", "10k", r"key given twice: batch_size"),
        ("  five: [", "  five: [[", "10k", r"while parsing a flow sequence"),
        ("recipes:\n", "recipies:\n", "10k", r"holds \['benchmarks', 'protocols', 'recipies'\] at"),
    ],
)
def test_a_mistake_is_named(tmp_path, old, new, name, message):
    with pytest.raises(InputError, match=message) as caught:
        load_changed(tmp_path, old, new, name)
    assert "\n" not in str(caught.value)


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGE_BOMB = "a: &a {k: v}\n" + "".join(
    f"{new}: &{new} {{<<: [{','.join([f'*{old}'] * 9)}]}}\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("recipes: é".encode("latin-1"), "is not UTF-8 text"),
        ("recipes: x".encode("utf-16"), "is not UTF-8 text"),
        (b"a: 2026-13-45", "month must be in 1..12; correct the YAML"),
        (b'a: !!int "x"', "invalid literal for int"),
        (b"? [a, b]\n: 1", "found unhashable key"),
        (b"", "holds NoneType at its top level"),
        (b"[1, 2]", "holds list at its top level"),
        (b"recipes:\nprotocols: {}\nbenchmarks: {}", "recipes is empty; give a map of names"),
        (b"recipes: {}\nprotocols: []\nbenchmarks: {}", r"protocols is \[\]; give a map of names"),
        (b"recipes: {}\nprotocols: {five: lfw}\nbenchmarks: {}", "protocols.five is 'lfw'; give a list of names"),
        (BOMB.encode(), "aliases expand to more than 100000 values"),
        (MERGE_BOMB.encode(), "aliases expand to more than 100000 values"),
        (b"a: &a [*a]", "an alias holds itself"),
        (b"a: " + b"[" * 5000, "more than 100 brackets are open"),
        (b"".join(b"k%d: 1\n" % i for i in range(100_000)), "characters, more than 100000"),
        (b"".join(b"k%d: 1\n" % i for i in range(10_000)), "at its top level"),
        (b"!!python/object/apply:os.system [ls]", "could not determine a constructor"),
        (b"a: \x00", "holds zero bytes"),
    ],
)
def test_files_that_are_no_settings_are_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "benchmarks.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load_benchmark("smoke", path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000


def write_benchmarks(path, name, **changes):
    document = yaml.safe_load(TEXT)
    entry = document["benchmarks"]["smoke_reference"] | changes
    path.write_text(yaml.safe_dump(document | {"benchmarks": {name: entry}}))
    return path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (2024, "the name 2024 is not read as text; put it between quotes"),
        (False, "the name False is not read as text"),
        ("../x", r"a benchmark is called '\.\./x'; take letters, digits"),
        ("a/b", "take letters, digits"),
        ("..", "take letters, digits"),
        (".hidden", "take letters, digits"),
        ("my runs", "take letters, digits"),
        ("x" * 101, "at most 100"),
        ("", "take letters, digits"),
        *(
            (name, f"is called {name}, the name of another file or folder in RUNS")
            for name in ("models", "datasets", "Protocols")
        ),
    ],
)
def test_names_of_benchmarks_are_names_of_folders(tmp_path, name, message):
    with pytest.raises(InputError, match=message):
        load_benchmark("smoke", write_benchmarks(tmp_path / "b.yaml", name))


def test_a_byte_order_mark_is_read_over(tmp_path):
    (tmp_path / "b.yaml").write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    assert load_benchmark("smoke", tmp_path / "b.yaml") == load_benchmark("smoke")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": ["smoke_arcface"]}, r"recipe=\['smoke_arcface'\] is unknown"),
        ({"seeds": [-1]}, "seeds.0: .*got -1"),
        ({"generator": {"kind": "render", "num_identities": 10**30, "images_per_identity": 1}}, "less than 2147483648"),
        ({"about": {"a": 1}}, "about: input should be a valid string"),
        ({f"x{i}": 1 for i in range(200)}, "and 195 more mistakes"),
        ({"generator": {"kind": "x" * 10_000}}, "generator: "),
    ],
)
def test_values_of_other_types_are_named_shortly(tmp_path, changes, message):
    with pytest.raises(InputError, match=message) as caught:
        load_benchmark("b", write_benchmarks(tmp_path / "b.yaml", "b", **changes))
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("entry", ["", "[]", "text", "7"])
def test_an_entry_without_a_body_is_named(tmp_path, entry):
    path = tmp_path / "b.yaml"
    path.write_text(f"recipes: {{}}\nprotocols: {{}}\nbenchmarks:\n  b: {entry}\n")
    with pytest.raises(InputError, match=r"benchmarks\.b is .*; give a map of names"):
        load_benchmark("b", path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("max_area: 0.33", "max_area: 0.01", "min_area=0.02 exceeds max_area=0.01"),
        ("lr: 0.1,", "lr: .inf,", "lr: input should be a finite number"),
        ("lr: 0.1,", "lr: .nan,", "lr: "),
        (
            "mean_accuracy: [0.915, 0.925]",
            "mean_accuracy: [0.925, 0.915]",
            "is no range; give the lower accuracy first",
        ),
    ],
)
def test_ranges_ascend_and_numbers_are_finite(tmp_path, old, new, message):
    with pytest.raises(InputError, match=message):
        load_changed(tmp_path, old, new, "10k")


def test_lists_of_protocols_are_expanded():
    assert protocol_names(["lfw", "ijb", "mine"]) == ["lfw", "ijbb", "ijbc", "mine"]
    assert protocol_names(["five"]) == list(load_benchmark("10k").protocols)
    assert len(protocol_names(["rfw"])) == 4


def test_unknown_scale_names_the_nearest():
    with pytest.raises(InputError, match=r"SCALE=smok is not in .*did you mean smoke\? choose from smoke, smoke_a"):
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


@pytest.mark.parametrize("kind", DEFAULT_MARGINS)
def test_a_margin_that_is_left_out_is_that_of_the_kind_and_is_recorded(kind):
    omitted, stated = Margin(kind=kind), Margin(kind=kind, margin=DEFAULT_MARGINS[kind])
    assert omitted.model_dump() == stated.model_dump() == Margin.model_validate(omitted.model_dump()).model_dump()


def test_the_fingerprint_of_arcface_without_a_margin_stays():
    expected = {"kind": "arcface", "margin": 0.5, "scale": 64.0, "parameters": {}, "sample_rate": 1.0}
    assert Margin().model_dump(mode="json") == expected


def test_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.yaml does not exist; .*--config FILE"):
        load_benchmark("smoke", tmp_path / "nothing.yaml")


def test_groups_inside_lists_of_protocols(tmp_path):
    document = yaml.safe_load(BENCHMARKS_PATH.read_text())
    document["benchmarks"]["smoke"]["protocols"] = ["five", "lfw", "ijb"]
    (tmp_path / "b.yaml").write_text(yaml.safe_dump(document))
    expected = ("lfw", "cfp_fp", "agedb_30", "calfw", "cplfw", "ijbb", "ijbc")
    assert load_benchmark("smoke", tmp_path / "b.yaml").protocols == expected
