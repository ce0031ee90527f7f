"""plan.json: written and read again; a plan that cannot be read says what to do."""

import json

import pytest
import yaml
from paths import ROOT

from bench.config.sweeps import load_sweep
from bench.errors import InputError
from bench.runs.sweeps.plan_file import make_plan, read_plan, read_plans, sweep_dir, write_plan
from bench.runs.sweeps.points import make_points


@pytest.fixture
def written(tmp_path):
    entry = {"about": "x", "base": "smoke_attrop", "grid": {"generator.perturbation.sigmas": [[0.1, 0.2, 0.3]]}}
    (tmp_path / "sweeps.yaml").write_text(yaml.safe_dump({"sweeps": {"mine": entry}}))
    sweep = load_sweep("mine", tmp_path / "sweeps.yaml")
    points = make_points(sweep, config=ROOT / "benchmarks.yaml", runs=tmp_path, test_sets=tmp_path)
    plan = make_plan(sweep, points, tmp_path, {points[0].label: "train: error: too few"})
    write_plan(sweep_dir("mine", tmp_path), plan)
    return tmp_path, plan, points


def test_a_plan_is_read_as_it_was_written(written):
    runs, plan, points = written
    assert read_plan(sweep_dir("mine", runs)) == plan
    assert read_plans(runs) == [plan]
    (point,) = plan.points
    assert (point.state, point.problem) == ("failed", "train: error: too few")
    assert point.values == {"generator.perturbation.sigmas": [0.1, 0.2, 0.3]}
    assert runs / point.result == points[0].stages.evaluate.directory


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"schema_version": 9}, r"has schema 9, this code reads up to 1; update the code"),
        ({}, r"plan\.json: name: Field required .*; delete it and run the sweep again"),
        ([], r"plan\.json: its top level: .*; delete it and run the sweep again"),
    ],
)
def test_plans_that_cannot_be_read(written, content, message):
    folder = sweep_dir("mine", written[0])
    (folder / "plan.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        read_plan(folder)
