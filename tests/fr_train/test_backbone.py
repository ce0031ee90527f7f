"""IResNet equals the official network in entry names and values; weight files load into the right network."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from paths import GOLDEN
from safetensors.torch import save_file

from bench.config.recipe import Backbone
from bench.errors import InputError
from fr_train.backbone import iresnet
from fr_train.checkpoint import load_backbone, save_backbone

sys.path.insert(0, str(GOLDEN))
from fill import fill_

NETWORKS = [("iresnet18_normal", 18, False), ("iresnet50_normal", 50, False), ("iresnet50_se", 50, True)]
NETWORKS += [pytest.param("iresnet100_normal", 100, False, marks=pytest.mark.slow)]


@pytest.mark.parametrize(("name", "depth", "se"), NETWORKS)
def test_parity_with_the_official_network(name, depth, se):
    network = iresnet(depth, se=se)
    names = [[key, list(value.shape)] for key, value in network.state_dict().items()]
    expected = json.loads((GOLDEN / f"{name}.keys.json").read_text())
    assert names == [[entry[0], entry[1]] for entry in expected]
    golden = np.load(GOLDEN / f"{name}.npz")
    fill_(network).eval()
    with torch.inference_mode():
        images = torch.from_numpy(golden["image"])
        for faces in (images, images.contiguous(memory_format=torch.channels_last)):
            difference = np.abs(network(faces).numpy() - golden["embedding"]).max()
            assert difference < 1e-4 * np.abs(golden["embedding"]).max()


def test_channels_last_trains_with_the_same_gradients():
    generator, gradients = torch.Generator().manual_seed(0), []
    faces, cotangent = torch.randn(4, 3, 112, 112, generator=generator), torch.randn(4, 32, generator=generator)
    for layout in (torch.contiguous_format, torch.channels_last):
        network = fill_(iresnet(18, width=16, embedding_dim=32)).train().to(memory_format=layout)
        (network(faces.contiguous(memory_format=layout)) * cotangent).sum().backward()
        gradients.append({name: p.grad for name, p in network.named_parameters() if p.grad is not None})
    for name, gradient in gradients[0].items():
        assert (gradient - gradients[1][name]).abs().max() <= 1e-2 * gradient.abs().max() + 1e-3, name


def test_the_last_norm_keeps_its_weight():
    assert not iresnet(18, width=4).features.weight.requires_grad


def test_depth_200_is_200():
    network = iresnet(200, width=1)
    blocks = sum(len(stage) for stage in (network.layer1, network.layer2, network.layer3, network.layer4))
    assert 2 * blocks + 4 == 200


@pytest.mark.parametrize("arguments", [{"depth": 51}, {"depth": 50, "se": "sideways"}])
def test_unknown_settings_are_refused(arguments):
    with pytest.raises(InputError, match=r"choose from"):
        iresnet(**arguments)


def small(**settings):
    return Backbone.model_validate({"depth": 18, "width": 4, "embedding_dim": 16} | settings)


def test_our_file_round_trip(tmp_path):
    network = fill_(iresnet(18, se="standard", width=4, embedding_dim=16))
    save_backbone(tmp_path / "m.safetensors", network, small(se="standard"))
    loaded = load_backbone(tmp_path / "m.safetensors")
    assert not loaded.training
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)


@pytest.mark.parametrize(("depth", "se"), [(18, "none"), (34, "shortcut"), (18, "standard")])
def test_a_released_file_loads_from_its_entries(tmp_path, depth, se):
    network = fill_(iresnet(depth, se=se, width=4, embedding_dim=16))
    torch.save({f"module.{name}": value for name, value in network.state_dict().items()}, tmp_path / "m.pth")
    faces = torch.zeros(2, 3, 112, 112)
    assert torch.equal(load_backbone(tmp_path / "m.pth")(faces), network.eval()(faces))


def test_another_architecture_names_the_first_difference(tmp_path):
    network = iresnet(18, width=4, embedding_dim=16)
    save_backbone(tmp_path / "m.safetensors", network, small(depth=34))
    with pytest.raises(InputError, match=r"m\.safetensors holds another architecture .*missing, first layer1\.2\.bn1"):
        load_backbone(tmp_path / "m.safetensors")
    save_backbone(tmp_path / "m.safetensors", network, small(width=8))
    with pytest.raises(
        InputError, match=r"of another shape, first conv1\.weight is \(4, 3, 3, 3\), not \(8, 3, 3, 3\)"
    ):
        load_backbone(tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"head": torch.zeros(1)},
            r"looked for conv1.weight, .*, found stages of \(0, 0, 0, 0\) blocks, first entries head",
        ),
        ([1, 2], r"holds no state dict of tensors"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "m.pth")
    with pytest.raises(InputError, match=message):
        load_backbone(tmp_path / "m.pth")


class CreatesFile:
    """Creates a file when it is unpickled without restrictions."""

    def __reduce__(self):
        return (Path.touch, (Path("/tmp/must_not_exist_hsface_bench"),))


def test_a_file_that_would_run_code_is_refused_without_running_it(tmp_path):
    torch.save({"conv1.weight": CreatesFile()}, tmp_path / "m.pth")
    with pytest.raises(InputError, match=r"m\.pth is not a whole file of tensors"):
        load_backbone(tmp_path / "m.pth")
    assert not Path("/tmp/must_not_exist_hsface_bench").exists()


def test_broken_and_missing_files_are_named(tmp_path):
    (tmp_path / "m.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"m\.safetensors is not a whole safetensors file"):
        load_backbone(tmp_path / "m.safetensors")
    with pytest.raises(InputError, match=r"gone\.pth does not exist"):
        load_backbone(tmp_path / "gone.pth")


def wrapped(state, kind):
    """A state dict as other programs save it."""
    prefixes = {
        "Lightning": "model.",
        "MagFace": "features.module.",
        "compiled": "_orig_mod.module.",
        "encoder": "net.encoder.",
    }
    if kind in prefixes:
        return {f"{prefixes[kind]}{name}": value for name, value in state.items()}
    return {
        "arcface_torch": {"epoch": 1, "state_dict_backbone": state, "state_optimizer": {"state": {}}},
        "model": {"model": state, "lr": 0.1},
        "nested": {"state": {"state_dict": {f"module.{name}": value for name, value in state.items()}}},
        "without counters": {name: value for name, value in state.items() if "num_batches" not in name},
        "head": state | {"head.weight": torch.zeros(9, 16), "head.t": torch.zeros(1)},
        "beside numbers": {"epoch": 3, **state},
    }[kind]


@pytest.mark.parametrize(
    "kind",
    [
        *("Lightning", "compiled", "encoder", "arcface_torch", "model", "nested"),
        *("without counters", "head", "beside numbers"),
    ],
)
def test_checkpoints_of_other_programs_load(tmp_path, kind, capsys):
    network = fill_(iresnet(18, width=4, embedding_dim=16)).eval()
    state = network.state_dict()
    torch.save(wrapped(state, kind), tmp_path / "m.pth")
    loaded = load_backbone(tmp_path / "m.pth").state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], state[name]) for name in state if "num_batches" not in name)
    assert ("beside the backbone are left out" in capsys.readouterr().err) == ("head" in kind)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: {"a": state, "b": state}, "holds 2 networks; save the state dict of one"),
        (lambda state: wrapped(state, "Lightning") | wrapped(state, "MagFace"), r"holds 2 networks \(model"),
        (lambda state: state | {"conv9.weight": torch.zeros(3, 3)}, "1 entries unexpected, first conv9.weight"),
        (lambda state: state | {"fc.weight": torch.zeros(1, 1).expand(2**20, 2**20)}, "its tensors claim"),
    ],
)
def test_checkpoints_that_leave_a_doubt_are_refused(tmp_path, change, message):
    torch.save(change(iresnet(18, width=4, embedding_dim=16).state_dict()), tmp_path / "m.pth")
    with pytest.raises(InputError, match=message):
        load_backbone(tmp_path / "m.pth")


@pytest.mark.parametrize("text", ["iresnet18", "{", "[]", '{"depth": 51}', "[" * 10_000, '{"width": 2147483647}'])
def test_metadata_of_others_is_named(tmp_path, text):
    weights = iresnet(18, width=4, embedding_dim=16).state_dict()
    save_file(weights, tmp_path / "m.safetensors", metadata={"backbone": text})
    with pytest.raises(InputError, match=r"no backbone settings in its metadata|but its settings describe"):
        load_backbone(tmp_path / "m.safetensors")


@pytest.mark.parametrize("name", ["m.pth", "m.safetensors"])
def test_a_folder_is_no_network(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match=r"is no file; give a \.safetensors, \.pth or \.ckpt file"):
        load_backbone(tmp_path / name)


def test_depth_152_has_the_blocks_of_the_field():
    with torch.device("meta"):
        network = iresnet(152)
    assert [len(network.get_submodule(f"layer{stage}")) for stage in (1, 2, 3, 4)] == [3, 8, 36, 3]
