"""sweeps.yaml: every sweep loads and fits its benchmarks, and mistakes are one line."""

import pytest
import yaml

from bench.config.sweeps import SWEEPS_PATH, load_sweep, load_sweeps
from bench.errors import InputError
from bench.runs.sweeps.points import make_points, short_names

GOOD = {"about": "for the test", "base": "smoke", "grid": {"generator.num_identities": [10, 20]}}


def write(tmp_path, entry, name="mine"):
    path = tmp_path / "sweeps.yaml"
    path.write_text(yaml.safe_dump({"sweeps": {name: entry}}))
    return path


def test_every_sweep_of_the_project_fits_its_benchmarks(tmp_path):
    sweeps = load_sweeps()
    assert {"smoke_size", "smoke_noise"} <= sweeps.keys()
    folders = {"runs": tmp_path, "test_sets": tmp_path}
    points = {
        name: make_points(sweep, config=SWEEPS_PATH.parent / "benchmarks.yaml", **folders)
        for name, sweep in sweeps.items()
    }
    assert len(points["smoke_size"]) == 2 * 3 * 3 * 3
    folders_of_results = {point.stages.evaluate.directory for point in points["smoke_size"]}
    assert len(folders_of_results) == 54
    assert {folder.parent.parent.name for folder in folders_of_results} == {"smoke", "smoke_reference"}
    assert points["smoke_size"][0].label == "smoke_reference num_identities=70 images_per_identity=4 seed 0"


def test_points_are_combined_with_the_grid(tmp_path):
    entry = GOOD | {"points": [{"recipe.batch_size": 8}, {"recipe.margin.margin": 0.1}], "seeds": [0, 1]}
    sweep = load_sweep("mine", write(tmp_path, entry))
    assert sweep.fields == ("recipe.batch_size", "recipe.margin.margin", "generator.num_identities")
    settings = list(sweep.settings())
    assert settings[1] == {"recipe.batch_size": 8, "generator.num_identities": 20}
    assert len(settings) == 4
    points = make_points(sweep, config=SWEEPS_PATH.parent / "benchmarks.yaml", runs=tmp_path, test_sets=tmp_path)
    assert len(points) == 8
    assert len({point.stages.generate.directory for point in points}) == 4  # shared by the points of the recipe
    assert points[0].benchmark.changes == ("recipe.batch_size=8", "generator.num_identities=10")


def test_seeds_of_the_base_are_the_default_and_given_ones_count(tmp_path):
    sweep = load_sweep("mine", write(tmp_path, GOOD))
    folders = {"config": SWEEPS_PATH.parent / "benchmarks.yaml", "runs": tmp_path, "test_sets": tmp_path}
    assert [point.seed for point in make_points(sweep, **folders)] == [0, 0]
    assert [point.seed for point in make_points(sweep, seeds=(3, 4), **folders)] == [3, 4, 3, 4]


def test_short_names_are_told_apart():
    fields = ("a.margin.margin", "b.scale", "c.scale", "d.sigmas.0")
    assert list(short_names(fields).values()) == ["margin", "b.scale", "c.scale", "sigmas.0"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grid": {"generator.num_identities": []}}, r"grid\.generator\.num_identities has no values, so .* no points"),
        ({"points": []}, r"points is empty, so the sweep has no points"),
        ({"base": []}, r"base: .*at least 1 item"),
        ({"base": ["smoke", "smoke"]}, r"base=\['smoke', 'smoke'\] holds a value twice"),
        ({"seeds": [1, 1]}, r"seeds=\[1, 1\] holds a value twice"),
        ({"gird": {}}, r"gird is unknown \(did you mean grid\?"),
        ({"grid": {"name": ["a"]}}, r"name cannot be changed; give SCALE another entry"),
        ({"grid": {"a b": [1]}}, r"'a b' is no field"),
        ({"fixed": {"generator.num_identities": 5}}, r"generator\.num_identities is fixed and varied; keep one"),
        (
            {"points": [{"generator.num_identities": 5, "recipe.batch_size": 8}]},
            r"generator\.num_identities is in points and in grid, which would replace it; keep one",
        ),
        ({"grid": {"recipe.batch_size": [8, 8]}}, r"points 1 and 2 are equal \(recipe\.batch_size=8\); keep one"),
        ({"grid": {f"generator.f{i}": list(range(30)) for i in range(3)}}, r"more than 10000 points"),
    ],
)
def test_mistakes_of_a_sweep(tmp_path, change, message):
    with pytest.raises(InputError, match=message) as error:
        load_sweep("mine", write(tmp_path, GOOD | change))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base": "smok"}, r"SCALE=smok is not in .*; did you mean smoke\?"),
        (
            {"grid": {"generator.num_identites": [1, 2]}},
            r"sweep mine: generator\.num_identites is unknown \(did you mean",
        ),
        ({"grid": {"generator.num_identities": [1, -2]}}, r"sweep mine: .*greater than 0, got -2"),
    ],
)
def test_points_that_do_not_fit_their_base(tmp_path, change, message):
    sweep = load_sweep("mine", write(tmp_path, GOOD | change))
    with pytest.raises(InputError, match=message):
        make_points(sweep, config=SWEEPS_PATH.parent / "benchmarks.yaml", runs=tmp_path, test_sets=tmp_path)


def test_names_and_files(tmp_path):
    path = write(tmp_path, GOOD)
    with pytest.raises(InputError, match=r"no sweep is named; give SWEEP=NAME, a sweep of .*: mine"):
        load_sweep(None, path)
    with pytest.raises(InputError, match=r"SWEEP=min is not in .*; did you mean mine\?"):
        load_sweep("min", path)
    with pytest.raises(InputError, match=r"a sweep is called '\.\./x'; take letters"):
        load_sweep("mine", write(tmp_path, GOOD, name="../x"))
    with pytest.raises(InputError, match=r"nowhere\.yaml does not exist"):
        load_sweep("mine", tmp_path / "nowhere.yaml")
    assert load_sweeps(tmp_path / "nowhere.yaml") == {}
