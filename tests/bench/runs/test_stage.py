"""Fingerprints change with declared inputs alone, reasons are told, locks hold, cards round-trip."""

import hashlib
import os
import subprocess
import sys

import pytest
from results import make_result, write_run

from bench.config.benchmarks import load_benchmark
from bench.errors import InputError
from bench.runs.card_parts.references import WeightProvenance
from bench.runs.card_parts.statistics import DatasetStatistics
from bench.runs.cards import DatasetCard, ModelCard, ResultCard, read_card, write_card
from bench.runs.fingerprints import plan_stages
from bench.runs.inputs import find_protocol, missing_inputs
from bench.runs.plan.describe import describe_plan
from bench.runs.stage import Stage, check_weights, claim, read_latest, stage_lock, write_latest


def plan(tmp_path, seed=0, **recipe):
    benchmark = load_benchmark("smoke")
    optimizer = benchmark.recipe.optimizer.model_copy(update=recipe)
    changed = benchmark.model_copy(update={"recipe": benchmark.recipe.model_copy(update={"optimizer": optimizer})})
    return plan_stages(changed, seed=seed, runs=tmp_path, test_sets=tmp_path)


def test_a_fingerprint_depends_on_the_inputs_alone(tmp_path):
    first, again = plan(tmp_path), plan(tmp_path)
    assert [stage.fingerprint for stage in first] == [stage.fingerprint for stage in again]
    other_seed = plan(tmp_path, seed=1)
    assert all(a.fingerprint != b.fingerprint for a, b in zip(first, other_seed, strict=True))
    other_rate = plan(tmp_path, lr=0.05)
    assert other_rate.generate.fingerprint == first.generate.fingerprint
    assert other_rate.train.fingerprint != first.train.fingerprint
    assert other_rate.evaluate.fingerprint != first.evaluate.fingerprint


def test_a_changed_test_set_changes_the_result_alone(tmp_path):
    benchmark = load_benchmark("20k")
    before = plan_stages(benchmark, seed=0, runs=tmp_path, test_sets=tmp_path)
    (tmp_path / "lfw.bin").write_bytes(b"pairs")
    after = plan_stages(benchmark, seed=0, runs=tmp_path, test_sets=tmp_path)
    assert after.train.fingerprint == before.train.fingerprint
    assert after.evaluate.fingerprint != before.evaluate.fingerprint


def test_the_reason_names_what_changed(tmp_path):
    before, after = plan(tmp_path), plan(tmp_path, lr=0.05)
    assert after.train.reason(None) == "no result yet"
    directory = write_run(tmp_path).parent.parent / "models" / "model0"
    path = directory / "model.json"
    lr = before.train.inputs["recipe"]["optimizer"]["lr"]
    card = read_card(path, ModelCard)
    write_card(directory, card.model_copy(update={"inputs": before.train.inputs}))
    assert after.train.reason(directory) == f"recipe.optimizer.lr {lr} -> 0.05"
    after.train.directory.mkdir(parents=True)
    (after.train.directory / "checkpoint.pt").write_bytes(b"")
    assert after.train.reason(directory) == "was interrupted, goes on"


def test_a_stage_is_finished_when_its_card_is_there(tmp_path):
    stage = plan(tmp_path).evaluate
    assert not stage.is_finished
    write_card(stage.directory, make_result())
    assert stage.is_finished
    assert stage.reason(None) == "unchanged"


def test_latest_round_trip(tmp_path):
    assert read_latest(tmp_path, "smoke") == {}
    stages = plan(tmp_path)
    write_latest(tmp_path, "smoke", stages)
    assert read_latest(tmp_path, "smoke")["train"] == stages.train.directory


def test_a_second_run_on_one_folder_is_refused(tmp_path):
    code = "from bench.runs.stage import stage_lock; from pathlib import Path"
    code += f"\nwith stage_lock(Path({str(tmp_path)!r})): pass"
    with stage_lock(tmp_path):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert "is in use by another run" in done.stderr
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


WAITING = """
import sys
from pathlib import Path
from bench.runs.cards import ResultCard
from bench.runs.stage import Stage, claim
with claim(Stage("evaluate", Path(sys.argv[1]), ResultCard, {})) as is_needed:
    print("needed" if is_needed else "not needed")
"""


def start_waiting(directory, **environment):
    command = [sys.executable, "-c", WAITING, str(directory)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=os.environ | environment, **pipes)


@pytest.mark.parametrize("is_finished", [False, True])
def test_a_second_run_waits_and_looks_again(tmp_path, is_finished):
    stage = Stage("evaluate", tmp_path / "result0", ResultCard, {})
    with claim(stage) as is_needed:
        assert is_needed
        second = start_waiting(stage.directory)
        assert second.stderr.readline() == f"waiting for another run, which works in {stage.directory}\n"
        if is_finished:
            write_card(stage.directory, make_result())
        assert second.poll() is None
    stdout, stderr = second.communicate(timeout=20)
    assert (stdout.strip(), stderr) == ("not needed" if is_finished else "needed", "")


@pytest.mark.slow
def test_other_processes_of_a_launch_wait_for_rank_0(tmp_path, monkeypatch):
    stage = Stage("evaluate", tmp_path / "result0", ResultCard, {})
    launch = {"WORLD_SIZE": "2", "MASTER_ADDR": "here", "MASTER_PORT": "1", "TORCHELASTIC_RUN_ID": "one"}
    with claim(stage):  # another run, which holds the folder
        rank1 = start_waiting(stage.directory, **launch | {"RANK": "1"})
        with pytest.raises(subprocess.TimeoutExpired):
            rank1.wait(timeout=1.5)
    for name, value in (launch | {"RANK": "0"}).items():
        monkeypatch.setenv(name, value)
    with claim(stage) as is_needed:
        assert is_needed
        assert rank1.communicate(timeout=20) == ("needed\n", "")
    assert [path.name for path in stage.directory.iterdir()] == [".lock"]


@pytest.mark.slow
def test_what_a_killed_launch_left_is_not_taken_for_this_one(tmp_path, monkeypatch):
    stage = Stage("evaluate", tmp_path / "result0", ResultCard, {})
    launch = {"WORLD_SIZE": "2", "MASTER_ADDR": "here", "MASTER_PORT": "1", "TORCHELASTIC_RUN_ID": "none"}
    for name, value in (launch | {"RANK": "0", "BENCH_LAUNCH_NUMBER": "first"}).items():
        monkeypatch.setenv(name, value)
    with claim(stage):
        left = {path.name: path.read_bytes() for path in stage.directory.iterdir()}
    for name, content in left.items():  # kill -9 leaves the name of the launch
        (stage.directory / name).write_bytes(content)
    again = launch | {"RANK": "1", "BENCH_LAUNCH_NUMBER": "second"}  # started again with --node-rank
    rank1 = start_waiting(stage.directory, **again)
    with pytest.raises(subprocess.TimeoutExpired):
        rank1.wait(timeout=2.5)
    monkeypatch.setenv("BENCH_LAUNCH_NUMBER", "second")
    with claim(stage):
        assert rank1.communicate(timeout=20) == ("needed\n", "")


def test_what_killed_runs_left_is_removed(tmp_path):
    (tmp_path / "parts").mkdir()
    left = [tmp_path / ".best.safetensors.elsewhere.7.tmp", tmp_path / "parts" / ".images-000001.elsewhere.7.tmp"]
    for path in left:
        path.write_text("half")
    with claim(Stage("evaluate", tmp_path, ResultCard, {})):
        assert not any(path.exists() for path in left)


def test_a_folder_with_hidden_files_alone_was_not_interrupted(tmp_path):
    stage = Stage("evaluate", tmp_path / "result0", ResultCard, {})
    with claim(stage):
        pass
    assert stage.reason(None) == "no result yet"


def test_cards_round_trip_and_broken_ones_are_named(tmp_path):
    card = make_result()
    path = write_card(tmp_path, card)
    assert read_card(tmp_path, ResultCard) == card
    path.write_text(path.read_text().replace('"mean_accuracy": 0.875', '"mean_accuracy": "high"'))
    with pytest.raises(InputError, match=r"result\.json: mean_accuracy: .*run the stage again"):
        read_card(path, ResultCard)
    path.write_text("{")
    with pytest.raises(InputError, match=r"result\.json is not JSON"):
        read_card(path, ResultCard)
    with pytest.raises(InputError, match=r"dataset\.json does not exist"):
        read_card(tmp_path, DatasetCard)


def test_missing_inputs_name_path_and_source(tmp_path):
    missing = missing_inputs(load_benchmark("20k"), test_sets=tmp_path, weights=tmp_path)
    assert len(missing) == 9
    lines = [str(item) for item in missing]
    assert (
        f"lfw is missing: run .venv/bin/python -m evaluate fetch lfw --test-sets {tmp_path}, or download https://"
        f"huggingface.co/datasets/gaunernst/face-recognition-eval, file lfw.bin, to {tmp_path / 'lfw.bin'}" in lines
    )
    page = "https://huggingface.co/BooBooWu/Vec2Face, file weights/vec2face_generator.pth"
    assert any(line.endswith(f"or download {page}, to {tmp_path / 'vec2face_generator.pth'}") for line in lines)
    assert missing_inputs(load_benchmark("smoke"), test_sets=tmp_path, weights=tmp_path) == []


@pytest.mark.parametrize("layout", ["cfp_fp.bin", "cfp_fp.xz", "cfp_fp/cfp_fp.npy", "cfp/pairs_FP.txt"])
def test_a_test_set_is_found_in_any_layout(tmp_path, layout):
    assert find_protocol("cfp_fp", tmp_path) is None
    file = tmp_path / layout
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"")
    assert find_protocol("cfp_fp", tmp_path) in (file, file.parent)


def test_a_plan_tells_images_disk_memory_hours(tmp_path):
    benchmark = load_benchmark("20k")
    stages = plan_stages(benchmark, seed=0, runs=tmp_path, test_sets=tmp_path)
    text = describe_plan(benchmark, {0: stages}, [], tmp_path)
    assert "1,000,000 (20,000 identities x 50); 26,000,000 seen in training (26 epochs)" in text
    assert f"disk       15.3 GB in {tmp_path}" in text
    assert "faces 8.5, shards 6.1, network 0.6" in text
    assert "on a CPU, each process that generates takes 16.4 GB" in text
    assert "memory     32 GB, 24 GB on the GPU" in text
    assert "train 6.15" in text
    assert not list(tmp_path.iterdir()), "a plan starts nothing"


def test_a_dataset_of_exchanged_weights_is_not_taken_for_that_of_the_new_ones(tmp_path):
    faces = plan(tmp_path).generate
    check_weights(faces, tmp_path)  # nothing made yet
    card = read_card(write_run(tmp_path).parent.parent / "faces" / "faces0", DatasetCard)
    made = {"mini/generator.safetensors": WeightProvenance(sha256=hashlib.sha256(b"old").hexdigest())}
    write_card(faces.directory, card.model_copy(update={"statistics": DatasetStatistics(weights=made)}))
    check_weights(faces, tmp_path)  # a machine without the weights
    (tmp_path / "mini").mkdir()
    (tmp_path / "mini" / "generator.safetensors").write_bytes(b"old")
    check_weights(faces, tmp_path)
    (tmp_path / "mini" / "generator.safetensors").write_bytes(b"new")
    with pytest.raises(InputError, match=r"made with another .*generator.safetensors .*delete that folder"):
        check_weights(faces, tmp_path)
