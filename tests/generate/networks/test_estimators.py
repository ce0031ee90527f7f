"""Estimators: differentiable in the images alone; files that do not load say why."""

import builtins

import numpy as np
import pytest
import torch
from torch import nn

from bench.config.recipe import Backbone
from bench.errors import InputError
from evaluate.measure.embed import load_network
from fr_train.backbone import build_backbone
from fr_train.checkpoint import save_backbone
from generate.networks.estimators import (
    SharedFeatures,
    identity_and_quality,
    identity_estimator,
    load_estimator,
    quality_estimator,
    yaw_estimator,
)
from generate.networks.identity import load_onnx


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


@pytest.mark.parametrize("circumstances", [0, 3])
def test_two_estimators_of_one_file_share_its_features(backbone_path, circumstances):
    apart = (
        identity_estimator(backbone_path, circumstances=circumstances),
        quality_estimator(backbone_path),
    )
    shared = identity_and_quality(backbone_path, backbone_path, circumstances=circumstances)
    values, gradients = [], []
    for identity, quality in (apart, shared):
        x = images().requires_grad_()
        found = identity(x), quality(x)
        (found[0].sum() + found[1].sum()).backward()
        values.append(found)
        gradients.append(x.grad)
    assert torch.equal(values[0][0], values[1][0]) and torch.equal(values[0][1], values[1][1])
    torch.testing.assert_close(*gradients)
    calls = []
    backbone = next(module for module in shared[1].modules() if type(module) is SharedFeatures).network
    backbone.register_forward_hook(lambda module, inputs, output: calls.append(inputs))
    shared[0](x), shared[1](x)
    assert len(calls) == 1
    assert not any(module.training for model in shared for module in model.modules())


def test_two_files_share_nothing(backbone_path, tmp_path):
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(backbone_path.read_bytes())
    identity, quality = identity_and_quality(backbone_path, copy)
    assert not [module for model in (identity, quality) for module in model.modules() if type(module) is SharedFeatures]


def test_features_are_shared_once_and_for_one_tensor_in_one_mode():
    calls = []
    network = SharedFeatures(nn.Identity())
    network.network.register_forward_hook(lambda module, inputs, output: calls.append(inputs[0]))
    first, second = images(), images()
    assert torch.equal(network(first), network(first)) and len(calls) == 1
    network(first)
    assert len(calls) == 2  # the pair is over
    network(second)
    assert len(calls) == 3  # an equal tensor is another one
    with torch.no_grad():
        network(second)
    assert len(calls) == 4


def test_wrong_pose_weights_are_named(tmp_path):
    torch.save({"conv1.weight": torch.zeros(1), "layer1.0.bn1.weight": torch.zeros(1)}, tmp_path / "x.pth")
    with pytest.raises(InputError, match=r"58 entries missing, first layer0.*looks like an IResNet"):
        yaw_estimator(tmp_path / "x.pth")


def test_only_6drepnet_has_another_input(tmp_path):
    with pytest.raises(
        InputError, match=r"yaw_input=vec2face applies to 6DRepNet only, but .*yaw.safetensors is another"
    ):
        yaw_estimator(tmp_path / "yaw.safetensors", yaw_input="vec2face")


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


def test_an_onnx_network_that_does_not_run_on_a_face_says_why(tmp_path, capfd):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnx2torch")
    shapes = {"images": [1, 3, 112, 112], "features": [1, 3]}
    values = [onnx.helper.make_tensor_value_info(name, 1, shape) for name, shape in shapes.items()]
    nodes = [onnx.helper.make_node("Flatten", ["images"], ["features"], axis=70)]
    graph = onnx.helper.make_graph(nodes, "broken", values[:1], values[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(InputError, match=r"a\.onnx is not an ONNX model of faces .* that onnx2torch can run \(.*range"):
        identity_estimator(tmp_path / "a.onnx")
    with pytest.raises(InputError, match=r"a\.onnx is not a complete ONNX model"):
        load_network(tmp_path / "a.onnx")
    assert capfd.readouterr().out == "", "onnxruntime prints what it tries next, if that is not switched off"


def test_an_onnx_network_with_batch_norm_gives_onnxruntimes_features(tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnx2torch")
    onnxruntime = pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(0)
    helper, shapes = onnx.helper, {"images": [1, 3, 112, 112], "features": [1, 3]}
    values = [helper.make_tensor_value_info(name, 1, shape) for name, shape in shapes.items()]
    statistics = {"scale": rng.normal(size=3), "bias": rng.normal(size=3), "mean": rng.normal(size=3), "var": [2, 3, 4]}
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["means"]),  # (B, 3, 1, 1), as in MobileFaceNet
        helper.make_node("BatchNormalization", ["means", *statistics], ["normalised"]),
        helper.make_node("Flatten", ["normalised"], ["features"]),
    ]
    weights = [onnx.numpy_helper.from_array(np.array(of, np.float32), name) for name, of in statistics.items()]
    graph = helper.make_graph(nodes, "norm", values[:1], values[1:], initializer=weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "a.onnx")
    faces = rng.normal(size=(1, 3, 112, 112)).astype(np.float32)
    (wanted,) = onnxruntime.InferenceSession(tmp_path / "a.onnx").run(None, {"images": faces})
    network = load_onnx(tmp_path / "a.onnx")
    torch.testing.assert_close(
        network(torch.from_numpy(faces)).detach(), torch.from_numpy(wanted), rtol=1e-5, atol=1e-6
    )
