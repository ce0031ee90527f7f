"""One step of every training of a generator, and its measurements, on a device that is not the CPU."""

import pytest
import torch
from generator_training import FEATURE_DIM, tiny_pose_recipe, tiny_recipe
from torch import nn

from generate.networks.identity import IdentityNetwork
from generate.training.data import Batch
from generate.training.held_out import HeldOut
from generate.training.losses import LossTerms
from generate.training.pose.data import PoseBatch
from generate.training.pose.state import PoseState
from generate.training.state import TrainState, build_generator
from generate.vec2face import NUM_GRID_TOKENS

NUM_FACES = 2


class SmallIdentity(nn.Module):
    """Images -> features, by two convolutions and one linear layer, whose activations the loss compares."""

    def __init__(self):
        super().__init__()
        self.convolutions = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.Conv2d(4, 4, 2, 2))
        self.linear = nn.Linear(4 * 49, FEATURE_DIM)

    def forward(self, images):
        return self.linear(self.convolutions(images).flatten(1))


def make_batch():
    faces = torch.zeros(NUM_FACES, 112, 112, 3, dtype=torch.uint8)
    noise, ratio = torch.zeros(NUM_FACES, NUM_GRID_TOKENS), torch.full((NUM_FACES,), 0.7, dtype=torch.float64)
    return Batch(faces, torch.zeros(NUM_FACES, FEATURE_DIM), noise, ratio)


def make_state(device, tmp_path, **changes):
    recipe = tiny_recipe(**changes)
    terms = LossTerms(
        IdentityNetwork(SmallIdentity()).to(device),
        weights=tmp_path,
        device=device,
        with_ssim=recipe.losses.ssim.weight > 0,
        judged_share=recipe.judged_share,
        judged_views=recipe.judged_views,
    )
    return TrainState(recipe, terms, seed=0, device=device)


@pytest.mark.parametrize(
    "changes",
    [{}, {"precision": "bf16"}, {"judged_share": 0.5, "judged_views": True}, {"ema_decay": None}],
    ids=lambda changes: "-".join(changes) or "as published",
)
def test_a_step_with_every_term_of_the_loss(changes, fake_device, tmp_path):
    pytest.importorskip("pytorch_msssim")
    state = make_state(fake_device, tmp_path, **changes)
    weights = dict.fromkeys(("pixel", "perceptual", "ssim", "token", "identity", "adversarial"), 1.0)
    values = state.update(make_batch(), 0.1, weights)
    assert values.keys() >= weights.keys()
    assert {value.device for value in values.values()} == {fake_device}


def test_measuring_held_out_identities(fake_device, tmp_path):
    state = make_state(fake_device, tmp_path)
    faces, features = torch.zeros(3, 112, 112, 3, dtype=torch.uint8), torch.zeros(3, FEATURE_DIM)
    held_out = HeldOut(faces, features, features, seed=0)
    metrics, _ = held_out.measure(state.trained, state.terms.identity, state.terms.identity)
    assert "held_out/judge_cosine" in metrics


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_step_of_pose_training(precision, fake_device, tmp_path):
    """Generator with LoRA and pose network, with every term of the loss."""
    pytest.importorskip("pytorch_msssim")
    recipe = tiny_pose_recipe(precision=precision)
    identity = IdentityNetwork(SmallIdentity()).to(fake_device)
    terms = LossTerms(identity, weights=tmp_path, device=fake_device, with_ssim=True)
    state = PoseState(recipe, build_generator(tiny_recipe()), terms, seed=0, device=fake_device)
    batch = make_batch()
    pictures = torch.zeros(NUM_FACES, 112, 112, 3, dtype=torch.uint8)
    weights = dict.fromkeys(("pixel", "perceptual", "ssim", "identity"), 1.0)
    values = state.update(PoseBatch(batch, pictures, batch.features), 0.1, weights | {"token": 0.0})
    assert values.keys() >= weights.keys()
    assert {value.device for value in values.values()} == {fake_device}
    gradients = [part.grad for part in state.posed.parameters() if part.requires_grad]
    assert gradients and {gradient.device for gradient in gradients} == {fake_device}
