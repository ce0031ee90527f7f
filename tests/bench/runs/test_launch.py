"""The command of a stage: only flags that are not the usual ones, and the launcher that NPROC or LAUNCH name."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

from bench.cli import stage_parser
from bench.config.benchmarks import load_benchmark
from bench.errors import InputError
from bench.runs.fingerprints import plan_stages
from bench.runs.launch import run_command, stage_command


@pytest.fixture
def stages(tmp_path, monkeypatch):
    for name in ("NPROC", "LAUNCH", "TRAIN_FLAGS"):
        monkeypatch.delenv(name, raising=False)
    return plan_stages(load_benchmark("smoke"), seed=0, runs=tmp_path, test_sets=tmp_path)


def flags(*given):
    return stage_parser("bench", "").parse_args(["--scale", "smoke", *given])


def test_what_goes_without_saying_is_left_out(stages):
    python = [sys.executable, "-m"]
    assert stage_command(stages.train, flags()) == [*python, "fr_train", "--scale", "smoke", "--seed", "0"]
    command = stage_command(stages.evaluate, flags("--seed", "3", "--runs", "elsewhere"))
    assert command == [*python, "evaluate", "--scale", "smoke", "--seed", "3", "--runs", str(Path("elsewhere"))]


def test_launchers_and_flags_of_the_training(stages, monkeypatch):
    monkeypatch.setenv("NPROC", "2")
    monkeypatch.setenv("TRAIN_FLAGS", "--micro-batch 8")
    command = stage_command(stages.train, flags())
    assert command[1:6] == ["-m", "bench.runs.torchrun", "--standalone", "--nproc-per-node=2", "-m"]
    assert command[-2:] == ["--micro-batch", "8"]
    assert "--micro-batch" not in stage_command(stages.generate, flags())
    monkeypatch.setenv("LAUNCH", "srun -n 4 python")
    assert stage_command(stages.train, flags())[:6] == ["srun", "-n", "4", "python", "-m", "fr_train"]


@pytest.mark.parametrize("number", ["abc", "0", "-1", "1.5"])
def test_a_number_of_processes_that_is_none(stages, monkeypatch, number):
    monkeypatch.setenv("NPROC", number)
    with pytest.raises(InputError, match=f"NPROC={number} is no number of processes"):
        stage_command(stages.train, flags())


@pytest.mark.parametrize("variable", ["LAUNCH", "TRAIN_FLAGS"])
def test_a_line_with_a_lonely_quote(stages, monkeypatch, variable):
    monkeypatch.setenv(variable, "--name 'mine")
    with pytest.raises(InputError, match=f"{variable}=--name 'mine is no command line .*; correct its quotes"):
        stage_command(stages.train, flags())


@pytest.mark.parametrize(
    ("launch", "message"),
    [
        ("nosuchprogram -n 4 python", "nosuchprogram cannot be started (No such file or directory); correct LAUNCH"),
        ("/ -n 4", "/ cannot be started (Permission denied); correct LAUNCH"),
    ],
)
def test_a_launcher_that_cannot_be_started(launch, message):
    """By the command that ``make train`` calls."""
    line = [sys.executable, "-m", "bench.runs.launch", "train", "--scale=smoke", "--seed=0"]
    done = subprocess.run(line, cwd=ROOT, env=os.environ | {"LAUNCH": launch}, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {message}\n")


def test_an_audit_takes_the_launcher(tmp_path):
    program = tmp_path / "launcher"
    program.write_text('#!/bin/sh\necho "$@"\n')
    program.chmod(0o755)
    line = [sys.executable, "-m", "bench.runs.launch", "audit", "--scale=smoke", "faces.lmdb"]
    done = subprocess.run(line, cwd=ROOT, env=os.environ | {"LAUNCH": str(program)}, capture_output=True, text=True)
    assert done.stdout == "-m evaluate audit --scale=smoke faces.lmdb\n"


CHILD = """
import signal, sys, time
signal.signal(signal.SIGINT, lambda *_: (print("interrupted", flush=True), sys.exit(130)))
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.slow
@pytest.mark.parametrize("to_all", [True, False])
def test_ctrl_c_ends_a_stage_and_the_benchmark_with_one_line(tmp_path, to_all):
    """The terminal interrupts both; ``kill -INT`` may interrupt the benchmark alone."""
    (tmp_path / "child.py").write_text(CHILD)
    code = "import sys; from bench.cli import run; from bench.runs import launch; launch._SECONDS_TO_END = 1\n"
    code += "run(lambda: launch.run_command([sys.executable, sys.argv[1]]))"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "child.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )
    assert process.stdout.readline() == "ready\n"
    (os.killpg if to_all else os.kill)(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=20)
    assert (process.returncode, stdout, stderr) == (130, "interrupted\n", "")


FAKE_PYTHON = """#!{python}
import json, os, sys
print(json.dumps([*sys.argv[1:], os.environ["NPROC"], os.environ["TRAIN_FLAGS"]]))
"""


@pytest.mark.parametrize(
    "value", ["my runs", "x; touch pwned", "$(touch pwned)", "`touch pwned`", "a'b", 'a"b', "a\\b", "-x", "a*b"]
)
def test_make_gives_every_value_as_one_word(tmp_path, value):
    venv = tmp_path / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / ".done").touch()
    python = venv / "bin" / "python"
    python.write_text(FAKE_PYTHON.format(python=sys.executable))
    python.chmod(0o755)

    def make(*words):
        given = [word.replace("$", "$$") for word in words]  # make's own escape
        line = ["make", "--no-print-directory", "-f", str(ROOT / "Makefile"), f"VENV={venv}", "-o", str(venv / ".done")]
        return subprocess.run([*line, *given], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    for target in ("benchmark", "plan", "generate", "train", "evaluate"):
        words = json.loads(make(target, f"RUNS={value}", f"SCALE={value}", f"TRAIN_FLAGS={value}"))
        assert {f"--runs={value}", f"--scale={value}"} <= set(words)
        assert words[-1] == value
    words = json.loads(make("sweep", f"SWEEP={value}", f"RUNS={value}", "JOBS=3", "SEEDS=0 1"))
    assert words[:4] == ["-m", "bench", "sweep", value]
    assert {f"--runs={value}", "--jobs=3", "--seeds=0 1"} <= set(words)
    words = json.loads(make("benchmark", f"SET={value}", "SEEDS=0 1"))
    assert {f"--set={value}", "--seeds=0 1"} <= set(words)
    assert not [word for word in words if word.startswith("--seed=")]
    words = json.loads(make("audit", f"DATA={value}", f"NETWORK={value}", "AGAINST=lfw cfp_fp"))
    assert words[-6:-2] == [f"--network={value}", "--against", "lfw", "cfp_fp"]
    assert value in words
    assert json.loads(make("compare", f"A={value}", "B=b"))[:-2] == ["-m", "evaluate", "compare", value, "b"]
    assert f"RUNS={value}" in make("help", f"RUNS={value}")
    assert not list(tmp_path.rglob("pwned"))


FAILING = """
import os
import re
from bench.cli import run
from bench.errors import InputError
def main():
    if os.environ["RANK"] == "1":
        raise InputError("the value 7 is too large; give at most 5")
run(main)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_command_that_was_nearly_done_when_a_signal_came_still_ends_the_caller(number):
    program = "import os, signal, sys, time; [signal.signal(n, lambda *_: sys.exit(0)) for n in (10, 15)]; "
    program += f"os.kill(os.getppid(), {int(number)}); time.sleep(60)"
    assert run_command([sys.executable, "-c", program]) == 128 + number


@pytest.mark.parametrize("words", [[], ["foo"]])
def test_a_stage_that_does_not_exist(words):
    done = subprocess.run([sys.executable, "-m", "bench.runs.launch", *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert re.fullmatch(
        r"error: (foo is no stage|no stage was given); give generate, train, evaluate or audit, .*\n", done.stderr
    )


@pytest.mark.slow
def test_a_failing_process_shows_its_own_line_and_its_status(tmp_path):
    (tmp_path / "failing.py").write_text(FAILING)
    torchrun = [sys.executable, "-m", "bench.runs.torchrun", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, str(tmp_path / "failing.py")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["error (process 1): the value 7 is too large; give at most 5"]


WAITING = """
import os, time
from bench.cli import run
def main():
    os.write(1, b"ready\\n")
    time.sleep(60)
run(main)
"""


@pytest.mark.slow
@pytest.mark.parametrize("to_all", [True, False])
def test_ctrl_c_ends_several_processes_with_one_line(tmp_path, to_all):
    (tmp_path / "waiting.py").write_text(WAITING)
    torchrun = [sys.executable, "-m", "bench.runs.torchrun", "--standalone", "--nproc-per-node=2"]
    process = subprocess.Popen(
        [*torchrun, str(tmp_path / "waiting.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    assert process.stdout.read(2 * len("ready\n")).count("ready") == 2  # both have started
    (os.killpg if to_all else os.kill)(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert stderr.strip() == "interrupted; run the same command again to resume"
    assert process.returncode == 130
