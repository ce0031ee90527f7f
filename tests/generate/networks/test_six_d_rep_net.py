"""6DRepNet: yaw of known rotations, gradients at 90 degrees, entry names of the released weights."""

import pytest
import torch

from generate.networks.six_d_rep_net import SixDRepNet

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
