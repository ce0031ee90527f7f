"""The section ``generator`` of a benchmark -> its dataset, drawn or downloaded, with the provenance of every weight."""

from pathlib import Path

import torch

from bench.config.generator import Vec2FaceGenerator, weight_path
from bench.errors import InputError, python_command
from bench.files import sha256
from bench.machine.digests import remembered_sha256
from bench.runs.card_parts.statistics import DatasetStatistics, PrecisionDeviation
from bench.runs.cards import MadeFaces
from bench.runs.hub import check_fetched
from generate.draw.dataset_run import Networks
from generate.draw.engine import generate_dataset
from generate.draw.plan import MASK_RATIO, Plan
from generate.draw.published import fetch_published
from generate.hub.provenance import weight_provenance
from generate.identities import sample_identities
from generate.networks.circumstances import NUM_CIRCUMSTANCES
from generate.networks.estimators import identity_and_quality, identity_estimator, yaw_estimator
from generate.networks.masks import draw_masks
from generate.vec2face import NUM_GRID_TOKENS, load_generator

_TYPES = {"float32": torch.float32, "bf16": torch.bfloat16}
_MOST_DEVIATION_IMAGES = 16


def make_dataset(
    directory: Path,
    settings: Vec2FaceGenerator,
    *,
    seed: int,
    weights: Path,
    device: str,
    rank: int = 0,
    world_size: int = 1,
) -> MadeFaces | None:
    """Draw a benchmark's dataset, or finish it; or download the published one.

    Args:
        directory: Folder of the dataset. Shards lie in ``parts`` below it until ``bench.files.remove_parts``.
        settings: Section ``generator`` of the benchmark.
        seed: Seed of the dataset.
        weights: Folder of downloaded weights, arrays and published datasets.
        device: Where the networks run.
        rank: Number of this process.
        world_size: Number of processes.

    Returns:
        The faces on rank 0, None on the others.

    Raises:
        InputError: See ``generate_dataset``, ``load_networks``, ``weight_digests`` and ``fetch_published``.
    """
    if settings.source == "hub":
        return fetch_published(directory, settings, weights) if rank == 0 else None
    digests = weight_digests(settings, weights)
    plan = Plan(settings, seed=seed, weights=weights, digests=digests)
    networks = load_networks(settings, weights, device=device)
    drawn = generate_dataset(directory, plan, networks, rank=rank, world_size=world_size)
    if drawn is None:
        return None
    network_statistics = DatasetStatistics(weights=weight_provenance(settings, digests, weights))
    if settings.precision != "float32":
        network_statistics.bf16_deviation = measure_deviation(networks, plan)
    return MadeFaces(
        "faces.lmdb",
        drawn.num_images,
        drawn.num_identities,
        content_sha256=sha256(directory / "faces.lmdb"),
        statistics=drawn.statistics.merged(network_statistics),
    )


def weight_digests(settings: Vec2FaceGenerator, weights: Path) -> dict[str, str]:
    """SHA-256 of every weight file and array of the settings, by name.

    Args:
        settings: Section ``generator`` of a benchmark.
        weights: Folder of downloaded weights.

    Raises:
        InputError: If a file is missing (says how to get it), or was changed since it was fetched.
    """
    paths = {name: weight_path(name, weights) for name in settings.weight_files}
    for path in paths.values():
        if not path.is_file():
            raise InputError(
                f"{path} is missing; run {python_command('generate fetch')}, or put the file there by hand"
            )
    digests = {name: remembered_sha256(path) for name, path in paths.items()}
    for name, digest in digests.items():
        check_fetched(paths[name], digest)
    return digests


def load_networks(settings: Vec2FaceGenerator, weights: Path, *, device: str = "cpu") -> Networks:
    """The generator in the precision of the settings, and the estimators in float32.

    Args:
        settings: Section ``generator`` of a benchmark.
        weights: Folder of downloaded weights.
        device: Where the networks run.

    Raises:
        InputError: If a file is missing or holds other weights.
    """

    def path_of(name: str) -> Path:
        return weight_path(name, weights)

    yaw_input = settings.attributes.yaw_input
    judge = settings.quota.judge_weights if settings.quota else None
    generator = load_generator(
        path_of(settings.generator_weights),
        pose=path_of(settings.pose.weights) if settings.pose else None,
        device=device,
        dtype=_TYPES[settings.precision],
    )
    circumstances = generator.architecture.circumstances
    given = NUM_CIRCUMSTANCES if settings.perturbation.circumstances else 0
    if circumstances != given:
        raise InputError(
            f"{settings.generator_weights} takes {circumstances} circumstances, but perturbation.circumstances gives "
            f"{given}; set it to {str(circumstances > 0).lower()} and give differences that fit"
        )
    identity, quality = identity_and_quality(
        path_of(settings.identity_weights),
        path_of(settings.quality_weights),
        device,
        circumstances=circumstances,
    )
    return Networks(
        generator=generator,
        identity=identity,
        quality=quality,
        yaw=yaw_estimator(path_of(settings.pose_weights), device, yaw_input) if settings.measures_yaw else None,
        judge=identity_estimator(path_of(judge), device) if judge else None,
        device=device,
    )


@torch.no_grad()
def measure_deviation(networks: Networks, plan: Plan) -> PrecisionDeviation:
    """Deviation of a generator with rounded weights from float32, over the first identity vectors of a plan.

    Args:
        networks: The generator with rounded weights, and the identity estimator.
        plan: The dataset.
    """
    exact = load_generator(weight_path(plan.settings.generator_weights, plan.weights), device=networks.device)
    num, (kind, centers) = min(_MOST_DEVIATION_IMAGES, plan.settings.num_identities), plan.vector_source
    width = exact.architecture.feature_dim
    vectors = sample_identities(num, plan.seed, kind=kind, centers=centers, feature_dim=width)
    noise, ratio = draw_masks(plan.seed, 0, range(num), NUM_GRID_TOKENS, MASK_RATIO)
    inputs = [torch.from_numpy(values).to(networks.device) for values in (vectors, noise, ratio)]
    images, expected = (model(*inputs).clamp(-1, 1) for model in (networks.generator, exact))
    difference = (images - expected).abs() * 127.5
    cosine = torch.nn.functional.cosine_similarity(networks.identity(images), networks.identity(expected))
    return PrecisionDeviation(
        num_images=num,
        max_pixel=difference.max().item(),
        mean_pixel=difference.mean().item(),
        identity_cosine_min=cosine.min().item(),
    )
