"""State dicts of other programs -> settings and weights of our IResNet, for RGB faces.

| program | entries | input |
|---|---|---|
| insightface, HSFace | ``layer1.0.bn1.weight``, behind any wrapper | RGB in [-1, 1] |
| MagFace | ``features.module.layer1.0.bn1.weight`` | BGR in 0..1, and batch norms with another epsilon |
| AdaFace | ``model.body.0.res_layer.0.weight`` | BGR in [-1, 1] |
| CVLface | ``net.body.0.res_layer.0.weight``, ``net.layer1.0.bn1.weight`` | by the configuration beside the file |

AdaFace and CVLface call their network IR. It is an IResNet with other names, except that the shortcut of the first
block takes every second pixel; here that is a 1 x 1 convolution with the identity matrix. BGR is read by reversing the
input channels of the first convolution. Sources: mk-minchul/AdaFace ``net.py`` and ``inference.py``; mk-minchul/CVLface
``models/iresnet``; IrvingMeng/MagFace ``models/iresnet.py`` and ``inference/gen_feat.py``.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from bench.config.recipe import Backbone
from bench.config.yaml_file import read_yaml
from bench.errors import InputError
from bench.machine.progress import note
from fr_train.backbone import BLOCKS, build_backbone

Weights = dict[str, Tensor]

_FIRST_BLOCK, _FIRST_IR_BLOCK = "layer1.0.bn1.weight", "body.0.res_layer.0.weight"
"""An entry of every IResNet, and of every IR. The text before it is the prefix of wrappers, such as ``module.``."""
_PARTS = ("conv1", "bn1", "prelu", "layer1", "layer2", "layer3", "layer4", "bn2", "dropout", "fc", "features")
"""Parts of an IResNet, by the first word of an entry's name."""
_IR_PARTS = {
    "conv1": "input_layer.0",
    "bn1": "input_layer.1",
    "prelu": "input_layer.2",
    "bn2": "output_layer.0",
    "fc": "output_layer.3",
    "features": "output_layer.4",
}
_IR_LAYERS = {
    "bn1": "res_layer.0",
    "conv1": "res_layer.1",
    "bn2": "res_layer.2",
    "prelu": "res_layer.3",
    "conv2": "res_layer.4",
    "bn3": "res_layer.5",
    "se": "res_layer.se_block",
    "downsample": "shortcut_layer",
}
"""Parts of an IResNet, and of its blocks -> their names in an IR."""
_FIRST_SHORTCUT = "layer1.0.downsample."
_EPSILON, _MAGFACE_EPSILON = 1e-5, 2e-5
_COUNTER = "num_batches_tracked"
ACCEPTED = (
    "accepted are files of this suite, an IResNet .pth of insightface or HSFace (layer1.0.bn1.weight), MagFace's .pth "
    "(features.module.layer1...), AdaFace's .ckpt (model.body.0.res_layer...) and CVLface's IR networks "
    "(net.body.0.res_layer... or net.layer1...)"
)


def state_dicts(content: Any, depth: int) -> Iterator[Weights]:
    """Every dictionary of tensors in the content of a file, down to a depth. Other values beside them are left out."""
    if not isinstance(content, dict):
        return
    tensors = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if tensors:
        yield tensors
    if depth > 0:
        for value in content.values():
            yield from state_dicts(value, depth - 1)


def holds_network(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict has the first block of a network of the table above."""
    return any(name.endswith((_FIRST_BLOCK, _FIRST_IR_BLOCK)) for name in state)


def read_released(state: Weights, path: Path) -> tuple[Backbone, Weights]:
    """Settings and weights of the IResNet that a state dict holds.

    Args:
        state: Entries as they stand in the file. Entries outside the network, such as a head's, are left out with a
            note; counters of batch norms may be missing.
        path: The file, for messages and for the configuration that CVLface saves beside it.

    Raises:
        InputError: If the state dict holds no network of the table above, several, or one whose channel order is
            unknown.
    """
    prefix, weights = split_prefix(state, path)
    words = prefix.split(".")[:-1]
    is_ir = _FIRST_IR_BLOCK in weights
    settings, weights = _from_ir(weights, path) if is_ir else infer_settings(weights, path)
    is_magface = not is_ir and {"features", "module"} <= set(words)
    if is_magface:
        settings = settings.model_copy(update={"input_range": "unit"})
        weights = {
            name: value + (_MAGFACE_EPSILON - _EPSILON) if name.endswith(".running_var") else value
            for name, value in weights.items()
        }
    if is_magface or _channels(words, path, is_ir=is_ir) == "BGR":
        weights = weights | {"conv1.weight": weights["conv1.weight"].flip(1)}
    norms = [name.removesuffix("running_var") for name in weights if name.endswith(".running_var")]
    return settings, {f"{norm}{_COUNTER}": torch.tensor(0) for norm in norms} | weights


def split_prefix(state: Weights, path: Path) -> tuple[str, Weights]:
    """The prefix of wrappers, and the network's entries without it; entries outside it (a head's) are left out.

    Raises:
        InputError: If there are several networks.
    """
    prefixes = [
        name.removesuffix(first)
        for first in (_FIRST_BLOCK, _FIRST_IR_BLOCK)
        for name in state
        if name.endswith(first)
    ]  # fmt: skip
    if len(prefixes) > 1:
        raise InputError(f"{path} holds {len(prefixes)} networks ({', '.join(prefixes[:4])}); save one of them")
    prefix = prefixes[0] if prefixes else ""
    _note_left_out([name for name in state if not name.startswith(prefix)], path)
    return prefix, {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def infer_settings(weights: Weights, path: Path) -> tuple[Backbone, Weights]:
    """Settings of the IResNet that a state dict belongs to, and its entries without those of a head.

    Raises:
        InputError: If it is no IResNet of a known depth.
    """
    blocks = tuple(len({name.split(".")[1] for name in weights if name.startswith(f"layer{i}.")}) for i in range(1, 5))
    depth = next((depth for depth, counts in BLOCKS.items() if counts == blocks), None)
    if depth is None or "conv1.weight" not in weights or "fc.weight" not in weights:
        first = ", ".join(list(weights)[:3])
        raise InputError(
            f"{path} is no IResNet: looked for conv1.weight, {_FIRST_BLOCK}, layer1 to layer4 and fc.weight, found "
            f"stages of {blocks} blocks, first entries {first}; {ACCEPTED}"
        )
    se: Literal["none", "shortcut", "standard"] = "none"
    if any(".attn." in name for name in weights):
        se = "shortcut"
    if any(".se." in name for name in weights):
        se = "standard"
    settings = _settings(depth, se, weights["conv1.weight"], weights["fc.weight"], path)
    return settings, _without_head(weights, settings, path)


def _settings(depth: int, se: str, first: Tensor, last: Tensor, path: Path) -> Backbone:
    if first.dim() != 4 or last.dim() != 2:
        raise InputError(
            f"{path} has a first convolution of shape {tuple(first.shape)} and a last layer of shape "
            f"{tuple(last.shape)}, not (width, 3, 3, 3) and (embedding_dim, features); {ACCEPTED}"
        )
    return Backbone.model_validate(
        {"depth": depth, "se": se, "width": first.shape[0], "embedding_dim": last.shape[0]}
    )  # fmt: skip


def _without_head(weights: Weights, settings: Backbone, path: Path) -> Weights:
    """The weights without those of a head: one matrix with a row or column per identity, and single numbers."""
    head = [
        name
        for name, value in weights.items()
        if name.split(".")[0] not in _PARTS
        and (value.numel() == 1 or (value.dim() == 2 and settings.embedding_dim in value.shape))
    ]
    _note_left_out(head, path)
    return {name: value for name, value in weights.items() if name not in head}


def _note_left_out(names: list[str], path: Path) -> None:
    if names:
        note(f"note: {path}: {len(names)} entries beside the backbone are left out, first {names[0]}")


def _from_ir(weights: Weights, path: Path) -> tuple[Backbone, Weights]:
    """Settings of the IResNet that equals an IR network, and the IR's entries under our names."""
    num_blocks = len({name.split(".")[1] for name in weights if name.startswith("body.")})
    starts = [i for i in range(num_blocks) if f"body.{i}.shortcut_layer.0.weight" in weights]
    ends = [*starts, num_blocks]
    blocks = tuple(end - start for start, end in zip([0, *starts], ends, strict=True))
    depth = next((depth for depth, counts in BLOCKS.items() if counts == blocks), None)
    if depth is None or "input_layer.0.weight" not in weights or "output_layer.3.weight" not in weights:
        raise InputError(
            f"{path} is no IR network of depth 18, 34, 50 or 101: looked for input_layer.0.weight, body.0 to body.N "
            f"and output_layer.3.weight, found stages of {blocks} blocks; {ACCEPTED}"
        )
    se = "standard" if any(".se_block." in name for name in weights) else "none"
    settings = _settings(depth, se, weights["input_layer.0.weight"], weights["output_layer.3.weight"], path)
    with torch.device("meta"):
        ours = list(build_backbone(settings).state_dict())
    names = {name: _ir_name(name, blocks) for name in ours if not name.startswith(_FIRST_SHORTCUT)}
    defaults = _fixed_entries(settings)
    missing = [
        ir for name, ir in names.items() if ir not in weights and name not in defaults and not ir.endswith(_COUNTER)
    ]
    unexpected = sorted(weights.keys() - set(names.values()))
    if missing or unexpected:
        problems = [f"{len(missing)} entries missing, first {missing[0]}"] if missing else []
        problems += [f"{len(unexpected)} entries unexpected, first {unexpected[0]}"] if unexpected else []
        raise InputError(f"{path} is no IR network of depth {depth}: {'; '.join(problems)}; {ACCEPTED}")
    return settings, defaults | {name: weights[ir] for name, ir in names.items() if ir in weights}


def _ir_name(name: str, blocks: tuple[int, ...]) -> str:
    """The name in an IR network of an entry of our IResNet, whose stages have so many blocks."""
    part, *rest = name.split(".")
    if part in _IR_PARTS:
        return ".".join([_IR_PARTS[part], *rest])
    block, layer, *rest = rest
    index = sum(blocks[: int(part.removeprefix("layer")) - 1]) + int(block)
    return ".".join(["body", str(index), _IR_LAYERS[layer], *rest])


def _fixed_entries(settings: Backbone) -> Weights:
    """Entries that an IR network does not have: the first shortcut, and scale and shift of the last batch norm."""
    width, embedding_dim = settings.width, settings.embedding_dim
    return {
        f"{_FIRST_SHORTCUT}0.weight": torch.eye(width)[:, :, None, None],
        f"{_FIRST_SHORTCUT}1.weight": torch.ones(width),
        f"{_FIRST_SHORTCUT}1.bias": torch.zeros(width),
        f"{_FIRST_SHORTCUT}1.running_mean": torch.zeros(width),
        f"{_FIRST_SHORTCUT}1.running_var": torch.full((width,), 1 - _EPSILON),
        "features.weight": torch.ones(embedding_dim),
        "features.bias": torch.zeros(embedding_dim),
    }


def _channels(words: list[str], path: Path, *, is_ir: bool) -> str:
    """RGB or BGR, the channel order of a network, by the words of its prefix.

    Raises:
        InputError: If it is an IR network of neither AdaFace nor CVLface, or CVLface's configuration cannot be read.
    """
    if words[-1:] == ["net"]:
        return _cvlface_channels(path)
    if not is_ir:
        return "RGB"
    if "model" in words:
        return "BGR"
    raise InputError(
        f"{path} is an IR network, but its entries ({'.'.join([*words, _FIRST_IR_BLOCK])}) do not tell whether it "
        f"takes RGB or BGR; give the file as its authors released it; {ACCEPTED}"
    )


def _cvlface_channels(path: Path) -> str:
    """Channel order by CVLface's config.json or NAME.yaml beside the file; RGB, as all its settings, without either."""
    beside = [path.with_name("config.json"), path.with_suffix(".yaml")]
    found = next((file for file in beside if file.is_file()), None)
    if found is None:
        names = " or ".join(file.name for file in beside)
        note(f"note: {path}: no {names} beside it; RGB is assumed, as in CVLface's settings")
        return "RGB"
    content = read_yaml(found)
    inner = content.get("conf", content) if isinstance(content, dict) else None
    channels = inner.get("color_space", "RGB") if isinstance(inner, dict) else None
    if channels not in ("RGB", "BGR"):
        raise InputError(f"{found} has color_space={channels!r}; give RGB or BGR, or move the file away")
    return channels
