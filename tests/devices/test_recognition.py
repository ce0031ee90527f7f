"""One step of every recognition training on a device that is not the CPU: no tensor stays behind.

The scaled loss of fp16 cannot run here; ``make check-gpu`` trains with it.
"""

import numpy as np
import pytest
import torch
from training import tiny_recipe

from fr_train.backbone import iresnet
from fr_train.margin import MARGINS
from fr_train.trainer.data import Batch
from fr_train.trainer.engine import Engine
from fr_train.trainer.options import RunOptions

NUM_FACES, NUM_IDENTITIES = 4, 10
ERASING = {"erasing": {"probability": 1.0, "min_area": 0.1, "max_area": 0.2, "min_aspect": 0.5}}


def make_batch():
    faces = torch.zeros(NUM_FACES, 112, 112, 3, dtype=torch.uint8)
    return Batch(faces, torch.arange(NUM_FACES), np.arange(NUM_FACES), epoch=0)


def take_step(device, options=None, **changes):
    recipe = tiny_recipe(**{"batch_size": NUM_FACES} | changes)
    engine = Engine(NUM_IDENTITIES, recipe, options or RunOptions(), seed=0, device=device)
    values = engine.update(make_batch(), 0.1)
    on_devices = {value.device for value in (*values.values(), engine.first_bad_step)}
    assert on_devices == {device}
    return engine


@pytest.fixture
def small_backbone(monkeypatch):
    """A linear backbone in place of a deep one, where a test is about something else."""
    from fr_train.trainer import prepared

    def build(settings):
        pool = torch.nn.AdaptiveAvgPool2d(4)
        return torch.nn.Sequential(pool, torch.nn.Flatten(), torch.nn.Linear(48, settings.embedding_dim))

    monkeypatch.setattr(prepared, "build_backbone", build)


@pytest.mark.parametrize("kind", MARGINS)
def test_every_margin(kind, fake_device, small_backbone):
    take_step(fake_device, margin={"kind": kind, "scale": 16.0})


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": {"kind": "adamw", "lr": 0.001}},
        {"precision": "bf16"},
        {"augmentation": ERASING},
        {"ema_decay": 0.9},
        {"margin": {"scale": 16.0, "sample_rate": 0.5}},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_every_part_of_a_step(changes, fake_device, small_backbone):
    take_step(fake_device, **changes)


def test_micro_batches(fake_device, small_backbone):
    take_step(fake_device, RunOptions(micro_batch=2))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["iresnet", "mobilefacenet", "timm"])
def test_every_backbone(kind, fake_device):
    name = {"name": "resnet18"} if kind == "timm" else {"width": 4}
    take_step(fake_device, backbone={"kind": kind, "embedding_dim": 16, **name})


def test_a_tensor_on_the_cpu_is_found(fake_device):
    backbone = iresnet(18, width=4, embedding_dim=16).to(fake_device)
    with pytest.raises(RuntimeError, match="device"):
        backbone(torch.zeros(2, 3, 112, 112))
