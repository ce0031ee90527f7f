"""Launches on several processes and machines: what does not fit together is refused and named."""

import os
import re
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from paths import ROOT
from training import run_processes

from bench.errors import InputError
from bench.machine import agreement
from bench.machine.arrivals import noted_arrival
from bench.machine.device import choose_device, launch_id


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_more_processes_than_gpus_are_refused(device, monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert choose_device(device) == "cuda"
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(InputError, match=r"NPROC=3, but this machine has 2 GPUs; set NPROC=2, or DEVICE=cpu"):
        choose_device(device)
    assert choose_device("cpu") == "cpu"
    monkeypatch.delenv("LOCAL_WORLD_SIZE")
    with pytest.raises(InputError, match="NPROC=8, but this machine has 2 GPUs"):  # before torchrun starts them
        choose_device(device, 8)


@pytest.mark.usefixtures("two_gpus")
def test_one_gpu_for_several_processes_is_refused(monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(InputError, match=r"DEVICE=cuda:1 names one GPU for 2 processes; set DEVICE=cuda, or NPROC=1"):
        choose_device("cuda:1")


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="DEVICE=cuda:7, but torch sees the GPUs cuda:0 to cuda:1"):
        choose_device("cuda:7")
    for name in ("gpu", "cuda:00", "cuda:01"):
        with pytest.raises(InputError, match=f"DEVICE={name} is no device"):
            choose_device(name)


def compare(commits, settings, folder):
    rank = int(os.environ["RANK"])
    commit, _, changes = commits[rank].partition("+")
    agreement.git_state = lambda: SimpleNamespace(commit=commit, dirty=bool(changes))
    agreement.changes_digest = lambda: changes
    socket.gethostname = lambda: f"node{rank}"
    try:
        agreement.refuse_different_processes(settings[rank])
        text = "agreed"
    except InputError as error:
        text = str(error)
    (folder / f"{rank}").write_text(f"{text}\n{launch_id()}")
    os._exit(0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("commits", "settings", "message"),
    [
        (("abc", "abc"), ({"lr": 0.1}, {"lr": 0.1}), "agreed"),
        (("abc+1", "abc+1"), ({}, {}), "agreed"),
        (
            ("abc+1", "abc+2"),
            ({}, {}),
            "process 1 on node1 has commit=abc with the changes 2, process 0 on node0 has commit=abc with the changes",
        ),
        (("abc", "def"), ({}, {}), "process 1 on node1 has commit=def, process 0 on node0 has commit=abc; start"),
        (
            ("abc", "abc"),
            ({"recipe": {"lr": 0.1}}, {"recipe": {"lr": 0.2}}),
            "process 1 on node1 has recipe.lr=0.2, process 0 on node0 has recipe.lr=0.1; start",
        ),
    ],
    ids=["the same", "the same changes", "changes", "commits", "settings"],
)
def test_processes_of_another_commit_or_other_settings_are_refused(commits, settings, message, tmp_path):
    run_processes(compare, 2, commits, settings, tmp_path)
    pages = [(tmp_path / rank).read_text().splitlines() for rank in ("0", "1")]
    assert all(page[0].startswith(message) for page in pages)
    assert pages[0][1] == pages[1][1]  # the id of the launch, which ends in a random number
    assert re.search("-[0-9a-f]{16}$", pages[0][1])


def arguments(folder, num_machines=3):
    rendezvous = ["--rdzv-backend", "c10d", "--rdzv-id=7", "--rdzv-conf", "is_host=1,join_timeout=5"]
    return ["--nnodes", str(num_machines), *rendezvous, "-m", "fr_train", "--runs", str(folder)]


def test_missing_machines_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURMD_NODENAME", "node0")
    with noted_arrival(arguments(tmp_path)) as describe_missing:
        (tmp_path / ".launch" / "7" / "node2").touch()
        assert describe_missing().startswith("1 of 3 machines did not come within 5 s (here: node0, node2); start")
        monkeypatch.setenv("NODES", "node0 node1 node2")
        assert describe_missing().startswith("node1 did not come within 5 s (here: node0, node2); start")
        long_ago = time.time() - 100
        os.utime(tmp_path / ".launch" / "7" / "node2", (long_ago, long_ago))
        assert describe_missing().startswith("node1, node2 did not come within 5 s (here: node0); start")
    assert [path.name for path in tmp_path.rglob("node*")] == ["node2"]


def test_machines_that_all_came_and_lost_each_other(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURMD_NODENAME", "node0")
    with noted_arrival(arguments(tmp_path, 2)) as describe_missing:
        (tmp_path / ".launch" / "7" / "node1").touch()
        assert describe_missing().startswith("the connection between the machines node0, node1 broke, or one of them")


def test_machines_that_lost_each_other_after_hours(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURMD_NODENAME", "node0")
    with noted_arrival(arguments(tmp_path, 2)) as describe_missing:
        long_ago = time.time() - 10_000
        for name in ("node0", "node1"):
            (tmp_path / ".launch" / "7" / name).touch()
            os.utime(tmp_path / ".launch" / "7" / name, (long_ago, long_ago))
        assert describe_missing().startswith("the connection between the machines node0, node1 broke, or one of them")


def test_one_machine_and_a_folder_that_cannot_be_written():
    with noted_arrival(arguments("/proc/nope", 1)) as describe_missing:
        assert describe_missing().startswith("the processes of this machine lost each other")
    with noted_arrival(arguments("/proc/nope", 2)) as describe_missing:
        assert describe_missing().startswith("2 of 2 machines did not come")


def test_slurm_tells_the_names_of_the_machines(tmp_path, monkeypatch):
    program = tmp_path / "scontrol"
    program.write_text('#!/bin/sh\n[ "$*" = "show hostnames node[0-1]" ] && printf "node0\\nnode1\\n"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("SLURM_JOB_NODELIST", "node[0-1]")
    monkeypatch.setenv("SLURMD_NODENAME", "node0")
    with noted_arrival(arguments(tmp_path, 2)) as describe_missing:
        assert describe_missing().startswith("node1 did not come")


def test_one_machine_leaves_no_trace(tmp_path):
    with noted_arrival(arguments(tmp_path, 1)):
        assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("rendezvous", ["c10d", "static"])
def test_a_launch_whose_second_machine_never_comes_ends_in_one_line(tmp_path, rendezvous):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["--rdzv-endpoint", f"127.0.0.1:{port}", *arguments(tmp_path, 2)]
    if rendezvous == "static":
        words = ["--nnodes=2", "--node-rank=0", "--master-addr=127.0.0.1", f"--master-port={port}"]
        words += ["--rdzv-conf=timeout=5", "-m", "fr_train", "--runs", str(tmp_path)]
    line = [sys.executable, "-m", "bench.runs.torchrun", *words]
    done = subprocess.run(
        line,
        cwd=ROOT,
        env=os.environ | {"NODES": "node0 node1", "SLURMD_NODENAME": "node0"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 2
    (message,) = [text for text in done.stderr.splitlines() if text.startswith("error")]
    assert message.startswith("error: node1 did not come within 5 s (here: node0); start the same command there")
    assert "Traceback" not in done.stderr
