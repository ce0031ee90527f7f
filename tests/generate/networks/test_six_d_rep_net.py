"""6DRepNet: yaw of known rotations, gradients at 90 degrees, entry names of the released weights."""

import sys

import numpy as np
import pytest
import torch
from paths import GOLDEN

from bench.faces.pixels import to_network_input
from generate.networks.six_d_rep_net import SixDRepNet

sys.path.insert(0, str(GOLDEN))
from fill import fill_

IMAGE = torch.rand(1, 3, 112, 112, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("degrees", [-85.0, -30.0, 0.0, 60.0, 85.0])
def test_yaw_is_the_angle_of_a_rotation_about_the_vertical(degrees, monkeypatch):
    model = SixDRepNet((4, 4, 4, 4, 4), (1, 1, 1, 1))
    angle = torch.deg2rad(torch.tensor(degrees))
    pitch = torch.tensor(0.4)
    turn = torch.tensor([[angle.cos(), 0, angle.sin()], [0, 1, 0], [-angle.sin(), 0, angle.cos()]])
    nod = torch.tensor([[1, 0, 0], [0, pitch.cos(), -pitch.sin()], [0, pitch.sin(), pitch.cos()]])
    matrix = turn @ nod
    columns = torch.cat([3 * matrix[:, 0], matrix[:, 1]])[None]  # the network's columns need not have unit length
    monkeypatch.setattr(model, "rotation", lambda _: columns)
    assert model(IMAGE).item() == pytest.approx(degrees, abs=1e-3)


def test_yaw_is_finite_and_differentiable_at_ninety_degrees(monkeypatch):
    model = SixDRepNet((4, 4, 4, 4, 4), (1, 1, 1, 1))
    columns = torch.tensor([[0.0, 0, -1, 0, 1, 0]], requires_grad=True)
    monkeypatch.setattr(model, "rotation", lambda _: columns)
    model(IMAGE).sum().backward()
    assert torch.isfinite(columns.grad).all()


def test_the_input_of_vec2face_is_bgr_without_resize_mean_or_deviation():
    seen = {}
    for name in ("6drepnet", "vec2face"):
        model = SixDRepNet((4, 4, 4, 4, 4), (1, 1, 1, 1), yaw_input=name)
        model.layer0.register_forward_pre_hook(lambda _, args, name=name: seen.__setitem__(name, args[0]))
        model(IMAGE)
    assert torch.equal(seen["vec2face"], ((IMAGE + 1) / 2)[:, [2, 1, 0]])
    assert seen["6drepnet"].shape == (1, 3, 224, 224)


@pytest.mark.slow
def test_yaw_equals_the_reference_by_either_input():
    with np.load(GOLDEN / "yaw_6drepnet.npz") as arrays:
        images, own, fed = (torch.from_numpy(arrays[name]) for name in ("images", "yaw", "yaw_as_vec2face_feeds_it"))
    model = fill_(SixDRepNet()).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            factor = 6 if name == "linear_reg.weight" else 2**0.5 if name.endswith("rbr_reparam.weight") else 1
            weight.mul_(factor)
        for yaw_input, expected in (("6drepnet", own), ("vec2face", fed)):
            model.yaw_input = yaw_input
            torch.testing.assert_close(model(to_network_input(images)), expected, rtol=0, atol=1e-3)
    assert (own - fed).abs().max() > 5


def test_released_architecture_of_6drepnet():
    with torch.device("meta"):
        model = SixDRepNet()
    state = model.state_dict()
    # as in PyPI sixdrepnet 0.1.6 with deploy=True, with which angles were compared (equal to 4e-6 degrees)
    assert len(state) == 2 * 28 + 2
    assert state["layer1.1.rbr_reparam.weight"].shape == (128, 64, 3, 3)  # every second layer in two groups
    assert state["layer3.15.rbr_reparam.weight"].shape == (512, 256, 3, 3)
    assert state["layer4.0.rbr_reparam.weight"].shape == (2048, 512, 3, 3)
    assert state["linear_reg.weight"].shape == (6, 2048)
