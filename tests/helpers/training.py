"""Helpers of the training tests: a recipe that takes a second, comparison of weights, runs of several processes."""

import os
import socket

import torch
import torch.multiprocessing as mp
from torch import nn

from bench.config.recipe import Recipe
from fr_train.checkpoint import load_backbone


def tiny_recipe(**changes):
    settings = {
        "backbone": {"depth": 18, "width": 4, "embedding_dim": 16, "dropout": 0.2},
        "margin": {"margin": 0.2, "scale": 16.0},
        "schedule": {"kind": "step", "epochs": 2, "drop_epochs": [2]},
        "batch_size": 8,
        "augmentation": {"crop": 0.3, "low_resolution": 0.3, "photometric": 0.3},
    }
    return Recipe.model_validate(settings | changes)


def weights_of(directory, name="model.safetensors"):
    return {name: tensor.clone() for name, tensor in load_backbone(directory / name).state_dict().items()}


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def freeze_batch_norm(patch):
    """Keep every batch norm in eval mode, as its statistics depend on how a batch is split."""
    patch.setattr(nn.modules.batchnorm._BatchNorm, "train", lambda self, mode=True: nn.Module.train(self, False))


def run_processes(function, world_size, *arguments):
    """Call ``function(*arguments)`` in every process, with the environment variables that torchrun sets."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(_run_rank, args=(port, world_size, function, arguments), nprocs=world_size)


def _run_rank(rank, port, world_size, function, arguments):
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world_size)}
    function(*arguments)
