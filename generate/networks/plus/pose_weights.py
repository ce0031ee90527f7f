"""Pose models on disk: the released ``.pth`` of Vec2Face+, and our own ``.safetensors`` without the generator.

| file | holds |
|---|---|
| released ``.pth`` | ``model_vec2face``: the whole generator with LoRA; ``pose_model``: the pose network |
| ours | ``lora.LAYER.A``, ``lora.LAYER.B``, ``pose_model.*``; rank, alpha and SHA-256 of the generator as metadata |

Loading is strict. The published trainer loads the main model with ``strict=False`` into a network whose attention has
other names, where entries that do not fit are skipped in silence and keep random values.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from bench.errors import InputError
from bench.files import atomic_path
from bench.machine.progress import note
from generate.networks.plus.condition import CHANNELS, PoseNetwork
from generate.networks.plus.lora import ALPHA, RANK, LoraLinear, lora_layers, lora_rank, merge_lora, plain_names
from generate.networks.weights import load_checked, read_weights

_GENERATOR, _NETWORK, _LORA, _METADATA = "model_vec2face", "pose_model", "lora.", "pose"

_MAX_CHANNELS = 4096


@dataclass(frozen=True)
class PoseModel:
    """A pose model whose LoRA is merged."""

    generator: dict[str, Tensor]
    """State dict of the generator that draws with a pose."""
    network: PoseNetwork


def main_state(content: Mapping[str, Any], path: str | Path) -> dict[str, Tensor]:
    """State dict of a generator from the content of its file, with plain names of entries.

    Args:
        content: What ``read_weights`` returned.
        path: The file, for messages.

    Raises:
        InputError: If the file holds LoRA, that is a pose model.
    """
    state = content.get(_GENERATOR, content)
    if not isinstance(state, Mapping):
        raise InputError(f"weights {path} hold a {type(state).__name__} as {_GENERATOR}; give a state dict")
    if rank := lora_rank(state, path):
        raise InputError(
            f"weights {path} hold a pose model (LoRA of rank {rank}); give it as pose, and the main model, such as "
            "main_model.pth, as the generator"
        )
    return plain_names(state)


def read_pose_model(path: str | Path, main: Mapping[str, Tensor]) -> PoseModel:
    """Read a pose model and merge its LoRA.

    A released file holds its own copy of the frozen generator, which is used: LoRA fits the weights that it was trained
    with. A note says how many of them differ from the main model's.

    Args:
        path: The released ``pose_model.pth``, or a file of ``save_pose_model``.
        main: State dict of the main model.

    Raises:
        InputError: If the file is broken, holds no pose network or no LoRA, states another rank than its LoRA has, or
            belongs to another generator.
    """
    content, metadata = read_weights(path)
    if _METADATA in metadata:
        return _read_ours(content, metadata[_METADATA], main, path)
    if not isinstance(network := content.get(_NETWORK), Mapping):
        raise InputError(
            f"weights {path} hold no pose network (entry {_NETWORK}), as a main model; give the pose model, such as "
            "pose_model.pth"
        )
    state = content.get(_GENERATOR)
    rank = lora_rank(state, path) if isinstance(state, Mapping) else 0
    if not isinstance(state, Mapping) or not rank:
        raise InputError(f"weights {path} hold a pose network and no {_GENERATOR} with LoRA; give the whole pose model")
    if rank != RANK:
        raise InputError(
            f"weights {path} have LoRA of rank {rank} and do not state its alpha, so its scale is unknown; give a pose "
            f"model of rank {RANK}, whose alpha is {ALPHA:g}"
        )
    generator = merge_lora(state, ALPHA / rank)
    _note_other_base(plain_names(state), main, path)
    network = {name.removeprefix("module."): tensor for name, tensor in network.items()}
    return PoseModel(generator, _build_network(network, CHANNELS, path))


def _read_ours(content: Mapping[str, Tensor], text: str, main: Mapping[str, Tensor], path: str | Path) -> PoseModel:
    try:
        stated = json.loads(text)
        rank, alpha, (first, second, third, fourth) = int(stated["rank"]), float(stated["alpha"]), stated["channels"]
        channels = (int(first), int(second), int(third), int(fourth))
        base = str(stated["generator_sha256"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"weights {path} state no rank and alpha of a pose model ({error}); train it again") from None
    if min(channels) < 1 or max(channels) > _MAX_CHANNELS:
        raise InputError(
            f"weights {path} state channels {channels}; give 1 to {_MAX_CHANNELS}, or train the model again"
        )
    lora = {name.removeprefix(_LORA): tensor for name, tensor in content.items() if name.startswith(_LORA)}
    if (found := lora_rank(lora, path)) != rank:
        raise InputError(f"weights {path} state rank {rank}, but their LoRA has rank {found}; train the model again")
    if base != state_sha256(main):
        raise InputError(f"weights {path} belong to another generator; give the one that the pose model was trained on")
    prefix = f"{_NETWORK}."
    network = {name.removeprefix(prefix): tensor for name, tensor in content.items() if name.startswith(prefix)}
    return PoseModel(merge_lora({**main, **lora}, alpha / rank), _build_network(network, channels, path))


def _build_network(state: Mapping[str, Tensor], channels: tuple[int, ...], path: str | Path) -> PoseNetwork:
    """The pose network with these weights; its width is that of the linear layer in them."""
    weight = state.get("linear.weight")
    network = PoseNetwork(CHANNELS[-1] if weight is None else weight.shape[0], channels)
    load_checked(network, state, path)
    return network


def _note_other_base(base: Mapping[str, Tensor], main: Mapping[str, Tensor], path: str | Path) -> None:
    different = [name for name, tensor in main.items() if name in base and not torch.equal(tensor, base[name])]
    if different:
        note(
            f"note: {len(different)} of {len(main)} entries of {path} differ from the main model's, first "
            f"{different[0]}; images with a pose are drawn with those of the pose model"
        )


def save_pose_model(path: str | Path, generator: nn.Module, network: PoseNetwork) -> None:
    """Write LoRA and pose network as one ``.safetensors`` file, without the generator.

    Args:
        path: The file.
        generator: The generator after ``add_lora``.
        network: The pose network.

    Raises:
        InputError: If the generator has no LoRA.
    """
    state = {name: tensor.detach().cpu() for name, tensor in generator.state_dict().items()}
    layers = [layer for layer in generator.modules() if isinstance(layer, LoraLinear)]
    if not layers:
        raise InputError(f"{type(generator).__name__} has no LoRA to write to {path}; adapt it by add_lora first")
    rank = lora_rank(state, path)
    base = plain_names({name: tensor for name, tensor in state.items() if not name.endswith((".A", ".B"))})
    stated = {
        "rank": rank,
        "alpha": layers[0].scaling * rank,
        "channels": network.channels,
        "generator_sha256": state_sha256(base),
    }
    entries = {f"{_LORA}{layer}.{part}": state[f"{layer}.{part}"] for layer in lora_layers(state) for part in "AB"}
    entries |= {f"{_NETWORK}.{name}": tensor.detach().cpu() for name, tensor in network.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(
            {name: tensor.contiguous() for name, tensor in entries.items()}, temporary, {"pose": json.dumps(stated)}
        )


def state_sha256(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of a state dict: names, shapes and values, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(f"{name} {tuple(state[name].shape)}\n".encode())
        digest.update(state[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def share_equal_parameters(module: nn.Module, twin: nn.Module) -> None:
    """Give ``twin`` the parameters of ``module`` that are equal to its own, so that they lie in memory once.

    Args:
        module: Owner of the parameters.
        twin: A module of the same architecture.
    """
    owners = dict(module.named_modules())
    for name, part in twin.named_modules():
        for key, parameter in list(part.named_parameters(recurse=False)):
            own = getattr(owners[name], key)
            if torch.equal(own, parameter):
                setattr(part, key, own)
