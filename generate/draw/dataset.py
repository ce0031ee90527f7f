"""Settings of benchmarks.yaml -> plan and networks -> the dataset, with the provenance of every weight."""

from pathlib import Path
from typing import Any

import torch

from bench.config.generator import Vec2FaceGenerator, weight_path
from bench.errors import InputError
from bench.faces.grid import sample_grid, write_grid
from bench.faces.lmdb_file import open_faces
from bench.files import sha256
from bench.runs.hub import check_fetched, fetch, fetched_from
from generate.draw.engine import Networks, generate_dataset
from generate.draw.filters import Filters
from generate.draw.plan import Plan
from generate.hub.catalogue import find_file
from generate.hub.provenance import weight_provenance
from generate.identities import sample_identities
from generate.networks.estimators import identity_estimator, quality_estimator, yaw_estimator
from generate.networks.masks import MaskRatio, draw_masks
from generate.vec2face import NUM_GRID_TOKENS, load_generator

_TYPES = {"float32": torch.float32, "bf16": torch.bfloat16}
_NUM_DEVIATION = 16


def make_plan(settings: Vec2FaceGenerator, *, seed: int, weights: Path, digests: dict[str, str]) -> Plan:
    """The plan of a benchmark's generator.

    Args:
        settings: Section ``generator`` of the benchmark.
        seed: Seed.
        weights: Folder of weights, where ``centers`` lies too.
        digests: SHA-256 per weight file, see ``weight_digests``.
    """
    targets, filters = settings.attributes, settings.filters
    place = lambda name: str(weight_path(name, weights)) if name else None  # noqa: E731
    return Plan(
        num_identities=settings.num_identities,
        images_per_identity=settings.images_per_identity,
        seed=seed,
        identities=settings.identities,
        centers=place(settings.centers),
        max_cosine=settings.max_cosine,
        spare_share=settings.spare_share,
        sigmas=settings.perturbation.sigmas,
        shares=settings.perturbation.shares,
        directions=place(settings.perturbation.directions),
        differences=place(settings.perturbation.differences),
        preset=targets.preset,
        quality=targets.quality,
        max_steps=targets.max_steps,
        pose_share=targets.pose_share,
        yaw_degrees=targets.yaw_degrees,
        turned_share=settings.turned.share if settings.turned else 0.0,
        turned_degrees=settings.turned.degrees if settings.turned else (20.0, 80.0),
        filters=Filters(**filters.model_dump(exclude={"known_centers"})),
        known_centers=place(filters.known_centers),
        identities_per_shard=settings.identities_per_shard,
        batch_size=settings.batch_size,
        jpeg_quality=settings.jpeg_quality,
        weights=digests,
    )


def weight_digests(settings: Vec2FaceGenerator, weights: Path) -> dict[str, str]:
    """SHA-256 of every weight file of the settings, by name.

    Raises:
        InputError: If one is missing (says how to get it), or was changed since it was fetched.
    """
    paths = {name: weight_path(name, weights) for name in settings.weight_files}
    for path in paths.values():
        if not path.is_file():
            raise InputError(f"{path} is missing; run python -m generate fetch, or put it there by hand")
    digests = {name: sha256(path) for name, path in paths.items()}
    for name, digest in digests.items():
        check_fetched(paths[name], digest)
    return digests


def load_networks(settings: Vec2FaceGenerator, weights: Path, *, device: str = "cpu") -> Networks:
    """The networks of the settings, on their device; the estimators stay in float32 whatever the precision.

    Args:
        settings: Section ``generator`` of the benchmark.
        weights: Folder of weights.
        device: Where they run.

    Raises:
        InputError: If a file is missing or holds other weights.
    """
    with_yaw = settings.attributes.pose_share > 0 or settings.turned is not None
    place = lambda name: weight_path(name, weights)  # noqa: E731
    return Networks(
        generator=load_generator(place(settings.generator_weights), device=device, dtype=_TYPES[settings.precision]),
        identity=identity_estimator(place(settings.identity_weights), device),
        quality=quality_estimator(place(settings.quality_weights), device),
        yaw=yaw_estimator(place(settings.pose_weights), device) if with_yaw else None,
        device=device,
    )


@torch.no_grad()
def measure_deviation(networks: Networks, weights_path: Path, *, seed: int) -> dict[str, float]:
    """How far the images of rounded weights are from those of float32, on the first identity vectors of the seed.

    Args:
        networks: The generator as it is used, and the identity estimator.
        weights_path: Weights of the generator.
        seed: Seed of the dataset.

    Returns:
        Largest and mean difference of a pixel (of 255), lowest cosine between the features of the two images.
    """
    exact = load_generator(weights_path, device=networks.device)
    vectors = sample_identities(_NUM_DEVIATION, seed, feature_dim=exact.architecture.feature_dim)
    noise, ratio = draw_masks(seed, 0, range(_NUM_DEVIATION), NUM_GRID_TOKENS, MaskRatio())
    given = [torch.from_numpy(values).to(networks.device) for values in (vectors, noise, ratio)]
    images, expected = (model(*given).clamp(-1, 1) for model in (networks.generator, exact))
    difference = (images - expected).abs() * 127.5
    cosine = torch.nn.functional.cosine_similarity(networks.identity(images), networks.identity(expected))
    return {
        "num_images": _NUM_DEVIATION,
        "max_pixel": difference.max().item(),
        "mean_pixel": difference.mean().item(),
        "identity_cosine_min": cosine.min().item(),
    }


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
    """Make a benchmark's dataset, or what is left of it; or download the published one.

    Args:
        directory: Where it appears; shards lie in ``parts`` below it until ``engine.remove_parts``.
        settings: Section ``generator`` of the benchmark.
        seed: Seed.
        weights: Folder of weights that are not shipped, and of published datasets.
        device: Where the networks run.
        rank: Number of this process.
        world: Number of processes.

    Returns:
        Fields of the dataset's card on rank 0: path, counts, SHA-256, statistics. None on the others.

    Raises:
        InputError: See ``generate_dataset``, ``load_networks`` and ``weight_digests``; ``bench.runs.hub.fetch``.
    """
    if settings.source == "hub":
        return _published(directory, settings, weights) if rank == 0 else None
    digests = weight_digests(settings, weights)
    plan = make_plan(settings, seed=seed, weights=weights, digests=digests)
    networks = load_networks(settings, weights, device=device)
    statistics = generate_dataset(directory, plan, networks, rank=rank, world=world)
    if statistics is None:
        return None
    if settings.precision != "float32":
        path = weight_path(settings.generator_weights, weights)
        statistics["bf16_deviation"] = measure_deviation(networks, path, seed=seed)
    return {
        "path": "faces.lmdb",
        "num_images": statistics.pop("num_images"),
        "num_identities": statistics.pop("num_identities"),
        "content_sha256": sha256(directory / "faces.lmdb"),
        "statistics": statistics | {"weights": weight_provenance(settings, digests, weights)},
    }


def _published(directory: Path, settings: Vec2FaceGenerator, weights: Path) -> dict[str, Any]:
    """The authors' dataset of the same number of identities, fetched into the folder of weights unless it is there."""
    file = find_file(f"faces-hsface{settings.num_identities // 1000}k")
    path = fetch(file, weights, revision=settings.revision).resolve()
    digest = sha256(path)
    faces = open_faces(path)
    write_grid(directory / "grid.png", sample_grid(faces))
    return {
        "path": str(path),
        "num_images": len(faces),
        "num_identities": faces.num_identities,
        "content_sha256": digest,
        "statistics": {"source": fetched_from(path, digest) or "placed by hand"},
    }
