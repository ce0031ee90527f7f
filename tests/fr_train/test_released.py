"""Networks of AdaFace, MagFace and CVLface give the features of their authors' code, whatever file they came in.

golden/released/networks.npz: features of two RGB faces by the code of mk-minchul/AdaFace @c60eaa7, mk-minchul/CVLface
@d3d09c9 and IrvingMeng/MagFace @99bae61 in float64, each with its own channel order and range; keys.json: the entries.
"""

import argparse
import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from paths import GOLDEN
from safetensors.torch import save_file
from torch.nn import functional as F

from bench.errors import InputError
from bench.faces.pixels import to_network_input
from fr_train.backbone import iresnet
from fr_train.checkpoint import load_backbone, read_backbone
from fr_train.export.files import export

sys.path.insert(0, str(GOLDEN))
from fill import fill_, ir_value, small_variance_value

KEYS = json.loads((GOLDEN / "released" / "keys.json").read_text())
FEATURES = np.load(GOLDEN / "released" / "networks.npz")
SMALL_IR = "adaface_ir18"


def released_state(name, width=64, embedding_dim=512):
    """Entries of a released network, filled by the rule; narrower than released for quick tests."""

    def scaled(shape, entry):
        if entry.startswith(("output_layer.3", "output_layer.4", "fc.", "features.")):
            return [embedding_dim, *([shape[1] * width // 64] if len(shape) == 2 else [])] if shape else []
        return [size if size in (1, 3) else size * width // 64 for size in shape]

    rule = small_variance_value if name.startswith("mag") else ir_value
    state = {entry: torch.zeros(scaled(shape, entry)) for entry, shape in KEYS[name]}
    for entry, tensor in state.items():
        if entry.endswith("num_batches_tracked"):
            state[entry] = torch.tensor(5)
        else:
            state[entry] = torch.from_numpy(np.asarray(rule(entry, tuple(tensor.shape))))
    return state


def under(prefix, state):
    return {f"{prefix}{name}": value for name, value in state.items()}


def save_adaface(path, state):
    """As Lightning 1.4 does: callbacks by their class, settings as a dictionary."""
    head = {"head.kernel": torch.zeros(512, 9), "head.t": torch.zeros(1), "head.batch_mean": torch.ones(1)}
    content = {
        "epoch": 25,
        "global_step": 100,
        "pytorch-lightning_version": "1.4.4",
        "state_dict": under("model.", state) | head,
        "optimizer_states": [{"state": {0: {"momentum_buffer": torch.zeros(2)}}}],
        "hyper_parameters": {"arch": "ir_50", "lr_milestones": [12, 20]},
    }
    torch.save(content, path)


def save_magface(path, state):
    content = {
        "epoch": 25,
        "arch": "iresnet100",
        "state_dict": under("features.module.", state) | {"fc.weight": torch.zeros(512, 9)},
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]},
    }
    torch.save(content, path)


def save_cvlface(path, state, channels=None):
    save_file(under("model.net.", state), path, metadata={"format": "pt"})
    if channels:
        settings = {"architectures": ["CVLFaceRecognitionModel"], "conf": {"color_space": channels, "name": "ir50"}}
        path.with_name("config.json").write_text(json.dumps(settings))


CASES = [
    ("adaface_ir18", save_adaface, "adaface.ckpt"),
    ("adaface_ir_se50", save_adaface, "adaface.ckpt"),
    ("cvlface_ir50", save_cvlface, "model.safetensors"),
    ("magface_iresnet18", save_magface, "magface.pth"),
]


def features_of(network, images):
    with torch.inference_mode():
        return network(to_network_input(np.ascontiguousarray(images), "cpu")).numpy()


def assert_close(features, expected):
    assert np.abs(features - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "save", "file"), CASES)
def test_features_equal_those_of_the_authors_code(tmp_path, name, save, file):
    save(tmp_path / file, released_state(name))
    assert_close(features_of(load_backbone(tmp_path / file), FEATURES["faces"]), FEATURES[name])


def small_faces():
    return np.random.default_rng(3).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)


def small_state(name=SMALL_IR):
    return released_state(name, width=8, embedding_dim=16)


def slow_ir(state, x):
    """An IR-18 written out: names and operations of AdaFace's ``net.py``, one line each."""

    def norm(x, name):
        weight, bias = state.get(f"{name}.weight"), state.get(f"{name}.bias")
        return F.batch_norm(x, state[f"{name}.running_mean"], state[f"{name}.running_var"], weight, bias, eps=1e-5)

    x = F.conv2d(x, state["input_layer.0.weight"], padding=1)
    x = F.prelu(norm(x, "input_layer.1"), state["input_layer.2.weight"])
    for i in range(8):
        stride, residual = 1 + (i % 2 == 0), f"body.{i}.res_layer"
        y = F.conv2d(norm(x, f"{residual}.0"), state[f"{residual}.1.weight"], padding=1)
        y = F.prelu(norm(y, f"{residual}.2"), state[f"{residual}.3.weight"])
        y = norm(F.conv2d(y, state[f"{residual}.4.weight"], stride=stride, padding=1), f"{residual}.5")
        shortcut = x[:, :, ::stride, ::stride]
        if i in (2, 4, 6):
            shortcut = F.conv2d(shortcut, state[f"body.{i}.shortcut_layer.0.weight"])
            shortcut = norm(shortcut, f"body.{i}.shortcut_layer.1")
        x = y + shortcut
    x = F.linear(norm(x, "output_layer.0").flatten(1), state["output_layer.3.weight"], state["output_layer.3.bias"])
    return norm(x, "output_layer.4")


def test_adaface_equals_its_slow_form(tmp_path):
    state = small_state()
    save_adaface(tmp_path / "a.ckpt", state)
    bgr = torch.from_numpy(small_faces()[..., ::-1].transpose(0, 3, 1, 2).copy()).double() / 127.5 - 1
    expected = slow_ir({name: value.double() for name, value in state.items()}, bgr).numpy()
    assert_close(features_of(load_backbone(tmp_path / "a.ckpt"), small_faces()), expected)


def test_adaface_takes_bgr_and_cvlface_rgb(tmp_path, capsys):
    save_adaface(tmp_path / "adaface.ckpt", small_state())
    save_cvlface(tmp_path / "cvlface.safetensors", small_state())
    adaface, cvlface = (load_backbone(tmp_path / name) for name in ("adaface.ckpt", "cvlface.safetensors"))
    assert "RGB is assumed" in capsys.readouterr().err
    faces = small_faces()
    assert_close(features_of(adaface, faces), features_of(cvlface, faces[..., ::-1]))
    assert np.abs(features_of(adaface, faces) - features_of(cvlface, faces)).max() > 0.01


@pytest.mark.parametrize("channels", ["RGB", "BGR"])
def test_cvlface_takes_the_channels_of_its_configuration(tmp_path, channels):
    """In config.json beside a file of the Hub, or in NAME.yaml beside a NAME.pt of its trainer."""
    faces = small_faces()[..., :: -1 if channels == "BGR" else 1]
    for folder in ("plain", "hub", "trained"):
        (tmp_path / folder).mkdir()
    save_cvlface(tmp_path / "plain" / "model.safetensors", small_state())
    expected = features_of(load_backbone(tmp_path / "plain" / "model.safetensors"), faces)
    save_cvlface(tmp_path / "hub" / "model.safetensors", small_state(), channels)
    torch.save(under("net.", small_state()), tmp_path / "trained" / "model.pt")
    (tmp_path / "trained" / "model.yaml").write_text(f"color_space: '{channels}'\nname: ir18\n")
    for path in (tmp_path / "hub" / "model.safetensors", tmp_path / "trained" / "model.pt"):
        assert_close(features_of(load_backbone(path), small_faces()), expected)


def test_cvlface_s_insightface_layout_loads(tmp_path):
    network = fill_(iresnet(18, width=4, embedding_dim=16)).eval()
    save_cvlface(tmp_path / "model.safetensors", network.state_dict(), "RGB")
    faces = small_faces()
    loaded = load_backbone(tmp_path / "model.safetensors")
    assert np.array_equal(features_of(loaded, faces), features_of(network, faces))


def test_magface_sees_the_pixels_of_its_authors(tmp_path):
    """The slow form: BGR in 0..1 through a plain IResNet whose batch norms have MagFace's epsilon."""
    state = small_state("magface_iresnet18")
    save_magface(tmp_path / "m.pth", state)
    plain = iresnet(18, width=8, embedding_dim=16).eval()
    plain.load_state_dict(state)
    for module in plain.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.eps = 2e-5
    pixels = torch.from_numpy(small_faces()[..., ::-1].transpose(0, 3, 1, 2).copy()).float() / 255
    with torch.inference_mode():
        expected = plain(pixels).numpy()
    assert_close(features_of(load_backbone(tmp_path / "m.pth"), small_faces()), expected)


@pytest.mark.parametrize(("name", "save", "file"), [CASES[0], CASES[3]])
def test_a_released_network_survives_export(tmp_path, name, save, file):
    save(tmp_path / file, small_state(name))
    export(tmp_path / file, tmp_path, ["safetensors"])
    faces = small_faces()
    expected = features_of(load_backbone(tmp_path / file), faces)
    assert np.array_equal(features_of(load_backbone(tmp_path / "model.safetensors"), faces), expected)
    assert read_backbone(tmp_path / file)[1] == read_backbone(tmp_path / "model.safetensors")[1]


class ModelCheckpoint:
    """Named as Lightning's callback in the file."""


class AttributeDict(dict):
    """Named as Lightning's settings in the file."""


def test_objects_of_lightning_are_read_without_lightning(tmp_path, monkeypatch):
    """Callbacks under their class, settings in a class of their own, paths: packages that are not installed here."""
    content = {
        "state_dict": under("model.", small_state()),
        "callbacks": {ModelCheckpoint: {"best_model_score": torch.zeros(1), "dirpath": Path("out")}},
        "hyper_parameters": AttributeDict(arch="ir_18", nested=AttributeDict(a=1)),
        "arguments": argparse.Namespace(lr=0.1),
    }
    modules = {
        ModelCheckpoint: "pytorch_lightning.callbacks.model_checkpoint",
        AttributeDict: "pytorch_lightning.utilities.parsing",
    }
    with monkeypatch.context() as patch:
        for kind, module in modules.items():
            patch.setattr(kind, "__module__", module)
            words = module.split(".")
            for i in range(len(words)):
                patch.setitem(sys.modules, ".".join(words[: i + 1]), argparse.Namespace())
            setattr(sys.modules[module], kind.__name__, kind)
        torch.save(content, tmp_path / "a.ckpt")
    assert "pytorch_lightning" not in sys.modules
    assert len(torch.serialization.get_unsafe_globals_in_checkpoint(tmp_path / "a.ckpt")) == 4
    save_adaface(tmp_path / "b.ckpt", small_state())
    faces = small_faces()
    loaded = features_of(load_backbone(tmp_path / "a.ckpt"), faces)
    assert np.array_equal(loaded, features_of(load_backbone(tmp_path / "b.ckpt"), faces))


class TouchesFile:
    def __reduce__(self):
        return Path.touch, (Path("/tmp/must_not_exist_released"),)


class RunsCode:
    def __reduce__(self):
        return eval, ("open('/tmp/must_not_exist_released', 'w')",)


@pytest.mark.parametrize("value", [TouchesFile(), RunsCode(), pickle.Unpickler])
def test_a_checkpoint_that_would_run_code_is_refused_without_running_it(tmp_path, value):
    content = {"state_dict": under("model.", small_state()), "hyper_parameters": value}
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(InputError, match=r"a\.ckpt (names \S+, which .* may run code|is not a whole file of tensors)"):
        load_backbone(tmp_path / "a.ckpt")
    assert not Path("/tmp/must_not_exist_released").exists()


def without(state, name):
    return {key: value for key, value in state.items() if key != name}


IR_150 = {f"body.{i}.res_layer.0.weight": torch.zeros(4) for i in range(50)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: without(state, "body.3.res_layer.4.weight"), r"1 entries missing, first body\.3\.res_layer\.4"),
        (lambda state: without(state, "output_layer.3.weight"), r"looked for input_layer\.0\.weight, .*output_layer"),
        (
            lambda state: state | {"body.0.res_layer.7.weight": torch.zeros(4)},
            r"1 entries unexpected, first body",
        ),
        (lambda state: state | {"body.3.res_layer.4.weight": torch.zeros(4, 4, 3, 3)}, r"1 entries of another shape"),
        (lambda state: state | {"input_layer.0.weight": torch.zeros(4)}, r"first convolution of shape \(4,\)"),
        (lambda state: state | IR_150, r"no IR network of depth 18, 34, 50 or 101: .*stages of \(2, 2, 2, 44\) blocks"),
    ],
)
def test_an_incomplete_or_other_network_is_named(tmp_path, change, message):
    save_adaface(tmp_path / "a.ckpt", change(small_state()))
    with pytest.raises(InputError, match=message) as error:
        load_backbone(tmp_path / "a.ckpt")
    assert str(error.value).startswith(f"{tmp_path / 'a.ckpt'} ")


@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_an_ir_network_of_unknown_channels_is_refused(tmp_path, prefix):
    torch.save(under(prefix, small_state()), tmp_path / "m.pth")
    with pytest.raises(InputError, match=r"do not tell whether it takes RGB or BGR; .*accepted are .*AdaFace's \.ckpt"):
        load_backbone(tmp_path / "m.pth")


@pytest.mark.parametrize("content", ['{"conf": {"color_space": "GRAY"}}', "[1, 2]", '{"conf": 3}'])
def test_a_configuration_without_channels_is_named(tmp_path, content):
    save_cvlface(tmp_path / "model.safetensors", small_state())
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match=r"config\.json has color_space=.*; give RGB or BGR"):
        load_backbone(tmp_path / "model.safetensors")


def test_other_safetensors_and_broken_checkpoints_are_named(tmp_path):
    save_file({"model.net.patch_embed.proj.weight": torch.zeros(2)}, tmp_path / "vit.safetensors")
    with pytest.raises(InputError, match=r"vit\.safetensors has no backbone settings .*patch_embed.*accepted"):
        load_backbone(tmp_path / "vit.safetensors")
    (tmp_path / "a.ckpt").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"a\.ckpt is not a whole Lightning checkpoint"):
        load_backbone(tmp_path / "a.ckpt")
