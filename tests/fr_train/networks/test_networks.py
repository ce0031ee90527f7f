"""The networks beside IResNet; and settings of released files, inferred from the names of their entries."""

import json
from pathlib import Path

import pytest
import torch
from paths import GOLDEN

from bench.config.recipe import Backbone
from bench.errors import InputError
from fr_train.backbone import build_backbone
from fr_train.checkpoint import load_backbone, save_backbone
from fr_train.networks.mobilefacenet import MobileFaceNet
from fr_train.released import infer_settings, split_prefix

SMALL = [
    {"kind": "mobilefacenet", "width": 16, "embedding_dim": 32},
    {"kind": "timm", "name": "vit_small_patch16_224", "embedding_dim": 32},
    {"kind": "timm", "name": "mobilenetv3_small_050", "embedding_dim": 32},
    {"kind": "iresnet", "depth": 18, "width": 16, "embedding_dim": 32},
]


@pytest.mark.slow
@pytest.mark.parametrize("settings", SMALL, ids=lambda settings: settings.get("name", settings["kind"]))
def test_every_network_trains_and_reloads(tmp_path, settings):
    settings = Backbone.model_validate(settings)
    torch.manual_seed(0)
    network = build_backbone(settings).train()
    faces = torch.randn(4, 3, 112, 112)
    features = network(faces)
    assert features.shape == (4, 32)
    features.square().sum().backward()
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
    save_backbone(tmp_path / "m.safetensors", network, settings)
    with torch.inference_mode():
        torch.testing.assert_close(load_backbone(tmp_path / "m.safetensors")(faces), network.eval()(faces))


def test_mobilefacenet_has_the_papers_size():
    network = MobileFaceNet(embedding_dim=128)
    num_parameters = sum(parameter.numel() for parameter in network.parameters())
    assert num_parameters == pytest.approx(0.99e6, rel=0.02)
    shapes = []
    for block in network.blocks:
        block.register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape[1:])))
    network.eval()(torch.zeros(1, 3, 112, 112))
    assert shapes == [(64, 28, 28)] * 5 + [(128, 14, 14)] * 7 + [(128, 7, 7)] * 3


def test_a_transformer_sees_the_whole_face():
    network = build_backbone(Backbone(kind="timm", name="vit_small_patch16_224", embedding_dim=8))
    assert network.trunk.patch_embed.num_patches == (112 // 16) ** 2
    assert network.fc.in_features == 384 * (49 + 1)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (None, r"backbone\.kind=timm needs a backbone\.name"),
        ("vit_smal_patch16_224", r"backbone\.name=vit_smal_patch16_224 is no timm model; .*choose from vit_"),
        ("vit_small_patch36_no", r"is no timm model"),
    ],
)
def test_an_unknown_timm_model_is_refused(name, message):
    with pytest.raises(InputError, match=message):
        build_backbone(Backbone(kind="timm", name=name))


@pytest.mark.parametrize("prefix", ["", "module.", "module.backbone.", "_orig_mod.module."])
@pytest.mark.parametrize(
    ("file", "depth", "se"),
    [
        ("iresnet18_normal", 18, "none"),
        ("iresnet50_normal", 50, "none"),
        ("iresnet50_se", 50, "shortcut"),
        ("iresnet100_normal", 100, "none"),
    ],
)
def test_settings_of_released_files_are_inferred_from_their_entries(file, depth, se, prefix):
    entries = json.loads((GOLDEN / f"{file}.keys.json").read_text())
    released = {prefix + entry[0]: torch.empty(entry[1], device="meta") for entry in entries}
    found, weights = split_prefix(released, Path("released.pth"))
    settings, _ = infer_settings(weights, Path("released.pth"))
    assert found == prefix
    assert (settings.depth, settings.se, settings.width, settings.embedding_dim) == (depth, se, 64, 512)
    with torch.device("meta"):
        ours = {name: list(value.shape) for name, value in build_backbone(settings).state_dict().items()}
    assert ours == {entry[0]: entry[1] for entry in entries}
