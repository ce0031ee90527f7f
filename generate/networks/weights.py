"""Weight files -> tensors by name, with a diagnosis where a file is not the one that was asked for.

PyTorch files are read with ``weights_only=True`` (``fr_train.checkpoint``): a pickle that would run code is refused.
"""

import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from bench.errors import InputError, python_command
from fr_train.checkpoint import load_weights, read_torch_file

_KNOWN_PREFIXES = (
    ("token_emb.position_embeddings", "a Vec2Face generator"),
    ("conv4.weight", "a Vec2Face+ pose network"),
    ("layer1.0.bn1", "an IResNet face recognition network (ArcFace, MagFace, HSFace)"),
    ("layer0.rbr_", "a 6DRepNet head pose network"),
    ("stage1.0.rbr_", "a RepVGG network"),
    ("lin0.model", "an LPIPS network"),
    ("conv_offset", "a classifier head"),
)
"""Start of an entry's name in a state dict -> the network that has such entries."""


def read_weights(path: str | Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The content of a ``.safetensors`` or PyTorch file, on the CPU, and the metadata of a ``.safetensors``.

    Raises:
        InputError: If the file is missing, cut short, of another format, or holds more than tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"weights {path} do not exist; run {python_command('generate fetch')}, or put the file there by hand"
        )
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
        content = read_torch_file(path, mapped=_read_head(path, 2) == b"PK")  # only zip files can be memory-mapped
    except (SafetensorError, InputError, OSError) as error:
        original = error.__context__ or error  # the message of read_torch_file is shortened
        raise InputError(f"weights {path} cannot be read: {_diagnose(path, original)}; fetch the file again") from None
    if not isinstance(content, dict):
        raise InputError(f"weights {path} hold a {type(content).__name__}, not a dictionary; give a state dict")
    return content, {}


def load_checked(module: torch.nn.Module, state: Mapping[str, Any], path: str | Path) -> None:
    """Load a state dict that must fit exactly.

    Raises:
        InputError: If entries are missing, unexpected or of another shape; names the first of each, and the network
            that the file seems to hold.
    """
    try:
        load_weights(module, state, f"weights {path}")
    except InputError as error:
        raise InputError(f"{error}; the file looks like {_describe_state(state)}; give the right one") from None


def _describe_state(names: Iterable[str]) -> str:
    """The network that a state dict seems to belong to, judged by the names of its entries."""
    names = list(names)
    plain = [name.removeprefix("module.").removeprefix("backbone.") for name in names]
    for prefix, network in _KNOWN_PREFIXES:
        if any(name.startswith(prefix) for name in plain):
            return network
    return f"no network that is known here ({len(names)} entries, first {names[0]})" if names else "an empty file"


def _read_head(path: Path, length: int) -> bytes:
    with path.open("rb") as file:
        return file.read(length)


def _diagnose(path: Path, error: BaseException) -> str:
    """Why a file cannot be read, from its first bytes and the reader's message."""
    head, size, message = _read_head(path, 64), path.stat().st_size, str(error).strip()
    if head.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, not the file itself"
    if head.lstrip()[:1] == b"<":
        return "it is a web page, not weights"
    if isinstance(error, pickle.UnpicklingError) and "weights_only" in message.lower():
        return "it holds Python objects besides tensors, which could run code and are refused"
    first_line = message.splitlines()[0][:120] if message else type(error).__name__
    return f"{size} bytes, cut short or of another format ({first_line})"
