"""Settings of benchmarks.yaml -> plan and networks -> the dataset, with the provenance of every weight."""

from pathlib import Path
from typing import Any

import torch

from bench.config import Vec2FaceGenerator
from bench.errors import InputError
from bench.files import sha256
from generate.engine import Networks, generate_dataset
from generate.estimators import identity_estimator, quality_estimator, yaw_estimator
from generate.filters import Filters
from generate.plan import Plan
from generate.vec2face import load_generator


def make_plan(settings: Vec2FaceGenerator, *, seed: int, weights: Path, digests: dict[str, str]) -> Plan:
    """The plan of a benchmark's generator.

    Args:
        settings: Section ``generator`` of the benchmark.
        seed: Seed.
        weights: Folder of weights, where ``centers`` lies too.
        digests: SHA-256 per weight file, see ``weight_digests``.
    """
    targets = settings.attributes
    return Plan(
        num_identities=settings.num_identities,
        images_per_identity=settings.images_per_identity,
        seed=seed,
        identities=settings.identities,
        centers=str(weights / settings.centers) if settings.centers else None,
        max_cosine=settings.max_cosine,
        sigmas=settings.perturbation.sigmas,
        shares=settings.perturbation.shares,
        preset=targets.preset,
        quality=targets.quality,
        max_steps=targets.max_steps,
        pose_share=targets.pose_share,
        yaw_degrees=targets.yaw_degrees,
        filters=Filters(),
        batch_size=settings.batch_size,
        jpeg_quality=settings.jpeg_quality,
        weights=digests,
    )


def weight_digests(settings: Vec2FaceGenerator, weights: Path) -> dict[str, str]:
    """SHA-256 of every weight file of the settings, by name.

    Raises:
        InputError: If one is missing; says how to get it.
    """
    for name in settings.weight_files:
        if not (weights / name).is_file():
            raise InputError(f"{weights / name} is missing; run python -m generate fetch, or put it there by hand")
    return {name: sha256(weights / name) for name in settings.weight_files}


def load_networks(
    settings: Vec2FaceGenerator, weights: Path, *, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> Networks:
    """The networks of the settings, on their device.

    Args:
        settings: Section ``generator`` of the benchmark.
        weights: Folder of weights.
        device: Where they run.
        dtype: Type of the generator's weights; the estimators stay in float32.

    Raises:
        InputError: If a file is missing or holds other weights.
    """
    with_yaw = settings.attributes.pose_share > 0
    return Networks(
        generator=load_generator(weights / settings.generator_weights, device=device, dtype=dtype),
        identity=identity_estimator(weights / settings.identity_weights, device),
        quality=quality_estimator(weights / settings.quality_weights, device),
        yaw=yaw_estimator(weights / settings.pose_weights, device) if with_yaw else None,
        device=device,
    )


def make_dataset(
    directory: Path,
    settings: Vec2FaceGenerator,
    *,
    seed: int,
    weights: Path,
    device: str,
    rank: int = 0,
    world: int = 1,
) -> dict[str, Any] | None:
    """Make a benchmark's dataset, or what is left of it.

    Args:
        directory: Where it appears; shards lie in ``parts`` below it until ``engine.remove_parts``.
        settings: Section ``generator`` of the benchmark.
        seed: Seed.
        weights: Folder of weights.
        device: Where the networks run.
        rank: Number of this process.
        world: Number of processes.

    Returns:
        Statistics for the card on rank 0, with the SHA-256 of every weight; None on the others.

    Raises:
        InputError: See ``generate_dataset``, ``load_networks`` and ``weight_digests``.
    """
    digests = weight_digests(settings, weights)
    plan = make_plan(settings, seed=seed, weights=weights, digests=digests)
    networks = load_networks(settings, weights, device=device)
    statistics = generate_dataset(directory, plan, networks, rank=rank, world=world)
    return None if statistics is None else statistics | {"weights_sha256": digests}
