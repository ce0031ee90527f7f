"""A small training set, identity network and recipe, for the tests of the generator's training."""

import torch

from bench.config.recipe import Backbone
from fr_train.backbone import build_backbone
from fr_train.checkpoint import save_backbone
from generate.training.prepared.prepare import Preparation, prepare
from generate.training.recipes import GeneratorRecipe

FEATURE_DIM = 16


def save_network(path, *, feature_dim=FEATURE_DIM, seed=0):
    """Random weights of a small identity network, on disk."""
    settings = Backbone(depth=18, width=4, embedding_dim=feature_dim)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build_backbone(settings)
        for module in network.modules():  # running statistics as after some training, so that features differ
            if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d):
                module.running_mean.normal_(0, 0.1)
    save_backbone(path, network, settings)
    return path


def make_prepared(directory, faces, **settings):
    """A finished training set of ``faces``; returns its folder and the weights of its identity network."""
    weights = save_network(directory / "identity.safetensors")
    prepare(faces, Preparation(identity_weights=weights, **settings), directory / "prepared")
    return directory / "prepared", weights


def tiny_recipe(**changes):
    """A recipe that trains in a second; ``changes`` replace its top-level fields."""
    settings = {
        "name": "tiny",
        "about": "for tests",
        "sizes": {
            "feature_dim": FEATURE_DIM,
            "width": 16,
            "depth": 1,
            "num_heads": 2,
            "decoder_depth": 1,
            "decoder_heads": 2,
            "channels": 4,
            "multipliers": [1, 1, 1, 1, 1],
            "latent_channels": 4,
            "dropout": 0.1,
            "discriminator_widths": [4, 4, 4, 4],
        },
        "losses": {
            "identity": {"weight": 1.0, "start_epoch": 1, "ramp_epochs": 1},
            "adversarial": {"weight": 1.0, "start_epoch": 1},
        },
        "optimizer": {"lr": 0.002},
        "batch_size": 4,
        "epochs": 2,
        "warmup_epochs": 0.5,
        "precision": "float32",
        "ema_decay": 0.9,
        "held_out_identities": 2,
    }
    return GeneratorRecipe.model_validate(settings | changes)
