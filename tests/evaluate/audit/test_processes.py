"""An audit by one, two and three processes of torchrun: the same embeddings and the same figures."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from paths import ROOT
from PIL import Image

from bench.config.recipe import Backbone
from fr_train.checkpoint import save_backbone, untrained_backbone

SIZES = {"mine": 20, "other": 4, "real": 10}
EACH = 7


class Brightness(torch.nn.Module):
    def forward(self, images):
        return images.mean(dim=(1, 2, 3))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Three sets of faces, one of them with a broken file, a recognition network and an estimator of quality."""
    folder = tmp_path_factory.mktemp("inputs")
    for number, (name, num_identities) in enumerate(SIZES.items()):
        for identity in range(num_identities):
            person = folder / name / f"person{identity}"
            person.mkdir(parents=True)
            for image in range(EACH):
                pixels = np.random.default_rng([number, identity, image]).integers(0, 255, (14, 14, 3), dtype=np.uint8)
                Image.fromarray(pixels).resize((112, 112)).save(person / f"{image}.png")
    (folder / "mine" / "person3" / "9.png").write_bytes(b"no image")
    settings = Backbone(kind="iresnet", depth=18, width=4, embedding_dim=16)
    save_backbone(folder / "network.safetensors", untrained_backbone(settings), settings)
    torch.jit.script(Brightness()).save(folder / "quality.pt")
    return folder


def audit(inputs, runs, number, environment):
    torchrun = ["bench.runs.torchrun", "--standalone", f"--nproc-per-node={number}", "-m"] if number > 1 else []
    flags = ["--network", inputs / "network.safetensors", "--quality", inputs / "quality.pt"]
    flags += ["--against", inputs / "other", "--against-real", inputs / "real", "--runs", runs, "--device", "cpu"]
    line = [sys.executable, "-m", *torchrun, "evaluate", "audit", inputs / "mine", *flags]
    return subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_the_number_of_processes_changes_no_figure(inputs, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    environment |= {"BENCH_PROGRESS": "0", "MLFLOW_DISABLE_TELEMETRY": "true"}
    cards, caches = [], []
    for number in (1, 2, 3):
        runs = tmp_path / str(number)
        done = audit(inputs, runs, number, environment)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("report ") == 1
        (path,) = runs.glob("datasets/audits/*/audit.json")
        card = json.loads(path.read_text())
        assert card["cost"]["num_processes"] == number
        for name in ("command", "cost", "created_utc", "environment", "git"):
            card.pop(name, None)
        cards.append(card)
        files = sorted(path for path in runs.glob("embeddings/*/*"))
        caches.append({str(path.relative_to(runs)): path.read_bytes() for path in files})
        assert len(files) == 2 * len(SIZES)
        assert not list(runs.rglob(".*.tmp"))
    assert cards[0] == cards[1] == cards[2]
    assert caches[0] == caches[1] == caches[2]
    again = audit(inputs, tmp_path / "3", 3, environment)
    assert (again.returncode, again.stdout.count("skip, unchanged")) == (0, 1)
