"""Recognition networks on disk: our ``.safetensors`` files with settings, and files that others released.

In: a file. Out: a backbone in eval mode, its settings, or its weights. This is the only module of ``fr_train`` that
``generate`` and ``evaluate`` import.
"""

import json
import sys
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from bench.config.recipe import Backbone
from bench.errors import InputError
from bench.files import atomic_path
from fr_train.backbone import build_backbone
from fr_train.released import ACCEPTED, holds_network, read_released, state_dicts

_SETTINGS_KEY = "backbone"
_APPEARANCE, _BESIDE_IT = "appearance.", "network."
"""Prefixes of the layer of ``generate appearance``, and of the recognition network in the same file."""
_STATE_DEPTH = 2
"""Levels of dictionaries around a state dict that are searched, such as ``{"model": {"state_dict": ...}}``."""
_LIGHTNING_PARTS = ("pytorch_lightning", "lightning", "lightning_fabric", "omegaconf", "argparse", "pathlib")
"""Packages of the objects that Lightning writes beside the tensors: callbacks, settings, paths."""
_MAX_BYTES_RATIO = 4
"""Tensors may claim at most this many times the size of their file; expanded views of one number could claim more."""


def save_backbone(path: str | Path, backbone: nn.Module, settings: Backbone, *, note: str = "") -> None:
    """Write a backbone's weights and settings as one safetensors file, atomically.

    Args:
        path: The file, ``.safetensors``.
        backbone: Module whose state dict is written.
        settings: Settings that rebuild the backbone; stored in the file's metadata.
        note: Text for readers of the file, stored in its metadata unless it is empty.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in backbone.state_dict().items()}
    with atomic_path(path) as temporary:
        metadata = {_SETTINGS_KEY: settings.model_dump_json()} | ({"note": note} if note else {})
        save_file(weights, temporary, metadata=metadata)


def load_backbone(path: str | Path) -> nn.Module:
    """A backbone in eval mode on the CPU, from our ``.safetensors`` or from a released network.

    Released are IResNets of insightface and HSFace (``.pth``), MagFace (``.pth``), AdaFace (``.ckpt``) and CVLface
    (``.safetensors``, ``.pt``), see ``fr_train.released``. Depth, width, embedding dimension and squeeze-excitation are
    inferred from the entries. All of them take RGB faces in [-1, 1] here: the module brings these to the channel order
    and the range that the authors trained with. Only tensors are unpickled, so that a file cannot run code.

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
    if not path.is_file():
        what = "is no file" if path.exists() else "does not exist"
        raise InputError(f"{path} {what}; give a .safetensors, .pth or .ckpt file")
    settings, weights = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pth(path)
    weights = _recognition_weights(weights)
    backbone = _build_fitting(settings, weights, path)
    load_weights(backbone, weights, str(path))
    return backbone.eval(), settings


def _build_fitting(settings: Backbone, weights: Mapping[str, Tensor], path: Path) -> nn.Module:
    """The backbone of the settings, if its size fits the weights: settings of a damaged file could need all memory."""
    if settings.kind != "timm":  # timm models need a forward pass to be built; their size follows from their name
        try:
            with torch.device("meta"):
                expected = sum(tensor.numel() for tensor in build_backbone(settings).state_dict().values())
        except RuntimeError:  # more numbers than 64 bits can count
            expected = sys.maxsize
        num_stored = sum(tensor.numel() for tensor in weights.values())
        if expected > _MAX_BYTES_RATIO * num_stored:
            raise InputError(f"{path} holds {num_stored} numbers, but its settings describe {expected}; fetch it again")
    return build_backbone(settings)


def _recognition_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a recognition network, without the layer that ``generate appearance`` may have added."""
    if not any(name.startswith(_APPEARANCE) for name in weights):
        return weights
    return {name.removeprefix(_BESIDE_IT): weights[name] for name in weights if not name.startswith(_APPEARANCE)}


def backbone_and_weights(path: Path) -> tuple[nn.Module, dict[str, Tensor]]:
    """An untrained backbone with the settings of a ``.safetensors`` file, and all weights of that file.

    Use this for files that hold further weights beside the backbone's.

    Raises:
        InputError: As ``load_backbone``.
    """
    settings, weights = _read_safetensors(path)
    return _build_fitting(settings, weights, path), weights


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
    except Exception as error:  # damaged files make torch raise errors of every kind
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{path} is not a whole file of tensors ({reason}); fetch it again") from None


def _read_safetensors(path: Path) -> tuple[Backbone, dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a whole safetensors file ({error}); fetch or train it again") from None
    if _SETTINGS_KEY not in metadata and holds_network(weights):
        return read_released(weights, path)
    try:
        return Backbone.model_validate(json.loads(metadata[_SETTINGS_KEY])), weights
    except (KeyError, ValueError, RecursionError):  # ValueError: no JSON, or (pydantic's) other settings
        first = ", ".join(list(weights)[:3])
        raise InputError(
            f"{path} has no backbone settings in its metadata, and its first entries are {first}; {ACCEPTED}"
        ) from None


def _read_pth(path: Path) -> tuple[Backbone, dict[str, Tensor]]:
    content = _read_lightning(path) if path.suffix == ".ckpt" else read_torch_file(path)
    candidates = list(state_dicts(content, _STATE_DEPTH))
    networks = [state for state in candidates if holds_network(state)]
    if not candidates:
        raise InputError(f"{path} holds no state dict of tensors; give the backbone's weights")
    if len(networks) > 1:
        raise InputError(f"{path} holds {len(networks)} networks; save the state dict of one of them")
    state = (networks or candidates)[0]
    num_bytes, size = sum(value.numel() * value.element_size() for value in state.values()), path.stat().st_size
    if num_bytes > _MAX_BYTES_RATIO * size:
        raise InputError(f"{path} has {size} bytes, but its tensors claim {num_bytes}; fetch it again")
    return read_released(state, path)


class _LeftOut:
    """Placeholder for an object beside the tensors of a Lightning checkpoint; its content is dropped."""

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


def _read_lightning(path: Path) -> Any:
    """Content of a PyTorch Lightning checkpoint. Objects beside its tensors become empty placeholders.

    No class that the file names is imported: torch looks names up in a list, which holds placeholders instead.

    Raises:
        InputError: If the file is broken, or names anything but tensors and settings of Lightning.
    """
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception as error:  # damaged files make torch raise errors of every kind
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{path} is not a whole Lightning checkpoint ({reason}); fetch it again") from None
    refused = [name for name in names if name.split(".")[0] not in _LIGHTNING_PARTS]
    if refused:
        raise InputError(
            f"{path} names {refused[0]}, which a Lightning checkpoint does not need and which may run code; nothing of "
            "it was run; give the file as its authors released it"
        )
    stand_ins: list[Any] = [(OrderedDict if name.endswith("Dict") else _LeftOut, name) for name in names]
    with torch.serialization.safe_globals(stand_ins):
        return read_torch_file(path)
