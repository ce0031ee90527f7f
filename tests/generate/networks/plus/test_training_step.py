"""Losses and gradients of a batch of pose training equal the reference in float64, with small networks.

The golden file ``vec2face_plus_small.npz`` was computed by the code of ``HaiyuWu/Vec2Face_plus`` at 7aea100, with
weights by the rule of ``fill_plus.py``. Its group norm has 4 groups at these widths in place of 32.
"""

import sys

import numpy as np
import pytest
import torch
from paths import GOLDEN

from fr_train.backbone import iresnet
from generate.networks.plus.condition import PoseNetwork
from generate.networks.plus.lora import add_lora
from generate.vec2face import Architecture, Vec2Face

sys.path.insert(0, str(GOLDEN))
from fill import fill_
from fill_plus import value as plus_value

SIZE = Architecture(32, 64, 2, 4, 2, 4, 16, (1, 1, 1, 1, 2), 16)
SHARED = ("landmark_pictures", "train_picture_of_sample", "train_faces", "train_noise", "train_mask_rate")


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "vec2face_plus_pose.npz") as arrays:
        shared = {name: torch.from_numpy(np.asarray(arrays[name])) for name in (*SHARED, "train_drop_ratio")}
    with np.load(GOLDEN / "vec2face_plus_small.npz") as arrays:
        return shared | {name: torch.from_numpy(np.asarray(arrays[name])) for name in arrays}


def worst(ours, theirs):
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


@pytest.mark.usefixtures("one_thread")
def test_losses_and_gradients_equal_the_reference(golden, train_batch):
    generator = Vec2Face(SIZE)
    trained = add_lora(generator)
    fill_(generator.double(), plus_value).eval()
    network = fill_(PoseNetwork(SIZE.width).double(), plus_value).eval()
    identity = fill_(iresnet(18, embedding_dim=32, width=8).double()).eval()
    for name, loss in train_batch(generator, network, identity, golden).items():
        assert loss == pytest.approx(golden[f"loss_{name}"].item(), rel=1e-6), name
    lora = dict(generator.named_parameters())
    for weight, name in (
        (lora["blocks.0.attn.qkv.A"], "blocks_0_attn_qkv_A"),
        (lora["decoder_blocks.1.attn.proj.B"], "decoder_blocks_1_attn_proj_B"),
        (network.conv1.weight, "pose_conv1_weight"),
        (network.linear.bias, "pose_linear_bias"),
    ):
        assert worst(weight.grad, golden[f"train_grad_{name}"]) < 1e-4, name
    assert all(weight.grad is None for weight in lora.values() if not weight.requires_grad)
    for name, weights in (("lora", trained), ("pose", list(network.parameters()))):
        norm = torch.stack([weight.grad.norm() for weight in weights]).norm().item()
        assert norm == pytest.approx(golden[f"train_grad_norm_{name}"].item(), rel=1e-4)
