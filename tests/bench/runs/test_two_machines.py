"""Two machines as two network namespaces of this one, joined by a cable (veth): torchrun, gloo, one machine killed.

Making namespaces needs root. RUNS is a folder that both see, as on a cluster.
"""

import os
import subprocess
import sys
import time
from dataclasses import dataclass

import psutil
import pytest
import yaml
from paths import ROOT
from soak import SCALE, write_inputs

from bench.config.benchmarks import BENCHMARKS_PATH
from bench.files import sha256

PORT = 29555
THREADS = "2"
"""torch's threads per process in all runs: sums round differently with another number."""
_SECONDS = 420


@dataclass(frozen=True)
class Machine:
    """A network namespace with one end of the cable."""

    number: int
    namespace: str
    cable: str

    @property
    def address(self):
        return f"10.77.0.{self.number + 1}"

    def start(self, stage, flags, log):
        """Start a stage as this machine of two."""
        launcher = [
            *(sys.executable, "-m", "bench.runs.torchrun", "--nnodes", "2", "--nproc-per-node", "1"),
            *("--rdzv-backend", "c10d", "--rdzv-id", "7", "--rdzv-endpoint", f"10.77.0.1:{PORT}"),
            *("--rdzv-conf", f"is_host={1 - self.number},join_timeout=300", "--local-addr", self.address),
        ]
        variables = {"LAUNCH": " ".join(launcher), "GLOO_SOCKET_IFNAME": self.cable}
        variables["SLURMD_NODENAME"] = f"node{self.number}"
        line = ["ip", "netns", "exec", self.namespace, *stage_line(stage, flags)]
        with log.open("a") as file:
            return subprocess.Popen(line, cwd=ROOT, env=environment(variables), stdout=file, stderr=file)


def stage_line(stage, flags):
    return [sys.executable, "-m", "bench.runs.launch", stage, *flags]


def environment(variables):
    common = {"BENCH_PROGRESS": "0", "BENCH_LIVE": "0", "OMP_NUM_THREADS": THREADS, "PYTHONPATH": str(ROOT)}
    return os.environ | common | {"RES_OPTIONS": "timeout:1 attempts:1"} | variables


def run_ip(*words):
    return subprocess.run(["ip", *words], capture_output=True, text=True)


@pytest.fixture
def machines():
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    pair = [Machine(number, f"bench{os.getpid()}n{number}", f"bv{os.getpid()}n{number}") for number in (0, 1)]
    for machine in pair:
        if run_ip("netns", "add", machine.namespace).returncode:
            pytest.skip("no network namespace can be made here")
    try:
        run_ip("link", "add", pair[0].cable, "type", "veth", "peer", "name", pair[1].cable)
        for machine in pair:
            run_ip("link", "set", machine.cable, "netns", machine.namespace)
            run_ip("-n", machine.namespace, "addr", "add", f"{machine.address}/30", "dev", machine.cable)
            for device in ("lo", machine.cable):
                assert run_ip("-n", machine.namespace, "link", "set", device, "up").returncode == 0
        yield pair
    finally:
        for machine in pair:
            run_ip("netns", "del", machine.namespace)


@pytest.fixture
def inputs(tmp_path):
    """A benchmark of the small Vec2Face that comes with the suite, whose shards the machines share."""
    folder = write_inputs(tmp_path / "inputs")
    document = yaml.safe_load((folder / "benchmarks.yaml").read_text())
    generator = yaml.safe_load(BENCHMARKS_PATH.read_text())["benchmarks"]["smoke"]["generator"]
    sizes = {"num_identities": 8, "images_per_identity": 6, "identities_per_shard": 2}
    document["benchmarks"][SCALE]["generator"] = generator | sizes
    (folder / "benchmarks.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    return folder


def kill_all(process):
    """Kill a process and all that it started, as a power cut does."""
    family = psutil.Process(process.pid).children(recursive=True)
    for each in [psutil.Process(process.pid), *family]:
        each.kill()
    process.wait()


@pytest.mark.slow
def test_two_machines_make_the_bytes_and_the_network_of_one_though_one_is_killed(machines, inputs, tmp_path):
    log = tmp_path / "log"

    def flags(runs):
        folders = [f"--runs={tmp_path / runs}", f"--test-sets={inputs / 'test_sets'}", "--device=cpu"]
        return [f"--scale={SCALE}", "--seed=0", *folders, f"--config={inputs / 'benchmarks.yaml'}"]

    def finish_on_both(stage):
        processes = [machine.start(stage, flags("two"), log) for machine in machines]
        statuses = [process.wait(_SECONDS) for process in processes]
        assert statuses == [0, 0], log.read_text()[-3000:]

    for stage in ("generate", "train"):
        one = environment({"NPROC": "2"})
        subprocess.run(stage_line(stage, flags("one")), cwd=ROOT, env=one, check=True, timeout=_SECONDS)
    finish_on_both("generate")
    processes = [machine.start("train", flags("two"), log) for machine in machines]
    deadline = time.monotonic() + _SECONDS
    while not list((tmp_path / "two").glob(f"{SCALE}/models/*/checkpoint.pt")) and time.monotonic() < deadline:
        time.sleep(0.1)
    kill_all(processes[1])
    assert processes[0].wait(_SECONDS) != 0  # it notices that the other machine is gone
    assert not list((tmp_path / "two").glob(f"{SCALE}/models/*/model.json"))
    finish_on_both("train")
    for pattern in ("faces/*/faces.lmdb", "models/*/model.safetensors"):
        digests = {sha256(path) for path in tmp_path.glob(f"*/{SCALE}/{pattern}")}
        assert len(list(tmp_path.glob(f"*/{SCALE}/{pattern}"))) == 2
        assert len(digests) == 1, pattern
