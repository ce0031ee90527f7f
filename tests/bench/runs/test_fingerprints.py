"""Fingerprints of released entries are frozen; those of files follow their contents; finished runs are adopted."""

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image
from results import make_result, write_run
from verification_images import write_folder, write_lfw

from bench.config.benchmarks import load_benchmark
from bench.config.generator import FilesGenerator
from bench.runs import fingerprints
from bench.runs.cards import DatasetCard, ModelCard, read_card, write_card
from bench.runs.fingerprints import audit_stage, content_sha256, floor_stages, generator_sha256, plan_stages
from bench.runs.stage import Stage

RELEASED = {
    "10k": ("a0c071daed89bbd7", "243d17630699452b", "60ab3c4c25bf46dc"),
    "20k": ("5c09478e35189147", "0b6f19833310eb4e", "86ae2b72b43e8bac"),
    "100k": ("f9addca21ccae2a3", "f95cedfa3507f113", "47b480c86f46c5e4"),
    "200k": ("64f7e812fabe07a5", "926b15493e4861b0", "c1585c6b804846f8"),
    "300k": ("8f1f88b77996b0ed", "3aa4c31cf6029422", "8889379f1d9f9d2e"),
    "10k_published": ("d0f06dcbb3f7ead5", "6178c01d6ea349ee", "b1d715dcf3db912b"),
    "20k_published": ("89a337acc39266d9", "b8b4da4f2da988c1", "53dcfead6e01e843"),
}
"""Fingerprints of dataset, network and result at seed 0, without test sets. If one changes, days of GPU work are lost:
give a new setting ``exclude_if`` at its default."""


@pytest.mark.parametrize("name", RELEASED)
def test_fingerprints_of_released_entries_are_frozen(tmp_path, name):
    stages = plan_stages(load_benchmark(name), seed=0, runs=tmp_path, test_sets=tmp_path)
    assert tuple(stage.fingerprint for stage in stages) == RELEASED[name]


@pytest.fixture
def faces(tmp_path):
    return write_folder(tmp_path / "faces", [f"{person}/{i}.png" for person in ("Ann", "Bo", "Cy", "Di") for i in "12"])


def plan(tmp_path, faces, *, protocols=("lfw",), **fields):
    generator = FilesGenerator(kind="files", path=str(faces), **{name: str(path) for name, path in fields.items()})
    benchmark = load_benchmark("smoke").model_copy(update={"generator": generator, "protocols": protocols})
    return plan_stages(benchmark, seed=0, runs=tmp_path / "runs", test_sets=tmp_path / "sets")


def fingerprint(tmp_path, faces, **fields):
    return plan(tmp_path, faces, **fields).generate.fingerprint


def test_contents_of_mask_and_of_names_to_leave_out_count(tmp_path, faces):
    mask, names = tmp_path / "mask.npy", tmp_path / "names.txt"
    np.save(mask, np.arange(6))
    names.write_text("Ann\n")
    before = [fingerprint(tmp_path, faces), fingerprint(tmp_path, faces, mask=mask, leave_out=names)]
    np.save(mask, np.arange(2, 8))
    before.append(fingerprint(tmp_path, faces, mask=mask, leave_out=names))
    names.write_text("Ann\nBo\n")
    before.append(fingerprint(tmp_path, faces, mask=mask, leave_out=names))
    assert len(set(before)) == 4


def test_an_image_that_is_replaced_in_place_counts(tmp_path, faces):
    before = fingerprint(tmp_path, faces)
    Image.new("RGB", (112, 112)).save(faces / "Di" / "2.png")
    assert fingerprint(tmp_path, faces) != before


def test_places_do_not_count(tmp_path, faces):
    before, settings = plan(tmp_path, faces).generate, []
    shutil.copytree(faces, tmp_path / "elsewhere")
    after = plan(tmp_path, tmp_path / "elsewhere").generate
    assert after.fingerprint == before.fingerprint
    for stage in (before, after):
        settings.append(generator_sha256(stage.inputs["generator"]))
    assert settings[0] == settings[1]


@pytest.mark.parametrize("name", ["data.mdb", "faces.rec", "faces.idx"])
def test_files_in_folders_and_beside_records_count(tmp_path, name):
    for file in ("data.mdb", "lock.mdb", "faces.rec", "faces.idx"):
        (tmp_path / "set").mkdir(exist_ok=True)
        (tmp_path / "set" / file).write_bytes(b"1")
    path = tmp_path / "set" if name == "data.mdb" else tmp_path / "set" / "faces.rec"
    before = content_sha256(path)
    (tmp_path / "set" / "lock.mdb").write_bytes(b"somebody reads")
    assert content_sha256(path) == before
    (tmp_path / "set" / name).write_bytes(b"2")
    assert content_sha256(path) != before


@pytest.mark.parametrize("layout", ["folder", "pairs file"])
def test_images_of_test_sets_count(tmp_path, faces, layout):
    folder = write_lfw(tmp_path / "sets" / "lfw")
    name = "lfw"
    if layout == "pairs file":
        (folder / "pairs.txt").rename(folder / "pairs_FF.txt")
        folder.rename(folder.with_name("cfp"))
        folder, name = folder.with_name("cfp"), "cfp_ff"
    before = plan(tmp_path, faces, protocols=(name,))
    Image.new("RGB", (112, 112)).save(folder / "Bob" / "Bob_0002.png")
    after = plan(tmp_path, faces, protocols=(name,))
    assert after.train.fingerprint == before.train.fingerprint
    assert after.evaluate.fingerprint != before.evaluate.fingerprint
    if layout == "pairs file":
        (folder / "pairs_FP.txt").write_text("another list of the same images")
        assert plan(tmp_path, faces, protocols=(name,)).evaluate.fingerprint == after.evaluate.fingerprint


def test_an_audit_depends_on_the_contents_of_its_mask(tmp_path, faces):
    from evaluate.audit.source import open_source

    mask, states = tmp_path / "mask.npy", []
    for first in (0, 1):
        np.save(mask, np.arange(first, 7))
        source = open_source(faces, mask=str(mask))
        states.append(audit_stage("datasets", (source.name, source.state), {}, None, runs=tmp_path).fingerprint)
    assert states[0] != states[1]


def finish_as_before(tmp_path, stages):
    """Cards of all three stages where a version with the old rule of fingerprints would have put them."""
    inputs = stages.generate.inputs
    generator = {name: value for name, value in inputs["generator"].items() if name != "sha256"}
    state = fingerprints._file_state(fingerprints.Path(generator["path"]))
    old = old_stage(stages.generate, inputs | {"generator": generator | {"state": state}})
    result = write_run(tmp_path / "made_up")
    made_up = result.parent.parent
    now = {"created_utc": datetime.now(UTC).isoformat()}
    write_card(old.directory, read_card(made_up / "faces" / "faces0", DatasetCard).model_copy(update=now))
    train = old_stage(stages.train, stages.train.inputs | {"dataset": old.fingerprint})
    write_card(train.directory, read_card(made_up / "models" / "model0", ModelCard).model_copy(update=now))
    states = {"lfw": fingerprints._file_state(tmp_path / "sets" / "lfw")}
    evaluate = old_stage(stages.evaluate, stages.evaluate.inputs | {"model": train.fingerprint, "protocols": states})
    write_card(evaluate.directory, make_result().model_copy(update=now))
    return [stage.directory for stage in (old, train, evaluate)]


def old_stage(stage, inputs):
    return Stage(stage.name, stage.directory.parent / fingerprints._digest(inputs)[:16], stage.card, inputs)


def test_finished_runs_of_older_versions_are_adopted_until_something_changes(tmp_path, faces):
    write_lfw(tmp_path / "sets" / "lfw")
    directories = finish_as_before(tmp_path, plan(tmp_path, faces))
    assert [stage.directory for stage in plan(tmp_path, faces)] == directories
    assert all(stage.is_finished for stage in plan(tmp_path, faces))
    later = datetime.now().timestamp() + 60
    os.utime(tmp_path / "sets" / "lfw" / "Ann" / "Ann_0001.png", (later, later))
    assert [stage.is_finished for stage in plan(tmp_path, faces)] == [True, True, False]
    os.utime(faces / "Ann" / "1.png", (later, later))  # the old rule did not notice
    assert [stage.is_finished for stage in plan(tmp_path, faces)] == [False, False, False]


@pytest.mark.parametrize(("text", "is_adopted"), [("Ann\nBo\n", True), ("Ann Lee\n", False)])
def test_runs_whose_names_to_leave_out_were_split_at_spaces_are_not_adopted(tmp_path, faces, text, is_adopted):
    names = tmp_path / "names.txt"
    names.write_text(text)
    write_lfw(tmp_path / "sets" / "lfw")
    finish_as_before(tmp_path, plan(tmp_path, faces, leave_out=names))
    assert plan(tmp_path, faces, leave_out=names).generate.is_finished == is_adopted


def test_runs_that_read_hidden_images_are_not_adopted(tmp_path, faces):
    write_folder(faces, [".cache/1.png"])
    write_lfw(tmp_path / "sets" / "lfw")
    finish_as_before(tmp_path, plan(tmp_path, faces))
    assert not plan(tmp_path, faces).generate.is_finished


def test_floors_follow_the_test_sets(tmp_path, faces):
    folder = write_lfw(tmp_path / "sets" / "lfw")
    benchmark = load_benchmark("smoke").model_copy(update={"protocols": ("lfw",)})
    before = floor_stages(benchmark, runs=tmp_path, test_sets=tmp_path / "sets")
    (folder / "pairs.txt").write_text("")
    after = floor_stages(benchmark, runs=tmp_path, test_sets=tmp_path / "sets")
    assert all(before[name].fingerprint != after[name].fingerprint for name in before)


def test_planning_imports_no_heavy_library(tmp_path):
    code = "import sys, bench.runs.fingerprints, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "pandas", "mlflow"} & set(json.loads(done.stdout))
