"""Disturb ``make benchmark`` in every way that happens, and check that it ends with the same bytes and figures.

``python tests/helpers/soak.py FOLDER kills|crowd|disk [--repetitions 100] [--nproc 1 2]`` runs the Makefile with a
benchmark of under half a minute: 24 rendered people, an IResNet-18 of width 8, one small test set.

| soak | what it does |
|---|---|
| kills | kills ``make benchmark`` with kill -9 at random moments: make alone, or it and all its processes |
| crowd | starts eight benchmarks at once on one RUNS: the same seed and others |
| disk | fills the disk at random moments: one line each, and the benchmark goes on after room is made |

It is not a test itself: tests/bench/runs/test_several_processes.py uses its benchmark.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
import yaml
from paths import ROOT

from bench.config.benchmarks import BENCHMARKS_PATH
from bench.faces.face import encode_jpeg
from bench.files import sha256
from evaluate.layouts.packed import write_bin
from generate.render.face import render_face
from generate.render.people import draw_factors

SCALE = "tiny"
_RECIPE = {
    "backbone": {"kind": "iresnet", "depth": 18, "width": 8, "embedding_dim": 32},
    "margin": {"kind": "arcface", "margin": 0.2, "scale": 16.0},
    "optimizer": {"kind": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 0.0005, "grad_clip": 5.0},
    "schedule": {"kind": "polynomial", "epochs": 3, "warmup_epochs": 0.5},
    "batch_size": 16,
    "augmentation": {"flip": 0.5},
}
_NUM_PAIRS = 40
_DISK_MIB = 16
_SECONDS_PER_BENCHMARK = 25


def write_inputs(folder):
    """Write a file of benchmarks with the entry ``tiny``, and its test set.

    Returns:
        The flags that name them.
    """
    (folder / "test_sets").mkdir(parents=True, exist_ok=True)
    faces = []
    for pair in range(_NUM_PAIRS):
        people = (pair, pair) if pair % 2 == 0 else (pair, pair + 1)
        for image, person in enumerate(people):
            faces.append(encode_jpeg(render_face(10**6 + person, image, draw_factors(10**6 + person, image))))
    write_bin(folder / "test_sets" / "few.bin", faces, [pair % 2 == 0 for pair in range(_NUM_PAIRS)])
    document = yaml.safe_load(BENCHMARKS_PATH.read_text())
    document["recipes"] = {"tiny_arcface": _RECIPE}
    document["benchmarks"] = {
        SCALE: {
            "about": "for the soak",
            "generator": {"kind": "render", "num_identities": 24, "images_per_identity": 4},
            "recipe": "tiny_arcface",
            "protocols": ["few"],
            "expected": document["benchmarks"]["smoke"]["expected"],
        }
    }
    (folder / "benchmarks.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    return folder


def command(inputs, runs, *, seed=0, makefile=None):
    """``make benchmark`` on the benchmark of ``inputs``, by the Python that runs this script."""
    return [
        *("make", "--no-print-directory", "-f", str(makefile or write_makefile(inputs)), "-C", str(ROOT), "benchmark"),
        *(f"SCALE={SCALE}", f"SEED={seed}", f"RUNS={runs}", f"TEST_SETS={inputs / 'test_sets'}", "DEVICE=cpu"),
    ]


def write_makefile(inputs):
    """The Makefile of the project, with this Python, without ``make setup``, and with the benchmarks of ``inputs``."""
    text = (ROOT / "Makefile").read_text()
    text = text.replace("\nRUN   := $(VENV)/bin/python\n", f"\nRUN   := {sys.executable}\n")
    text = text.replace("\nbenchmark: setup ", "\nbenchmark: ")
    text = text.replace("bench run $(FLAGS)", f"bench run $(FLAGS) --config={inputs / 'benchmarks.yaml'}")
    path = inputs / "Makefile"
    path.write_text(text)
    return path


def start(line, log, *, nproc=1):
    """Start a benchmark in a session of its own; its output goes to ``log``."""
    environment = os.environ | {"BENCH_PROGRESS": "0", "MLFLOW_DISABLE_TELEMETRY": "true"}
    for name in ("MAKEFLAGS", "OMP_NUM_THREADS"):  # torchrun sets the second itself, for several processes
        environment.pop(name, None)
    with log.open("a") as file:
        pipes = {"stdout": file, "stderr": file}
        return subprocess.Popen([*line, f"NPROC={nproc}"], env=environment, start_new_session=True, **pipes)


def finish(line, log, *, nproc=1):
    status = start(line, log, nproc=nproc).wait()
    assert status == 0, f"status {status}\n{log.read_text()[-3000:]}"


def outcome(runs, *, with_network=True):
    """What must be equal: the dataset's bytes, and the network and figures of every result."""
    (dataset,) = runs.glob(f"{SCALE}/faces/*")
    found = {f"{dataset.name}/{name}": sha256(dataset / name) for name in ("faces.lmdb", "faces.parquet", "grid.png")}
    for path in sorted(runs.glob(f"{SCALE}/results/*/result.json")):
        card = json.loads(path.read_text())
        if with_network or card["row"] == "floor":
            with np.load(path.parent / "scores.npz") as scores:
                values = {name: scores[name].tolist() for name in scores.files}
            found[card["name"]] = (card["protocols"]["few"]["accuracy"], card["model"].get("weights_sha256"), values)
    return found


def check_clean(runs):
    """Check that no temporary file is left, and that each stage has one folder."""
    assert not [path for path in runs.rglob(".*") if path.name.endswith((".tmp", ".holder"))]
    counts = {name: len(list(runs.glob(f"{SCALE}/{name}/*"))) for name in ("faces", "models", "results")}
    assert counts == {"faces": 1, "models": 1, "results": 3}, counts


def soak_kills(folder, inputs, *, repetitions, nproc, rng):
    """Kill benchmarks at random moments, one to five times each, and compare them with an undisturbed one."""
    log = folder / f"kills-{nproc}.log"
    expected_runs = folder / f"undisturbed-{nproc}"
    begin = time.perf_counter()
    finish(command(inputs, expected_runs), log, nproc=nproc)
    seconds = time.perf_counter() - begin
    expected = outcome(expected_runs)
    say(f"NPROC={nproc}: undisturbed in {seconds:.0f} s")
    kills, round_number = 0, 0
    while kills < repetitions:
        runs = folder / f"killed-{nproc}-{round_number}"
        round_number += 1
        for _ in range(rng.randint(1, min(5, repetitions - kills))):
            process = start(command(inputs, runs), log, nproc=nproc)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=rng.uniform(0, seconds))
            if process.returncode is not None:
                break  # it ended before its kill, which therefore does not count
            kill(process, alone=rng.random() < 0.3)
            kills += 1
        finish(command(inputs, runs), log, nproc=nproc)
        wait_for_orphans(runs)
        assert outcome(runs) == expected, f"{runs} differs from {expected_runs}"
        check_clean(runs)
        say(f"  {kills} kills of a running benchmark: equal bytes and figures")
        shutil.rmtree(runs)
    assert "Traceback" not in log.read_text(), log


def kill(process, *, alone):
    """Kill make, or it and every process below it. A child that is left alone goes on, and the next start waits."""
    with suppress(psutil.NoSuchProcess, ProcessLookupError):
        below = [] if alone else psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
        for child in below:
            with suppress(psutil.NoSuchProcess):
                child.kill()
    process.wait()


def wait_for_orphans(runs):
    """Wait for the processes that go on after make alone was killed."""
    for process in psutil.process_iter(["cmdline"]):
        if process.pid != os.getpid() and str(runs) in " ".join(process.info["cmdline"] or ()):
            with suppress(psutil.NoSuchProcess):
                process.wait(timeout=300)


def soak_crowd(folder, inputs, *, repetitions, nproc):
    """Eight benchmarks at once on one RUNS, four of one seed; all finish with the figures of one alone."""
    expected_runs, log = folder / "alone", folder / "crowd.log"
    finish(command(inputs, expected_runs), log)
    expected = outcome(expected_runs)
    makefile = write_makefile(inputs)
    for number in range(repetitions):
        runs = folder / f"crowd-{number}"
        logs = [folder / f"crowd-{number}-{member}.log" for member in range(8)]
        begin = time.perf_counter()
        processes = [
            start(command(inputs, runs, seed=max(0, member - 3), makefile=makefile), logs[member], nproc=nproc)
            for member in range(8)
        ]
        for process, path in zip(processes, logs, strict=True):
            assert process.wait() == 0, path.read_text()[-3000:]
            assert "Traceback" not in path.read_text(), path
        ours = {path.name: sha256(path / "faces.lmdb") for path in runs.glob(f"{SCALE}/faces/*")}
        assert len(ours) == 5
        (name,) = [key.split("/")[0] for key in expected if key.endswith("faces.lmdb")]
        assert ours[name] == expected[f"{name}/faces.lmdb"]
        assert len(list(runs.glob(f"{SCALE}/results/*/result.json"))) == 5 + 2  # five seeds and two floors
        assert not [path for path in runs.rglob("*.tmp") if path.name.startswith(".")]
        say(f"crowd {number + 1}: eight benchmarks in {time.perf_counter() - begin:.0f} s")


def soak_disk(folder, inputs, *, repetitions, nproc, rng):
    """Fill a small tmpfs at random moments: one line and status 2, or a warning of MLflow; then make room and go on."""
    expected_runs, log = folder / "roomy", folder / "disk.log"
    finish(command(inputs, expected_runs), log, nproc=nproc)
    expected = outcome(expected_runs)
    makefile = write_makefile(inputs)
    for number in range(repetitions):
        with small_disk(folder / "disk") as disk:
            path = folder / f"disk-{number}.log"
            filler = disk / "filler"
            process = start(command(inputs, disk / "runs", makefile=makefile), path, nproc=nproc)
            delay = rng.uniform(0, _SECONDS_PER_BENCHMARK)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=delay)
            while process.poll() is None:  # the benchmark must not find a byte
                fill(filler)
                time.sleep(0.02)
            text = path.read_text()
            errors = [line for line in text.splitlines() if line.startswith("error")]
            assert "Traceback" not in text, text[-3000:]
            assert len(errors) == (process.returncode != 0), text[-3000:]
            assert all("disk is full" in line for line in errors), errors
            filler.unlink(missing_ok=True)
            finish(command(inputs, disk / "runs", makefile=makefile), path, nproc=nproc)
            assert outcome(disk / "runs") == expected
            check_clean(disk / "runs")
            say(f"disk {number + 1}: full after {delay:.1f} s, {errors or 'too late to matter, or only MLflow'}")


@contextmanager
def small_disk(path):
    path.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_DISK_MIB}m", "tmpfs", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)


def fill(path):
    with suppress(OSError), path.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(1 << 12))


def say(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("soak", choices=("kills", "crowd", "disk"))
    parser.add_argument("--repetitions", type=int, default=100)
    parser.add_argument("--nproc", type=int, nargs="+", default=[1])
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    folder = args.folder.resolve()
    inputs = write_inputs(folder / "inputs")
    for nproc in args.nproc:
        chosen = {"repetitions": args.repetitions, "nproc": nproc}
        if args.soak == "crowd":
            soak_crowd(folder, inputs, **chosen)
        else:
            rng = random.Random(args.seed + nproc)
            {"kills": soak_kills, "disk": soak_disk}[args.soak](folder, inputs, **chosen, rng=rng)


if __name__ == "__main__":
    main()
