"""Recognition networks on disk: our ``.safetensors`` files with settings, and released IResNet ``.pth`` files.

In: a file. Out: a backbone in eval mode, its settings, or its weights. This is the only module of ``fr_train`` that
``generate`` and ``evaluate`` import.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from bench.config.recipe import Backbone
from bench.errors import InputError
from bench.files import atomic_path
from bench.machine.progress import note
from fr_train.backbone import BLOCKS, build_backbone

_SETTINGS_KEY = "backbone"
_FIRST_BLOCK = "layer1.0.bn1.weight"
"""An entry of every IResNet. What stands before it in a file is the prefix of wrappers, such as ``module.``."""
_STATE_DEPTH = 2
"""Dictionaries around a state dict that are searched, such as ``{"model": {"state_dict": ...}}``."""
_PARTS = ("conv1", "bn1", "prelu", "layer1", "layer2", "layer3", "layer4", "bn2", "dropout", "fc", "features")
"""Parts of an IResNet, by the first word of an entry's name."""
_COUNTER = "num_batches_tracked"
_MAX_BYTES_RATIO = 4
"""Tensors may claim this many times the size of their file. Views of one number could claim all memory."""


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

    Depth, width, embedding dimension and squeeze-excitation of a ``.pth`` are inferred from its entries. Prefixes of
    wrappers (``module.``, ``model.``, ``features.module.``) and dictionaries around the state dict are removed, the
    weights of a head are left out with a note, and counters of batch norms may be missing. Only tensors are unpickled,
    so that a file cannot run code.

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
        raise InputError(f"{path} {what}; give a .safetensors or .pth file")
    settings, weights = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pth(path)
    backbone = _build_fitting(settings, weights, path)
    load_weights(backbone, weights, str(path))
    return backbone.eval(), settings


def _build_fitting(settings: Backbone, weights: Mapping[str, Tensor], path: Path) -> nn.Module:
    """The backbone of the settings, once its size fits the weights; settings of a file could claim all memory."""
    if settings.kind != "timm":  # timm's models are built with a forward pass; their sizes come with their names
        try:
            with torch.device("meta"):
                expected = sum(tensor.numel() for tensor in build_backbone(settings).state_dict().values())
        except RuntimeError:  # more numbers than 64 bits can count
            expected = sys.maxsize
        num_stored = sum(tensor.numel() for tensor in weights.values())
        if expected > _MAX_BYTES_RATIO * num_stored:
            raise InputError(f"{path} holds {num_stored} numbers, but its settings describe {expected}; fetch it again")
    return build_backbone(settings)


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
        return Backbone.model_validate(json.loads(metadata[_SETTINGS_KEY])), weights
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a whole safetensors file ({error}); fetch or train it again") from None
    except (KeyError, ValueError, RecursionError):  # ValueError: no JSON, or (pydantic's) other settings
        raise InputError(f"{path} has no backbone settings in its metadata; give a file of this suite") from None


def _read_pth(path: Path) -> tuple[Backbone, dict[str, Tensor]]:
    content = read_torch_file(path)
    candidates = list(_state_dicts(content, _STATE_DEPTH))
    networks = [state for state in candidates if any(name.endswith(_FIRST_BLOCK) for name in state)]
    if not candidates:
        raise InputError(f"{path} holds no state dict of tensors; give the backbone's weights")
    if len(networks) > 1:
        raise InputError(f"{path} holds {len(networks)} networks; save the state dict of one of them")
    state = (networks or candidates)[0]
    num_bytes, size = sum(value.numel() * value.element_size() for value in state.values()), path.stat().st_size
    if num_bytes > _MAX_BYTES_RATIO * size:
        raise InputError(f"{path} has {size} bytes, but its tensors claim {num_bytes}; fetch it again")
    weights = _without_prefix(state, path)
    settings = _infer_settings(weights, path)
    return settings, _fill_counters(_without_head(weights, settings, path))


def _state_dicts(content: Any, depth: int) -> Iterator[dict[str, Tensor]]:
    """Every dictionary of tensors in the content of a file, down to a depth. Other values beside them are left out."""
    if not isinstance(content, dict):
        return
    tensors = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if tensors:
        yield tensors
    if depth > 0:
        for value in content.values():
            yield from _state_dicts(value, depth - 1)


def _without_prefix(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Entries of the network without the prefix of its wrappers; entries outside it (a head's) are left out."""
    prefixes = [name.removesuffix(_FIRST_BLOCK) for name in state if name.endswith(_FIRST_BLOCK)]
    if len(prefixes) > 1:
        raise InputError(f"{path} holds {len(prefixes)} networks ({', '.join(prefixes[:4])}); save one of them")
    prefix = prefixes[0] if prefixes else ""
    _note_left_out([name for name in state if not name.startswith(prefix)], path)
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _without_head(weights: dict[str, Tensor], settings: Backbone, path: Path) -> dict[str, Tensor]:
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


def _fill_counters(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights with the counters of batch norms, which older versions of torch did not save, set to 0."""
    norms = [name.removesuffix("running_var") for name in weights if name.endswith(".running_var")]
    return {f"{norm}{_COUNTER}": torch.tensor(0) for norm in norms} | weights


def _infer_settings(weights: Mapping[str, Tensor], path: Path) -> Backbone:
    """Settings of the IResNet that a state dict belongs to."""
    blocks = tuple(_num_blocks(weights, stage) for stage in range(1, 5))
    depth = next((depth for depth, counts in BLOCKS.items() if counts == blocks), None)
    if depth is None or "conv1.weight" not in weights or "fc.weight" not in weights:
        first = ", ".join(list(weights)[:3])
        raise InputError(
            f"{path} is no IResNet: looked for conv1.weight, {_FIRST_BLOCK}, layer1 to layer4 and fc.weight, found "
            f"stages of {blocks} blocks, first entries {first}; give an IResNet .pth"
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
