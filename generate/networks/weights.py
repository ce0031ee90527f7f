"""Weight files -> tensors by name, and what a file is when it is not the one that was asked for.

PyTorch files are read with ``weights_only=True`` alone: a pickle that would run code is refused.
"""

import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from bench.errors import InputError
from fr_train.checkpoint import load_weights

_PREFIXES = (
    ("token_emb.position_embeddings", "a Vec2Face generator"),
    ("layer1.0.bn1", "an IResNet face recognition network (ArcFace, MagFace, HSFace)"),
    ("layer0.rbr_", "a 6DRepNet head pose network"),
    ("stage1.0.rbr_", "a RepVGG network"),
    ("lin0.model", "an LPIPS network"),
    ("conv_offset", "a classifier head"),
)


def read_weights(path: str | Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The content of a ``.safetensors`` or PyTorch file, on the CPU, and the metadata of the former.

    Raises:
        InputError: If the file is missing, cut short, of another format, or holds more than tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"weights {path} do not exist; run python -m generate fetch, or put the file there by hand")
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except (SafetensorError, RuntimeError, EOFError, OSError, pickle.UnpicklingError, ValueError) as error:
        raise InputError(f"weights {path} cannot be read: {_diagnose(path, error)}; fetch the file again") from None
    if not isinstance(content, dict):
        raise InputError(f"weights {path} hold a {type(content).__name__}, not a dictionary; give a state dict")
    return content, {}


def load_checked(module: torch.nn.Module, state: Mapping[str, Any], path: str | Path) -> None:
    """Load a state dict that must fit exactly.

    Raises:
        InputError: If entries are missing, unexpected or of another shape; names the first of each.
    """
    try:
        load_weights(module, state, f"weights {path}")
    except InputError as error:
        raise InputError(f"{error}; the file looks like {describe_state(state)}; give the right one") from None


def describe_state(names: Iterable[str]) -> str:
    """What a state dict looks like, from the names of its entries."""
    names = list(names)
    plain = [name.removeprefix("module.").removeprefix("backbone.") for name in names]
    for prefix, what in _PREFIXES:
        if any(name.startswith(prefix) for name in plain):
            return what
    return f"no network that is known here ({len(names)} entries, first {names[0]})" if names else "an empty file"


def _is_zip(path: Path) -> bool:
    return _head(path, 2) == b"PK"


def _head(path: Path, length: int) -> bytes:
    with path.open("rb") as file:
        return file.read(length)


def _diagnose(path: Path, error: Exception) -> str:
    head, size = _head(path, 64), path.stat().st_size
    if head.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, not the file itself"
    if head.lstrip()[:1] == b"<":
        return "it is a web page, not weights"
    if isinstance(error, pickle.UnpicklingError) and "weights_only" in str(error).lower():
        return "it holds Python objects besides tensors, which could run code and are refused"
    first_line = str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
    return f"{size} bytes, cut short or of another format ({first_line})"
