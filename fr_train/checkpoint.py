"""Recognition networks on disk: our ``.safetensors`` files with settings, and released IResNet ``.pth`` files.

In: a file. Out: a backbone in eval mode, its settings, or its weights. This is the only module of ``fr_train`` that
``generate`` and ``evaluate`` import.
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
    """Write a backbone's weights and settings as one safetensors file, atomically.

    Args:
        path: The file, ``.safetensors``.
        backbone: Module whose state dict is written.
        settings: Settings that rebuild the backbone; stored in the file's metadata.
        note: Text for people, stored in the metadata where it is not empty.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in backbone.state_dict().items()}
    with atomic_path(path) as temporary:
        metadata = {_SETTINGS_KEY: settings.model_dump_json()} | ({"note": note} if note else {})
        save_file(weights, temporary, metadata=metadata)


def load_backbone(path: str | Path) -> nn.Module:
    """A backbone in eval mode on the CPU, from our ``.safetensors`` or from a released IResNet ``.pth``.

    Depth, width, embedding dimension and squeeze-excitation of a ``.pth`` are inferred from its entry names, after
    removing the prefixes of wrappers (``module.``). Only tensors are unpickled, so that a file cannot run code.

    Raises:
        InputError: If the file is missing or broken, or holds another architecture. The message names the first entries
            that differ.
    """
    return read_backbone(path)[0]


def untrained_backbone(settings: Backbone, *, seed: int = 0) -> nn.Module:
    """A backbone with random weights, equal for equal seeds; torch's own generator is left untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_backbone(settings)


def read_backbone(path: str | Path) -> tuple[nn.Module, Backbone]:
    """The backbone of ``load_backbone`` with the settings that it was built from.

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
    """An untrained backbone with the settings of a ``.safetensors`` file, and all weights of that file.

    Use this for files that hold further weights beside the backbone's.

    Raises:
        InputError: As ``load_backbone``.
    """
    settings, weights = _read_safetensors(path)
    return build_backbone(settings), weights


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Load a state dict into a module; every entry must fit.

    Args:
        module: Receives the weights.
        weights: Entry name -> tensor.
        source: File of the weights, for the message.

    Raises:
        InputError: If entries are missing, unexpected or of another shape. The message names the first of each.
    """
    expected = module.state_dict()
    missing = [name for name in expected if name not in weights]
    unexpected = [name for name in weights if name not in expected]
    shapes = [
        f"{name} is {tuple(weights[name].shape)}, not {tuple(expected[name].shape)}"
        for name in expected
        if name in weights and weights[name].shape != expected[name].shape
    ]
    problems = [
        f"{len(names)} entries {problem}, first {names[0]}"
        for names, problem in ((missing, "missing"), (unexpected, "unexpected"), (shapes, "of another shape"))
        if names
    ]
    if problems:
        raise InputError(f"{source} holds another architecture than {type(module).__name__}: {'; '.join(problems)}")
    module.load_state_dict(weights)


def read_torch_file(path: str | Path, *, mapped: bool = False) -> Any:
    """Content of a ``torch.save`` file that holds tensors and plain containers alone; no code is run.

    Args:
        path: The file.
        mapped: Whether tensors are memory-mapped instead of read. The file must not change while they are used.

    Raises:
        InputError: If the file is broken or holds other objects.
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
        raise InputError(f"{path} has no backbone settings in its metadata; give a file of this suite") from None


def _read_pth(path: Path) -> tuple[Backbone, dict[str, Tensor]]:
    content = read_torch_file(path)
    if isinstance(content, dict) and "state_dict" in content:
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"{path} holds no state dict of tensors; give the backbone's weights")
    weights = {_without_prefixes(name): value for name, value in content.items()}
    return _infer_settings(weights, path), weights


def _without_prefixes(name: str) -> str:
    while name.startswith(_PREFIXES):
        name = name.split(".", 1)[1]
    return name


def _infer_settings(weights: Mapping[str, Tensor], path: Path) -> Backbone:
    """Settings of the IResNet that a state dict belongs to."""
    blocks = tuple(_num_blocks(weights, stage) for stage in range(1, 5))
    depth = next((depth for depth, counts in BLOCKS.items() if counts == blocks), None)
    if depth is None or "conv1.weight" not in weights or "fc.weight" not in weights:
        first = ", ".join(list(weights)[:3])
        raise InputError(
            f"{path} is no IResNet: stages of {blocks} blocks, first entries {first}; give an IResNet .pth"
        )
    se = "none"
    if any(".attn." in name for name in weights):
        se = "shortcut"
    if any(".se." in name for name in weights):
        se = "standard"
    return Backbone.model_validate(
        {
            "depth": depth,
            "se": se,
            "width": weights["conv1.weight"].shape[0],
            "embedding_dim": weights["fc.weight"].shape[0],
        }
    )


def _num_blocks(weights: Mapping[str, Tensor], stage: int) -> int:
    """Number of residual blocks of a stage, 1 to 4, in an IResNet state dict."""
    return len({name.split(".")[1] for name in weights if name.startswith(f"layer{stage}.")})
