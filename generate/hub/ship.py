"""Export trained networks for others: weights rounded to float16, and a JSON card beside them.

In: a finished folder of ``generate train`` or ``train-pose``. Out: ``generator.safetensors`` or ``pose.safetensors``,
half as large as the training's, and a card of that name with the suffix ``.json``, which states training data, licence,
command, settings, measurements and cost. ``generate.hub.provenance`` reads the card when a dataset is made with the
weights.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from bench.errors import InputError
from bench.files import atomic_path, refuse_overwriting, sha256, write_json
from bench.machine.digests import check_digest
from bench.machine.facts import Cost, environment, git_state
from bench.runs.cards import CARD_NAMES, GeneratorCard, read_card

WEIGHTS_NAME, POSE_NAME = "generator.safetensors", "pose.safetensors"
"""Weights in a folder of ``generate train`` and of ``train-pose``, and in the folder they are shipped to."""


@dataclass(frozen=True)
class Origin:
    """Where the weights of a card come from."""

    trained_on: str
    """Whose faces, in words."""
    licence: str
    seed: int | None
    """Seed of what was trained; None where nothing was drawn at random."""
    command: str
    """Command that wrote the file, without ``python -m``."""


def ship_generator(directory: Path, target: Path, *, trained_on: str, licence: str) -> Path:
    """Export a finished training of ``generate train`` or ``train-pose`` as float16 weights with a card.

    Args:
        directory: Folder of the training.
        target: Folder that gets generator.safetensors and generator.json, or pose.safetensors and pose.json.
        trained_on: Whose faces the generator was trained on, in words; every dataset made with it repeats this.
        licence: Terms under which the weights may be used.

    Returns:
        Path of the exported weights.

    Raises:
        InputError: If the training is not finished, or ``target`` is its folder.
    """
    refuse_overwriting(directory, target)
    if not (directory / CARD_NAMES[GeneratorCard]).exists():
        raise InputError(f"{directory} holds no {CARD_NAMES[GeneratorCard]}; give a finished folder of generate train")
    card = read_card(directory, GeneratorCard)
    name, role = (POSE_NAME, "pose model") if "generator" in card.networks else (WEIGHTS_NAME, "generator")
    source, weights = directory / name, target / name
    check_digest(source, card.weights_sha256, "restore the file, or train the generator again")
    store_rounded(source, weights)
    write_weight_card(
        weights,
        role=role,
        origin=Origin(trained_on, licence, card.seed, "generate ship"),
        settings=card.inputs["recipe"]
        | {
            "perceptual_network": card.perceptual_network,
            "networks": {role: network.model_dump() for role, network in card.networks.items()},
        },
        figures={"num_parameters": card.num_parameters, "num_images_seen": card.num_images_seen} | card.figures,
        cost=card.cost,
    )
    return weights


def store_rounded(source: Path, target: Path) -> None:
    """Copy a safetensors file with its matrices and filters rounded to float16.

    Vectors (norms, biases), counts and the metadata are copied unchanged.
    """
    with safe_open(source, framework="pt") as file:
        metadata = file.metadata()
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    rounded = {name: _rounded(tensor).contiguous() for name, tensor in weights.items()}
    with atomic_path(target) as temporary:
        save_file(rounded, temporary, metadata)


def _rounded(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.half() if tensor.dim() > 1 and tensor.is_floating_point() else tensor


def write_weight_card(
    path: Path, *, role: str, origin: Origin, settings: Any, figures: dict[str, Any], cost: Cost
) -> None:
    """Write the JSON card of a weight file or array beside it; machine, code version and time are added.

    Args:
        path: The file.
        role: What the file is for, such as "generator" or "yaw estimator".
        origin: Training data, licence, seed and command.
        settings: Settings that the file depends on.
        figures: Sizes and measurements.
        cost: Time and memory that it took to make.
    """
    card = {"name": path.name, "role": role, "sha256": sha256(path), "bytes": path.stat().st_size, **asdict(origin)}
    card |= {"settings": settings, "figures": figures, "cost": cost.model_dump(mode="json")}
    card |= {"environment": environment().model_dump(mode="json"), "git": git_state().model_dump(mode="json")}
    write_json(card_path(path), card | {"created_utc": datetime.now(UTC).isoformat(timespec="seconds")})


def card_path(path: Path) -> Path:
    """Path of the card of a shipped file: the same name with the suffix ``.json``."""
    return path.with_suffix(".json")
