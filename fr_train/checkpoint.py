"""Recognition networks on disk: ours (safetensors with their settings) and released ones (``.pth``).

The only part of ``fr_train`` that the generator and the evaluation use.
"""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from bench.config.recipe import Backbone
from bench.errors import InputError
from bench.files import atomic_path
from fr_train.backbone import BLOCKS, build_backbone

_SETTINGS_KEY = "backbone"
_PREFIXES = ("module.", "backbone.", "_orig_mod.")


def save_backbone(path: str | Path, backbone: nn.Module, settings: Backbone, *, note: str = "") -> None:
    """Write a backbone's weights and settings as safetensors, with a note if given; the file appears whole."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in backbone.state_dict().items()}
    with atomic_path(path) as temporary:
        metadata = {_SETTINGS_KEY: settings.model_dump_json()} | ({"note": note} if note else {})
        save_file(weights, temporary, metadata=metadata)


def load_backbone(path: str | Path) -> nn.Module:
    """A backbone in eval mode, on the CPU, from our safetensors or a released IResNet ``.pth``.

    Depth, width, embedding size and squeeze-excitation of a ``.pth`` are found from its keys; prefixes that wrappers
    leave (``module.``) are stripped. Nothing but tensors is unpickled.

    Raises:
        InputError: If the file is missing, broken, or holds another architecture (names the first entries that differ).
    """
    return read_backbone(path)[0]


def read_backbone(path: str | Path) -> tuple[nn.Module, Backbone]:
    """A backbone as of ``load_backbone``, and the settings that it was built with.

    Raises:
        InputError: As ``load_backbone``.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist; give a .safetensors or .pth file")
    settings, weights = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pth(path)
    backbone = build_backbone(settings)
    load_weights(backbone, weights, str(path))
    return backbone.eval(), settings


def backbone_and_weights(path: Path) -> tuple[nn.Module, dict[str, Tensor]]:
    """The backbone of a ``.safetensors``' settings, untrained, and all weights that the file holds.

    For files that hold more than a backbone's weights.

    Raises:
        InputError: As ``load_backbone``.
    """
    settings, weights = _read_safetensors(path)
    return build_backbone(settings), weights


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Load a state dict strictly.

    Raises:
        InputError: If an entry is missing, unexpected, or of another shape; names the first of each.
    """
    expected = module.state_dict()
    missing = [name for name in expected if name not in weights]
    unexpected = [name for name in weights if name not in expected]
    shapes = [
        f"{name} is {tuple(weights[name].shape)}, not {tuple(expected[name].shape)}"
        for name in expected
        if name in weights and weights[name].shape != expected[name].shape
    ]
    wrong = [
        f"{len(names)} entries {what}, first {names[0]}"
        for names, what in ((missing, "missing"), (unexpected, "unexpected"), (shapes, "of another shape"))
        if names
    ]
    if wrong:
        raise InputError(f"{source} holds another architecture than {type(module).__name__}: {'; '.join(wrong)}")
    module.load_state_dict(weights)


def read_torch_file(path: str | Path, *, mapped: bool = False) -> Any:
    """What ``torch.save`` wrote, with ``weights_only=True``: tensors and plain containers, no code.

    Args:
        path: The file.
        mapped: Whether tensors stay on disk until they are used; for files of ours, which no one changes meanwhile.

    Raises:
        InputError: If the file is broken or holds anything else.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{path} is not a whole file of tensors ({reason}); fetch it again") from None


def _read_safetensors(path: Path) -> tuple[Backbone, dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        return Backbone.model_validate(json.loads(metadata[_SETTINGS_KEY])), weights
    except SafetensorError as error:
        raise InputError(f"{path} is not a whole safetensors file ({error}); fetch or train it again") from None
    except (KeyError, ValidationError):
        raise InputError(f"{path} does not say its backbone settings; was it written by this suite?") from None


def _read_pth(path: Path) -> tuple[Backbone, dict[str, Tensor]]:
    content = read_torch_file(path)
    if isinstance(content, dict) and "state_dict" in content:
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"{path} holds no state dict of tensors; give the backbone's weights")
    weights = {_stripped(name): value for name, value in content.items()}
    return _recognise(weights, path), weights


def _stripped(name: str) -> str:
    while name.startswith(_PREFIXES):
        name = name.split(".", 1)[1]
    return name


def _recognise(weights: Mapping[str, Tensor], path: Path) -> Backbone:
    """The settings that an IResNet state dict was built with."""
    blocks = tuple(len({name.split(".")[1] for name in weights if name.startswith(f"layer{i}.")}) for i in range(1, 5))
    depth = next((depth for depth, counts in BLOCKS.items() if counts == blocks), None)
    if depth is None or "conv1.weight" not in weights or "fc.weight" not in weights:
        first = ", ".join(list(weights)[:3])
        raise InputError(
            f"{path} is no IResNet: stages of {blocks} blocks, first entries {first}; give an IResNet .pth"
        )
    se = "shortcut" if any(".attn." in name for name in weights) else "none"
    se = "standard" if any(".se." in name for name in weights) else se
    return Backbone.model_validate(
        {
            "depth": depth,
            "se": se,
            "width": weights["conv1.weight"].shape[0],
            "embedding_dim": weights["fc.weight"].shape[0],
        }
    )
