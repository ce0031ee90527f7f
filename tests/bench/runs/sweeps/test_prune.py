"""Pruning: what nothing names is listed and, if told so, deleted; everything else stays."""

import json
import shutil

import pytest
import yaml
from results import write_run
from verification_images import write_folder

from bench.config.benchmarks import BENCHMARKS_PATH, load_benchmark
from bench.config.sweeps import Sweep
from bench.errors import InputError
from bench.runs.cards import DatasetCard, ModelCard, ResultCard, read_card, write_card
from bench.runs.fingerprints import part_stage, plan_stages
from bench.runs.stage import stage_lock, write_latest
from bench.runs.sweeps.plan_file import make_plan, sweep_dir, write_plan
from bench.runs.sweeps.points import make_points
from bench.runs.sweeps.prune import find_unnamed, prune


def finish(runs, stages, seed=0):
    """Made-up cards in the folders of the stages of ``smoke``."""
    template = write_run(runs.parent / "template", seed=seed).parent.parent
    sources = {"faces": DatasetCard, "models": ModelCard, "results": ResultCard}
    inputs = [{"generator": {}}, {"dataset": stages.generate.fingerprint}, {"model": stages.train.fingerprint}]
    for stage, (name, kind), more in zip(stages, sources.items(), inputs, strict=True):
        (source,) = [path for path in (template / name).iterdir() if path.name.endswith(str(seed))]
        write_card(stage.directory, read_card(source, kind).model_copy(update={"inputs": more}))


@pytest.fixture
def places(tmp_path):
    """Folders, and a file of sweeps with one sweep of smoke."""
    entry = {"about": "x", "base": "smoke", "grid": {"generator.num_identities": [30]}}
    (tmp_path / "sweeps.yaml").write_text(yaml.safe_dump({"sweeps": {"mine": entry}}))
    paths = {"runs": tmp_path / "runs", "config": BENCHMARKS_PATH, "test_sets": tmp_path}
    return paths | {"sweeps": tmp_path / "sweeps.yaml"}


def stages_of(places, changes="", seed=0):
    benchmark = load_benchmark("smoke", changes=changes)
    return plan_stages(benchmark, seed=seed, runs=places["runs"], test_sets=places["test_sets"])


def unnamed(places):
    return {run.directory for run in find_unnamed(**places)}


def test_what_is_named_stays_and_the_rest_is_found(places):
    kept = [stages_of(places, seed=12345), stages_of(places, "generator.num_identities=30")]  # entry, sweep
    tried, last = stages_of(places, "generator.num_identities=40"), stages_of(places, "generator.num_identities=50")
    for stages in (*kept, tried, last):
        finish(places["runs"], stages)
    write_latest(places["runs"], "smoke", last)
    interrupted = stages_of(places, seed=3).generate.directory
    interrupted.mkdir()
    cards = [places["runs"] / "smoke" / "faces" / kept[0].generate.fingerprint / "dataset.json"]
    for path in [*cards, places["runs"] / "smoke" / "models" / kept[0].train.fingerprint / "model.json"]:
        path.write_text(json.dumps(json.loads(path.read_text()) | {"seed": 12345}))
    assert unnamed(places) == {stage.directory for stage in tried}


def test_results_on_other_test_sets_and_floors_stay(places):
    stages = stages_of(places)
    finish(places["runs"], stages)
    results = stages.evaluate.directory.parent
    card = read_card(stages.evaluate.directory, ResultCard)
    other = results / "0123456789abcdef"
    write_card(other, card)
    backbone = load_benchmark("smoke").recipe.backbone.model_dump(mode="json")
    for number, floor in enumerate(["raw pixels", backbone, backbone | {"depth": 50}]):
        write_card(results / f"{number:016x}", card.model_copy(update={"inputs": {"floor": floor}}))
    assert unnamed(places) == {results / f"{2:016x}"}


def test_a_plan_names_its_points_after_the_sweep_left_the_file(places):
    stages = stages_of(places, "generator.num_identities=60")
    finish(places["runs"], stages)
    assert unnamed(places) == {stage.directory for stage in stages}
    sweep = Sweep(name="gone", about="x", base="smoke", grid={"generator.num_identities": [60]})
    folders = {"runs": places["runs"], "test_sets": places["test_sets"]}
    points = make_points(sweep, config=BENCHMARKS_PATH, **folders)
    write_plan(sweep_dir("gone", places["runs"]), make_plan(sweep, points, places["runs"], {}))
    assert unnamed(places) == set()


@pytest.fixture
def mine(places, tmp_path):
    """Loads an entry ``mine`` with this generator, beside an entry ``drawn`` of that many rendered identities."""

    def load(generator, num_identities=3, scale="mine"):
        document = yaml.safe_load(BENCHMARKS_PATH.read_text())
        smoke = document["benchmarks"]["smoke"]
        drawn = {"kind": "render", "num_identities": num_identities, "images_per_identity": 4}
        document["benchmarks"] |= {"drawn": smoke | {"generator": drawn}, "mine": smoke | {"generator": generator}}
        places["config"] = tmp_path / "benchmarks.yaml"
        places["config"].write_text(yaml.safe_dump(document))
        return load_benchmark(scale, places["config"])

    return load


@pytest.mark.parametrize("is_part", [False, True])
@pytest.mark.parametrize("is_mount_point", [False, True])
def test_all_runs_stay_while_a_dataset_is_missing(places, mine, tmp_path, capsys, is_part, is_mount_point):
    data = write_folder(tmp_path / "data", ["Ann/0.png", "Bo/0.png"])
    files = {"kind": "mixture", "parts": [{"path": str(data)}]} if is_part else {"kind": "files", "path": str(data)}
    benchmark = mine(files)
    for seed in range(2):
        folders = {"runs": places["runs"], "test_sets": places["test_sets"]}
        finish(places["runs"], plan_stages(benchmark, seed=seed, **folders))
    assert unnamed(places) == set()
    shutil.rmtree(data)
    if is_mount_point:
        data.mkdir()
    assert unnamed(places) == set()
    assert capsys.readouterr().err == f"mine: all runs are kept while {data} is missing\n"


def test_the_parts_of_a_kept_mixture_stay(places, mine):
    benchmark = mine({"kind": "mixture", "parts": [{"benchmark": "drawn"}]})
    folders = {"seed": 0, "runs": places["runs"], "test_sets": places["test_sets"]}
    stages = plan_stages(benchmark, **folders)
    finish(places["runs"], stages)
    card = read_card(stages.generate.directory, DatasetCard)
    write_card(stages.generate.directory, card.model_copy(update={"inputs": stages.generate.inputs}))
    write_latest(places["runs"], "mine", stages)
    part = part_stage(benchmark.generator.parts[0], seed=0, runs=places["runs"])
    part.directory.mkdir(parents=True)
    mine({"kind": "mixture", "parts": [{"benchmark": "drawn"}]}, num_identities=5)
    assert unnamed(places) == set()
    (places["runs"] / "mine" / "latest.json").unlink()
    assert part.directory in unnamed(places)


def test_deleting_leaves_folders_in_use_and_those_of_others(places):
    tried = stages_of(places, "generator.num_identities=40")
    finish(places["runs"], tried)
    theirs = [places["runs"] / "smoke" / "faces" / "my notes", places["runs"] / "models" / "results" / ("a" * 16)]
    for folder in theirs:
        folder.mkdir(parents=True)
    found = find_unnamed(**places)
    assert all(run.num_bytes >= 0 for run in found)
    listing = list(prune(found, deletes=False))
    assert listing[-1].startswith("3 runs that nothing names") and listing[-1].endswith("--yes deletes them")
    with stage_lock(tried.generate.directory):
        lines = list(prune(found, deletes=True))
    assert [line.split()[0] for line in lines[:-1]].count("deleted") == 2
    assert f"   in use  {tried.generate.directory}" in lines
    assert tried.generate.directory.exists()
    assert not tried.train.directory.exists()
    assert all(folder.exists() for folder in theirs)
    assert list(prune([], deletes=False)) == ["0 runs that nothing names, 0.0 kB"]


def test_a_broken_plan_deletes_nothing(places):
    folder = sweep_dir("broken", places["runs"])
    folder.mkdir(parents=True)
    (folder / "plan.json").write_text("{}")
    with pytest.raises(InputError, match=r"plan\.json: .*Field required .*; delete it and run the sweep again"):
        find_unnamed(**places)
