"""The batch script for SLURM, with stand-ins for SLURM's programs and for Python."""

import os
import signal
import subprocess
import time

import pytest
from paths import ROOT

PROGRAMS = {
    "srun": 'echo "$SRUN_CPUS_PER_TASK" >> "$LOG.cpus"; exec "$@"',
    "scontrol": 'if [ "$1" = show ]; then printf "node0\\nnode1\\n"; else echo "scontrol $*" >> "$LOG"; fi',
    "project/.venv/bin/python": (
        'echo "$*" >> "$LOG"; echo "$LAUNCH" >> "$LOG.launch"\n'
        '[ "$3" = "$SLOW_STAGE" ] || exit "${STATUS:-0}"\n'
        "trap 'echo checkpoint >> \"$LOG\"; exit 138' USR1 TERM\n"
        'echo waiting >> "$LOG"\n'
        "while true; do sleep 0.1; done"
    ),
}


@pytest.fixture
def cluster(tmp_path):
    """Environment variables of a job of two nodes with four GPUs each, and the log of all programs."""
    for name, text in PROGRAMS.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)
    job = {"SLURM_JOB_ID": "77", "SLURM_JOB_NODELIST": "node[0-1]", "SLURM_JOB_NUM_NODES": "2"}
    job |= {"SLURM_GPUS_ON_NODE": "4", "SLURM_ARRAY_TASK_ID": "3", "SLURM_CPUS_PER_TASK": "16"}
    job |= {"SLURM_SUBMIT_DIR": str(tmp_path / "project")}
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    return os.environ | job | {"PATH": path, "LOG": str(tmp_path / "log"), "SCALE": "20k"}, tmp_path / "log"


def start(variables):
    return subprocess.Popen(["bash", ROOT / "cluster" / "slurm.sbatch"], env=variables)


def test_all_stages_run_with_the_seed_of_the_array_and_torchrun_on_every_node(cluster):
    variables, log = cluster
    assert start(variables).wait(60) == 0
    lines = log.read_text().splitlines()
    flags = "--scale=20k --seed=3 --runs=runs --test-sets=test_sets --weights=weights --device=auto --set="
    stages = [f"-m bench.runs.launch {stage} {flags}" for stage in ("generate", "train", "evaluate")]
    assert lines == [*stages, f"-m bench run {flags}"]
    launches = log.with_name("log.launch").read_text().splitlines()
    assert (
        launches[:3]
        == [
            ".venv/bin/python -m bench.runs.torchrun --nnodes 2 --nproc-per-node 4 --rdzv-backend c10d --rdzv-id 77 "
            "--rdzv-endpoint node0:20077"
        ]
        * 3
    )
    assert launches[3] == ""
    assert log.with_name("log.cpus").read_text().splitlines() == ["16"] * 3


def test_the_variables_of_make_count(cluster):
    variables, log = cluster
    assert start(variables | {"SET": "recipe.margin.margin=0.4 seeds=[1]", "DEVICE": "cpu"}).wait(60) == 0
    lines = log.read_text().splitlines()
    assert all(line.endswith(" --device=cpu --set=recipe.margin.margin=0.4 seeds=[1]") for line in lines)


@pytest.mark.parametrize("given", [{"SEEDS": "0 1"}, {"SEED": "5"}])
def test_seeds_are_those_of_the_array(cluster, given):
    variables, log = cluster
    assert start(variables | given).wait(60) == 2
    assert not log.exists()


def test_one_job_takes_the_given_seed(cluster):
    variables, log = cluster
    assert start(variables | {"SEED": "5", "SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_COUNT": "1"}).wait(60) == 0
    assert "--seed=5" in log.read_text()


@pytest.mark.slow
def test_a_signal_in_the_last_command_queues_the_job_again_too(cluster):
    variables, log = cluster
    process = start(variables | {"SLOW_STAGE": "run"})
    wait_for("waiting", log)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(60) == 0
    assert log.read_text().splitlines()[-2:] == ["checkpoint", "scontrol requeue 77"]


@pytest.mark.slow
def test_a_job_that_cannot_be_queued_again_fails(cluster, tmp_path):
    variables, log = cluster
    program = tmp_path / "scontrol"
    program.write_text(program.read_text().replace("scontrol $*", "refused").replace("; fi", "; exit 1; fi"))
    process = start(variables | {"SLOW_STAGE": "generate"})
    wait_for("waiting", log)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(60) == 1
    assert log.read_text().splitlines()[-1] == "refused"


def wait_for(word, log):
    deadline = time.monotonic() + 60
    while (not log.exists() or word not in log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_signal_ends_the_step_and_queues_the_job_again(number, cluster):
    variables, log = cluster
    process = start(variables | {"SLOW_STAGE": "train"})
    wait_for("waiting", log)
    process.send_signal(number)
    assert process.wait(60) == 0
    assert log.read_text().splitlines()[-2:] == ["checkpoint", "scontrol requeue 77"]
    assert "evaluate" not in log.read_text()


def test_a_stage_that_fails_ends_the_job_with_its_status(cluster):
    variables, log = cluster
    assert start(variables | {"STATUS": "2"}).wait(60) == 2
    assert len(log.read_text().splitlines()) == 1


def test_a_stage_that_fails_before_the_script_looks_is_not_lost(cluster):
    variables, log = cluster
    gone = {"BASH_FUNC_kill%%": "() { return 1; }"}  # in place of kill: says that the step no longer exists
    assert start(variables | {"STATUS": "2"} | gone).wait(60) == 2
    assert len(log.read_text().splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("command", ['cd "${SLURM_SUBMIT_DIR:?start this script with sbatch}"', "step=$!"])
def test_a_signal_before_the_step_is_known_is_not_lost(command, cluster, tmp_path):
    variables, log = cluster
    hook = tmp_path / "hook.sh"  # bash runs it first; the signal then comes right before the command
    hook.write_text('set -T\ntrap \'[ "$BASH_COMMAND" = "$COMMAND" ] && kill -s USR1 $$\' DEBUG\n')
    process = start(variables | {"SLOW_STAGE": "generate", "BASH_ENV": str(hook), "COMMAND": command})
    assert process.wait(60) == 0
    assert log.read_text().splitlines()[-1] == "scontrol requeue 77"
    assert "train" not in log.read_text()
