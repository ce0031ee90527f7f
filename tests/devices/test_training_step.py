"""One step of every training on a device that is not the CPU: no tensor stays behind."""

import numpy as np
import pytest
import torch
from training import tiny_recipe

from fr_train.trainer.data import Batch
from fr_train.trainer.engine import Engine
from fr_train.trainer.options import RunOptions

NUM_FACES, NUM_IDENTITIES = 8, 10


def make_batch():
    faces = torch.zeros(NUM_FACES, 112, 112, 3, dtype=torch.uint8)
    return Batch(faces, torch.arange(NUM_FACES), np.arange(NUM_FACES), epoch=0)


def take_steps(device, options=None, num_steps=2, **changes):
    engine = Engine(NUM_IDENTITIES, tiny_recipe(**changes), options or RunOptions(), seed=0, device=device)
    for _ in range(num_steps):
        values = engine.update(make_batch(), 0.1)
        assert {value.device.type for value in values.values()} == {"lazy"}
    return engine


def test_iresnet(fake_device):
    engine = take_steps(fake_device)
    assert engine.first_bad_step.device.type == "lazy"
