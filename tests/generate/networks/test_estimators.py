import builtins

import pytest
import torch
from torch import nn

from bench.config.recipe import Backbone
from bench.errors import InputError
from fr_train.backbone import build_backbone
from fr_train.checkpoint import save_backbone
from generate.networks.estimators import (
    SixDRepNet,
    identity_estimator,
    load_estimator,
    quality_estimator,
    yaw_estimator,
)


@pytest.fixture(scope="module")
def backbone_path(tmp_path_factory):
    torch.manual_seed(0)
    settings = Backbone(depth=18, width=8, embedding_dim=16)
    path = tmp_path_factory.mktemp("weights") / "backbone.safetensors"
    save_backbone(path, build_backbone(settings), settings)
    return path


def images(num=2):
    return torch.rand(num, 3, 112, 112, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_quality_is_the_norm_of_the_features(backbone_path):
    features, quality = identity_estimator(backbone_path)(images()), quality_estimator(backbone_path)(images())
    torch.testing.assert_close(quality, features.square().sum(1).sqrt())


def test_estimators_pass_gradients_to_images_and_to_nothing_else(backbone_path):
    x = images().requires_grad_()
    model = quality_estimator(backbone_path)
    model(x).sum().backward()
    assert x.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in model.parameters())


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
    assert model(images(1)).item() == pytest.approx(degrees, abs=1e-3)


def test_yaw_is_finite_and_differentiable_at_ninety_degrees(monkeypatch):
    model = SixDRepNet((4, 4, 4, 4, 4), (1, 1, 1, 1))
    columns = torch.tensor([[0.0, 0, -1, 0, 1, 0]], requires_grad=True)
    monkeypatch.setattr(model, "rotation", lambda _: columns)
    model(images(1)).sum().backward()
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


def test_wrong_pose_weights_are_named(tmp_path):
    torch.save({"conv1.weight": torch.zeros(1), "layer1.0.bn1.weight": torch.zeros(1)}, tmp_path / "x.pth")
    with pytest.raises(InputError, match=r"58 entries missing, first layer0.*looks like an IResNet"):
        yaw_estimator(tmp_path / "x.pth")


class Light(nn.Module):
    def forward(self, x):
        return x.mean((1, 2, 3))


def test_a_torchscript_file_is_an_estimator(tmp_path):
    torch.jit.trace(Light(), images()).save(tmp_path / "light.pt")
    torch.testing.assert_close(load_estimator(tmp_path / "light.pt")(images()), images().mean((1, 2, 3)))


def test_estimator_files_that_do_not_load_say_why(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="does not exist"):
        load_estimator(tmp_path / "none.pt")
    (tmp_path / "bad.pt").write_bytes(b"no")
    with pytest.raises(InputError, match="is not TorchScript"):
        load_estimator(tmp_path / "bad.pt")
    real_import = builtins.__import__

    def without_onnx2torch(name, *args, **kwargs):
        if name == "onnx2torch":
            raise ImportError(name=name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_onnx2torch)
    (tmp_path / "a.onnx").write_bytes(b"no")
    with pytest.raises(InputError, match=r"a\.onnx needs onnx2torch; run"):
        load_estimator(tmp_path / "a.onnx")
