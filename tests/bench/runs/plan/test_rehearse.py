"""A rehearsal measures what the plan then states, leaves no result, and says what would stop the run."""

import os
import re
import signal
import subprocess
import sys
from argparse import Namespace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
import yaml
from paths import ROOT
from soak import SCALE, write_inputs

from bench.config.benchmarks import load_benchmark
from bench.config.recipe import REHEARSED_IDENTITIES
from bench.errors import InputError
from bench.runs.plan import rehearse as rehearse_module
from bench.runs.plan import small
from bench.runs.plan.describe import describe_plan
from bench.runs.plan.measured import Measured, read_measured, settings_digest, write_measured
from bench.runs.plan.rehearse import Rehearsal
from bench.runs.plan.small import MemoryOfTraining, asked_micro_batch, ever_smaller, marginal_rate, rehearsed_training
from bench.runs.stage import stage_lock


def rehearse(inputs, runs):
    folders = ["--runs", runs, "--test-sets", inputs / "test_sets", "--weights", inputs / "weights"]
    line = [sys.executable, "-m", "bench", "rehearse", "--scale", SCALE, "--device", "cpu", *folders]
    done = subprocess.run([*line, "--config", inputs / "benchmarks.yaml"], cwd=ROOT, capture_output=True, text=True)
    num_problems = done.stdout.count("problem: ")
    assert done.returncode == (2 if num_problems else 0)
    assert (f"begin with problem ({num_problems})" in done.stderr) == bool(num_problems)
    return done.stdout


@pytest.mark.slow
def test_every_stage_is_rehearsed_and_the_plan_states_what_was_measured(tmp_path):
    inputs, runs = write_inputs(tmp_path / "inputs"), tmp_path / "runs"
    page = rehearse(inputs, runs)
    for stage in ("generate", "train", "evaluate"):
        assert re.search(rf"^{stage}: [0-9.e+]+ images/s", page, re.M), page
    assert re.search(r"^train: [0-9.]+ GB with 16 faces at a time, extrapolated from 8 and 16$", page, re.M)
    assert re.search(
        r"^hours .* on \d+ cores of .*: generate .*, train .*\n +\(measured \d+ minutes ago\)$", page, re.M
    )
    assert sorted(str(path.relative_to(runs)) for path in runs.rglob("*") if path.is_file()) == [
        f"rehearsals/{SCALE}.json"
    ]
    measured = read_measured(runs, load_benchmark(SCALE, inputs / "benchmarks.yaml"))
    assert set(measured.memory_gb) == {"generate", "train", "evaluate"}
    assert measured.problems == []


@pytest.mark.slow
def test_without_weights_and_with_a_damaged_test_set_the_rest_is_rehearsed(tmp_path):
    inputs, runs = write_inputs(tmp_path / "inputs"), tmp_path / "runs"
    (inputs / "test_sets" / "few.bin").write_bytes(b"no pickle")
    document = yaml.safe_load((inputs / "benchmarks.yaml").read_text())
    document["benchmarks"][SCALE]["generator"] = {"kind": "vec2face", "num_identities": 24, "images_per_identity": 4}
    (inputs / "benchmarks.yaml").write_text(yaml.safe_dump(document))
    page = rehearse(inputs, runs)
    assert "generate: not rehearsed, rendered faces stand in for those of the entry" in page
    assert re.search(r"^train: [0-9.e+]+ images/s", page, re.M)
    assert "evaluate: not rehearsed, no test set is here" in page
    assert re.search(r"^problem: .* is missing: ", page, re.M)
    assert f"problem: {inputs / 'test_sets' / 'few.bin'} cannot be read, see the message above" in page


@pytest.mark.slow
def test_if_generating_fails_the_rest_is_rehearsed_and_the_plan_names_both_devices(tmp_path):
    inputs, runs = write_inputs(tmp_path / "inputs"), tmp_path / "runs"
    document = yaml.safe_load((inputs / "benchmarks.yaml").read_text())
    drawn = yaml.safe_load((ROOT / "benchmarks.yaml").read_text())["benchmarks"]["smoke"]["generator"]
    document["benchmarks"][SCALE]["generator"] = drawn | {"max_cosine": -0.99}  # no two identities are so far apart
    (inputs / "benchmarks.yaml").write_text(yaml.safe_dump(document))
    page = rehearse(inputs, runs)
    assert "generate: failed, rendered faces stand in for those of the entry" in page
    assert re.search(r"^train: [0-9.e+]+ images/s", page, re.M) and re.search(r"^evaluate: [0-9.e+]+", page, re.M)
    assert "faces.lmdb" not in page and "%" not in page.partition("stages")[0]  # nothing that looks like a result
    assert page.count("problem: generate ended with status 2, see the message above") == 1
    expected = load_benchmark(SCALE, inputs / "benchmarks.yaml").expected
    devices = rf"generate .* on {re.escape(expected.device)}, train .* on \d+ cores of .*"
    assert re.search(rf"^hours .*: {devices}\n +\(generate: .*; train: measured ", page, re.M), page


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture
def rehearsal(inputs, tmp_path):
    folders = {"runs": tmp_path / "runs", "test_sets": inputs / "test_sets", "weights": inputs / "weights"}
    args = Namespace(**folders, scale=SCALE, seed=0, device="cpu", set="", config=inputs / "benchmarks.yaml")
    return Rehearsal(load_benchmark(SCALE, inputs / "benchmarks.yaml"), [], args, "cpu")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("ended", ["shorten", "generate"])
def test_a_signal_ends_the_rehearsal_and_not_only_its_stage(rehearsal, tmp_path, monkeypatch, capsys, number, ended):
    commands = []

    def end_by_signal(command, *, is_quiet, log):
        commands.append(command)
        return 128 + number if ended in command else 0

    monkeypatch.setattr(rehearse_module, "run_command", end_by_signal)
    earlier = tmp_path / "runs" / "rehearsals" / f"{SCALE}.json"
    earlier.parent.mkdir(parents=True)
    earlier.write_text("measured earlier")
    with pytest.raises(SystemExit, match=str(128 + number)):
        list(rehearsal.run())
    assert ended in commands[-1]
    assert f"ended by {signal.Signals(number).name}" in capsys.readouterr().err
    assert not (tmp_path / "runs" / ".rehearsals" / SCALE).exists()
    assert earlier.read_text() == "measured earlier"


@pytest.mark.parametrize("share", [5, 16, 32])
def test_there_are_faces_for_two_batches_of_training(rehearsal, monkeypatch, share):
    monkeypatch.setattr(rehearsal, "_num_processes", 8)
    monkeypatch.setattr(rehearsal, "_benchmark", load_benchmark("20k"))
    told = []
    monkeypatch.setattr(rehearsal, "_run_stage", lambda *_: told.append(os.environ[REHEARSED_IDENTITIES]) and False)
    rehearsal._folder.mkdir(parents=True)
    rehearsal._train_once([], share, share, 20_000)
    assert told == ["20000"]
    entry = yaml.safe_load((rehearsal._folder / "benchmarks.yaml").read_text())
    assert entry["recipes"]["rehearsed"]["batch_size"] == 8 * share
    generator = entry["benchmarks"]["20k"]["generator"]
    assert generator["kind"] == "render"  # drawing so many would take minutes on a CPU
    assert generator["num_identities"] * generator["images_per_identity"] >= 2 * 8 * share


def test_memory_of_faces_and_of_class_weights(rehearsal, monkeypatch):
    monkeypatch.setattr(rehearsal, "_benchmark", load_benchmark("300k"))
    trained = []

    def train(protocols, share, micro_batch, classes):
        trained.append((share, classes))
        return 1.0 + 0.05 * share + (5.0 if classes else 0.0)

    monkeypatch.setattr(rehearsal, "_train_once", train)
    memory = rehearsal._measure_training([], 16)
    assert trained == [(16, 0), (32, 0), (32, 300_000)]
    assert memory.of(512) == pytest.approx(1.0 + 0.05 * 512 + 5.0)


@pytest.mark.parametrize(
    ("sizes", "num_identities", "num_shards"),
    [("ON_A_GPU", 64, 8), ("ON_A_GPU", 192, 24), ("RELEASED_ON_A_CPU", 2, 8), ("RELEASED_ON_A_CPU", 4, 8)],
)
def test_all_processes_draw_as_much(rehearsal, tmp_path, monkeypatch, sizes, num_identities, num_shards):
    monkeypatch.setattr(rehearsal, "_num_processes", 8)
    monkeypatch.setattr(rehearsal, "_sizes", getattr(small, sizes))
    monkeypatch.setattr(rehearsal, "_benchmark", load_benchmark("20k"))
    folder = tmp_path / "runs" / ".rehearsals" / SCALE / "work"
    folder.mkdir(parents=True)
    rehearsal._write_entry([], num_identities, {})
    document = yaml.safe_load((folder / "benchmarks.yaml").read_text())
    drawn = document["benchmarks"]["20k"]["generator"]
    assert drawn["num_identities"] == 8 * num_identities == num_shards * drawn["identities_per_shard"]


LINE = MemoryOfTraining(4, 1.0, 0.25)  # 1 GB with four faces, and 0.25 more for each further one


@pytest.mark.parametrize(
    ("num_processes", "micro_batch", "gigabytes", "problem"),
    [
        (1, 16, "4.0", None),
        (4, 4, "1.0", None),
        (
            4,
            16,
            "4.0",
            "4.0 GB of the 3.0 GB that a process has here; set TRAIN_FLAGS='--micro-batch 8'",
        ),
        (40, 16, "4.0", "4.0 GB of the 0.3 GB that a process has here; use a machine with more memory"),
    ],
)
def test_memory_is_that_of_all_processes(rehearsal, monkeypatch, num_processes, micro_batch, gigabytes, problem):
    monkeypatch.setattr(rehearsal, "_num_processes", num_processes)
    monkeypatch.setattr(rehearse_module, "memory_limit", lambda: 12_000_000_000)
    line = rehearsal._extrapolate(LINE, 16, micro_batch)
    assert line == f"train: {gigabytes} GB with {micro_batch} faces at a time, extrapolated from 4 and 8"
    assert rehearsal.measured.problems == ([f"training takes {problem}"] if problem else [])


def test_memory_that_did_not_grow_tells_nothing(rehearsal):
    assert "tells nothing about 512" in rehearsal._extrapolate(MemoryOfTraining(4, 3.0, -0.01), 512, 512)
    assert rehearsal.measured.memory_gb == {}


@pytest.mark.parametrize(
    ("fits", "tried", "largest"),
    [(128, [128], None), (20, [128, 64, 32, 16], 16), (0, [128, 64, 32, 16, 8, 4, 2], None), (None, [128], None)],
    ids=["all", "some", "none", "another failure"],
)
def test_the_largest_micro_batch_of_a_gpu_is_found_by_trial(rehearsal, monkeypatch, fits, tried, largest):
    trials = []

    def train(protocols, share, micro_batch, classes):
        trials.append(micro_batch)
        rehearsal._ran_out_of_memory = fits is not None and micro_batch > fits
        return float(fits is not None and micro_batch <= fits)

    monkeypatch.setattr(rehearsal, "_train_once", train)
    lines = list(rehearsal._find_micro_batch([], 128, 128))
    assert trials == tried
    assert rehearsal.measured.largest_micro_batch == largest
    assert lines == (["train: 16 of 128 faces fit into GPU memory at a time"] if largest else [])
    assert len(rehearsal.measured.problems) == (fits in (0, 20))


def test_the_batch_must_divide_by_the_processes_and_the_micro_batch(rehearsal, monkeypatch):
    monkeypatch.setattr(rehearsal, "_num_processes", 3)
    assert list(rehearsal._train([])) == []
    assert rehearsal.measured.problems == ["the batch of 16 faces is not divisible by 3 processes; change NPROC"]
    monkeypatch.setattr(rehearsal, "_num_processes", 2)
    monkeypatch.setenv("TRAIN_FLAGS", "--micro-batch 16")
    with pytest.raises(InputError, match="--micro-batch 16 does not divide the 8 faces of each process"):
        list(rehearsal._train([]))


def test_flags_of_the_training_stay_but_for_the_micro_batch(monkeypatch):
    monkeypatch.setenv("TRAIN_FLAGS", "--micro-batch=32 --gradient-checkpointing")
    assert asked_micro_batch() == 32
    for micro_batch, flag in ((None, ""), (8, " --micro-batch 8")):
        with rehearsed_training(micro_batch, 300_000):
            assert os.environ["TRAIN_FLAGS"] == f"--gradient-checkpointing --validate-every 0{flag}"
            assert os.environ[REHEARSED_IDENTITIES] == "300000"
    assert os.environ["TRAIN_FLAGS"] == "--micro-batch=32 --gradient-checkpointing"
    assert not os.environ[REHEARSED_IDENTITIES]


@pytest.mark.parametrize(("flags", "problem"), [("--micro-batch few", "is no number of faces"), ("'", "quotes")])
def test_flags_that_mean_nothing(monkeypatch, flags, problem):
    monkeypatch.setenv("TRAIN_FLAGS", flags)
    with pytest.raises(InputError, match=problem):
        asked_micro_batch()


def test_sizes_of_micro_batches():
    assert ever_smaller(125, 125) == [125, 25, 5]
    assert ever_smaller(6, 48) == [6, 3]
    assert LINE.largest(125, 9.0) == 25
    assert LINE.largest(125, 0.1) is None


def test_a_second_rehearsal_of_a_benchmark_is_refused(rehearsal, tmp_path):
    lock = stage_lock(tmp_path / "runs" / ".rehearsals" / SCALE)
    with lock, pytest.raises(InputError, match="is in use by another run"):
        list(rehearsal.run())


def test_several_machines_are_not_rehearsed(rehearsal, monkeypatch):
    monkeypatch.setenv("LAUNCH", "srun python")
    with pytest.raises(InputError, match="LAUNCH is set, but a rehearsal measures one machine; unset it, and give"):
        Rehearsal(rehearsal._benchmark, [], rehearsal._args, "cpu")


def plan_with(scale, runs, **fields):
    benchmark = load_benchmark(scale)
    fields |= {"settings": settings_digest(benchmark), "created_utc": datetime.now(UTC).isoformat(timespec="seconds")}
    write_measured(runs, scale, Measured(device="8 x a GPU", num_processes=8, is_gpu=True, **fields))
    return describe_plan(benchmark, {}, [], runs)


@pytest.mark.parametrize("stages", [["train"], ["train", "evaluate"], ["generate", "train"]])
def test_the_plan_states_measured_memory_only_if_generating_and_training_were_measured(tmp_path, stages):
    page = plan_with("20k", tmp_path, memory_gb=dict.fromkeys(stages, 9.0), gpu_memory_gb={"train": 19.55})
    measured = (
        "memory     GB of a process: generate 9.0, train 9.0 and 19.6 on its GPU\n           (measured 0 minutes ago)"
    )
    assert (measured if "generate" in stages else "memory     32 GB, 24 GB on the GPU") in page


@pytest.mark.parametrize("scale", ["20k", "mini_mixture", "datacv_10k"])
def test_every_plan_states_measured_rates(tmp_path, scale):
    page = plan_with(scale, tmp_path, train_images_per_second=1234.0, largest_micro_batch=64, memory_gb={"train": 7.5})
    assert "images/s   train 1,234\n           (measured 0 minutes ago on 8 x a GPU)" in page
    assert "           training: at most 64 faces at a time, TRAIN_FLAGS='--micro-batch 64'" in page
    assert ("GB of a process: train 7.5" in page) == (scale != "20k")  # drawing it was not rehearsed


def test_a_published_dataset_is_not_drawn(tmp_path):
    page = plan_with("20k_published", tmp_path, memory_gb={"train": 7.5})
    assert "GB of a process: train 7.5" in page


def test_the_hours_of_several_machines_are_not_known(tmp_path, monkeypatch):
    monkeypatch.setenv("LAUNCH", "torchrun --nnodes 2")
    assert "(hours with" not in plan_with("20k", tmp_path, train_images_per_second=1.0)


@pytest.mark.parametrize("num_processes", [1, 8])
def test_the_plan_says_if_its_hours_are_those_of_another_number_of_processes(tmp_path, monkeypatch, num_processes):
    monkeypatch.setenv("NPROC", str(num_processes))
    page = plan_with("20k", tmp_path, train_images_per_second=1.0)
    assert ("(hours with NPROC=8; make rehearse NPROC=1 measures yours)" in page) == (num_processes == 1)


def card(num_images, seconds):
    return SimpleNamespace(num_images=num_images, cost=SimpleNamespace(seconds=seconds))


def test_the_rate_is_that_of_the_additional_images():
    assert marginal_rate(card(10, 25.0), card(30, 35.0)) == 2.0
    assert marginal_rate(card(10, 25.0), card(30, 20.0)) == 1.5


def test_measurements_of_other_settings_or_damaged_ones_do_not_count(tmp_path):
    smoke, changed = load_benchmark("smoke"), load_benchmark("smoke", changes="recipe.batch_size=32")
    measured = Measured(
        settings=settings_digest(smoke), created_utc="2026-01-01T00:00:00+00:00", device="1 x GPU", num_processes=1
    )
    path = write_measured(tmp_path, "smoke", measured)
    assert read_measured(tmp_path, smoke) == measured
    assert re.fullmatch(r"\d+ days ago", measured.age)
    assert read_measured(tmp_path, changed) is None
    for damaged in ("{}", path.read_text().replace("2026-01-01T00:00:00Z", "garbage")):
        path.write_text(damaged)
        assert read_measured(tmp_path, smoke) is None
