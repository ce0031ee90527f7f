"""A small training set, identity network and recipe, for the tests of the generator's training."""

import numpy as np
import torch
from face_files import make_faces

from bench.config.recipe import Backbone
from bench.faces.face import ARCFACE_TEMPLATE
from bench.machine.resume import CHECKPOINT_NAME
from fr_train.backbone import build_backbone
from fr_train.checkpoint import save_backbone
from generate.training.pose.recipes import PoseRecipe
from generate.training.prepared.prepare import Preparation, prepare
from generate.training.recipes import GeneratorRecipe
from generate.training.state import build_generator
from generate.vec2face import save_generator

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


def face_points(num, seed=0):
    """Landmarks of aligned faces that look to different sides, shape (num, 5, 2)."""
    rng = np.random.default_rng(seed)
    points = np.repeat(ARCFACE_TEMPLATE[None], num, axis=0).astype(np.float64)
    points[:, 2, 0] += rng.uniform(-14, 14, num)
    return points


def make_posed_set(directory, *, num_identities=6, images_per_identity=3):
    """A folder with a training set with landmark pictures, its identity network and a small generator."""
    directory.mkdir(exist_ok=True)
    faces = make_faces(directory, num_identities=num_identities, images_per_identity=images_per_identity)
    np.save(directory / "points.npy", face_points(len(faces)))
    make_prepared(directory, faces, landmarks=directory / "points.npy")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_generator(build_generator(tiny_recipe()), directory / "generator.safetensors")
    return directory


def tiny_pose_recipe(**changes):
    """A recipe that trains a pose model in a second; ``changes`` replace its top-level fields."""
    settings = {
        "name": "tiny",
        "about": "for tests",
        "rank": 2,
        "channels": [4, 4, 4, 4],
        "optimizer": {"lr": 0.01},
        "batch_size": 4,
        "epochs": 2,
        "held_out_identities": 2,
    }
    return PoseRecipe.model_validate(settings | changes)


def checkpoint_state(directory):
    """Content of a training's checkpoint, without the time that its steps took."""
    state = torch.load(directory / CHECKPOINT_NAME, weights_only=True)
    assert state.pop("seconds") > 0
    return state


def die_at_the_fifth_step(monkeypatch, state_class):
    """Raise KeyboardInterrupt once, before the fifth step of a training; returns the list of steps that begin."""
    real, steps = state_class.update, []

    def update(self, *args):
        steps.append(self.step)
        if len(steps) == 5:
            raise KeyboardInterrupt
        return real(self, *args)

    monkeypatch.setattr(state_class, "update", update)
    return steps
