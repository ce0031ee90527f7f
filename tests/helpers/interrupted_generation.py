"""Make one dataset in four ways (one or two processes, undisturbed or killed many times) and compare every byte.

``python tests/helpers/interrupted_generation.py FOLDER [--size tiny|base] [--kills 10]`` runs the commands of the
Makefile with weights filled by the rule of tests/golden/fill.py and prints what happened. With ``--scale v20k`` most
images are drawn by landmark pictures, with a filled pose model. It is not a test itself:
tests/generate/draw/test_interrupted.py calls it with few kills.
"""

import argparse
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import yaml
from paths import GOLDEN, ROOT

from bench.config.benchmarks import BENCHMARKS_PATH
from bench.config.recipe import Backbone
from bench.files import sha256
from fr_train.backbone import build_backbone
from fr_train.checkpoint import save_backbone
from generate.networks.plus.condition import PoseNetwork
from generate.networks.plus.lora import add_lora
from generate.networks.plus.pose_weights import save_pose_model
from generate.networks.yaw import YawNetwork, save_yaw_network
from generate.vec2face import Architecture, Vec2Face, save_generator

sys.path.insert(0, str(GOLDEN))
from fill import fill_
from fill_plus import value as plus_value

SIZES = {
    "tiny": Architecture(512, 32, 1, 2, 1, 2, 32, (1, 1, 1, 1, 1), 8),
    "wide": Architecture(depth=1, decoder_depth=1),  # as wide as base: its sums depend on the number of threads
    "base": Architecture(),
}
EQUAL_FILES = {"faces.lmdb", "faces.parquet", "grid.png"}
OTHER_FILES = {".lock", "README.md", "croissant.json", "dataset.json"}


def write_inputs(folder, *, size, scale="10k", **fields):
    """Write filled weights and a file of benchmarks with the entry ``filled``, which is made from that of ``scale``.

    ``fields`` are settings of the generator in place of those of ``scale``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    generator = fill_(Vec2Face(SIZES[size]))
    save_generator(generator, folder / "generator.safetensors")
    settings = Backbone(depth=18, width=8)
    for name in ("identity", "quality"):
        save_backbone(folder / f"{name}.safetensors", fill_(build_backbone(settings)), settings)
    document = yaml.safe_load(BENCHMARKS_PATH.read_text())
    document["benchmarks"] = {"filled": document["benchmarks"][scale]}
    document["benchmarks"]["filled"]["generator"] |= {
        "generator_weights": "generator.safetensors",
        "identity_weights": "identity.safetensors",
        "quality_weights": "quality.safetensors",
        "max_cosine": 0.99999,  # untrained networks hardly distinguish people
        "attributes": {"pose_share": 0, "max_steps": 1},
        "batch_size": 8,
    }
    if scale.startswith("v"):
        add_lora(generator)
        save_pose_model(
            folder / "pose.safetensors", fill_(generator, plus_value), fill_(PoseNetwork(SIZES[size].width))
        )
        save_yaw_network(fill_(YawNetwork()), folder / "yaw.safetensors")
        poses = document["benchmarks"]["filled"]["generator"]["pose"]
        document["benchmarks"]["filled"]["generator"] |= {
            "pose": poses | {"share": 0.67, "weights": "pose.safetensors"},
            "pose_weights": "yaw.safetensors",
        }
    document["benchmarks"]["filled"]["generator"] |= fields
    (folder / "benchmarks.yaml").write_text(yaml.safe_dump(document))


def command(inputs, runs, num_processes):
    """The command line that ``make generate NPROC=num_processes`` runs."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={num_processes}"]
    flags = ["--scale", "filled", "--config", inputs / "benchmarks.yaml", "--weights", inputs, "--runs", runs]
    parts = [sys.executable, *(launcher if num_processes > 1 else []), "-m", "generate", *flags, "--device", "cpu"]
    return [str(part) for part in parts]


def say(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def start(line, log):
    """Start a command whose output is appended to a log."""
    environment = {
        name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"
    }  # torchrun sets its own
    with log.open("a") as file:
        file.write(f"$ {shlex.join(line)}\n")
        file.flush()
        return subprocess.Popen(line, cwd=ROOT, env=environment, stdout=file, stderr=file)


def kill(process, rng):
    """Kill -9 the whole process tree, or one of its workers only, whereupon the launcher ends the others."""
    with suppress(psutil.NoSuchProcess):
        tree = psutil.Process(process.pid).children(recursive=True)
        victims = [rng.choice(tree)] if tree and rng.random() < 0.5 else [psutil.Process(process.pid), *tree]
        for victim in victims:
            with suppress(psutil.NoSuchProcess):
                os.kill(victim.pid, signal.SIGKILL)
        process.wait(120)
        psutil.wait_procs(tree, 120)


def files_in(runs):
    """Files among the shards of the dataset, without temporary ones."""
    return {path for path in runs.glob("filled/faces/*/parts/*") if not path.name.startswith(".")}


def run_killed(line, runs, log, *, kills, rng):
    """Start and kill a command several times; each start may finish some shards.

    Returns:
        How many kills hit a running process.
    """
    hits = 0
    for number in range(kills):
        before, num_new = len(files_in(runs)), rng.randint(0, 4)
        process = start(line, log)
        while process.poll() is None and len(files_in(runs)) < before + num_new:
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 0.5 if num_new else 8))
        is_running = process.poll() is None
        kill(process, rng)
        hits += is_running
        say(f"  kill {number + 1}: {before} -> {len(files_in(runs))} files in parts{'' if is_running else ', ended'}")
    return hits


def make_four(folder, *, kills, seed=0, processes=(1, 2), **inputs):
    """Make the dataset in four ways, or in two for one number of processes.

    Returns:
        Name -> (folder of the dataset, kills that hit a running process).
    """
    write_inputs(folder / "inputs", **inputs)
    datasets = {}
    for num_processes in processes:
        for killed in (False, True):
            name = f"{num_processes} processes, {f'killed {kills} times' if killed else 'undisturbed'}"
            runs, log = folder / f"{num_processes}-{killed}", folder / f"{num_processes}-{killed}.log"
            line = command(folder / "inputs", runs, num_processes)
            begin = time.perf_counter()
            rng = random.Random(seed + num_processes)
            say(name)
            hits = run_killed(line, runs, log, kills=kills, rng=rng) if killed else 0
            status = start(line, log).wait()
            assert status == 0, f"{name}: status {status}\n{log.read_text()[-3000:]}"
            (directory,) = runs.glob("filled/faces/*")
            datasets[name] = (directory, hits)
            digest = sha256(directory / "faces.lmdb")
            say(f"  {time.perf_counter() - begin:.0f} s, faces.lmdb {digest[:16]}")
    return datasets


def check_equal(datasets, *more_files):
    """Check that all datasets hold the same bytes, also of ``more_files``, and that no other files lie beside them."""
    equal_files = EQUAL_FILES | set(more_files)
    (first, _), *others = datasets.values()
    for directory, _ in others:
        for name in equal_files:
            assert (directory / name).read_bytes() == (first / name).read_bytes(), f"{directory}: {name}"
    for directory, _ in datasets.values():
        assert {path.name for path in directory.iterdir()} == equal_files | OTHER_FILES, sorted(directory.iterdir())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--identities", type=int, default=64)
    parser.add_argument("--images", type=int, default=3)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--scale", choices=("10k", "v20k"), default="10k")
    parser.add_argument("--processes", type=int, nargs="+", default=(1, 2))
    parser.add_argument("--per-shard", type=int, default=4, help="identities per shard")
    args = parser.parse_args()
    counts = {"num_identities": args.identities, "images_per_identity": args.images}
    counts |= {"identities_per_shard": args.per_shard, "scale": args.scale, "processes": args.processes}
    datasets = make_four(args.folder, kills=args.kills, size=args.size, **counts)
    check_equal(datasets)
    say(f"equal bytes; kills that hit a running process: {[hits for _, hits in datasets.values()]}")


if __name__ == "__main__":
    main()
