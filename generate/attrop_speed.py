"""AttrOP by the published rule against ours: what an accepted image costs, on the same weights, vectors and targets.

The networks are small and their weights random, so that both rules can be run to their end on a CPU; what is compared
is when a sample stops, not how fast a network is. ``python -m bench.speed generate`` writes the table.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from generate.attrop import PRESETS, Goal, Jobs, Preset, optimise
from generate.perturbation import MaskRatio, draw_masks, perturb
from generate.vec2face import NUM_GRID_TOKENS, Architecture, Vec2Face

NUM_IMAGES, BATCH_SIZE, MAX_STEPS = 64, 16, 30
_PRESET = PRESETS["v1"]
_POSE_SIGMA = 0.7
_YAWS = (60.0, 85.0, -60.0, -85.0)
_SIZE = Architecture(
    width=128, depth=2, num_heads=4, decoder_depth=2, decoder_heads=4, channels=8, multipliers=(1, 1, 1, 1, 1),
    latent_channels=32,
)  # fmt: skip

NOTES = (
    f"AttrOP: {NUM_IMAGES} vectors of 512 dimensions, batches of {BATCH_SIZE}, at most {MAX_STEPS} steps, preset v1. "
    "A small generator and small estimators with random weights, the latter scaled to what trained ones see in drawn "
    "faces: quality 24 with a deviation of 2, yaw 0 with one of 20 degrees. Batch means: a batch goes on until its "
    "mean identity, quality and yaw are met, and nothing leaves it, as in the published gen_image; that has no cap and "
    "would not end here, so ours is applied. An image is accepted where it meets its own targets. An evaluation draws "
    "one image and judges it by every estimator; empty slots count."
)


def attrop_rows() -> list[dict[str, str | float | None]]:
    """What an accepted image costs by either rule, for both uses of AttrOP in Vec2Face's scripts."""
    rows: list[dict[str, str | float | None]] = []
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # such small networks are slower on several
    for task, (generator, identity, goals, jobs) in _tasks().items():
        sizes: dict[str, Any] = {"preset": _PRESET, "batch_size": BATCH_SIZE, "max_steps": MAX_STEPS}
        ours = optimise(generator, identity, goals, jobs, **sizes)
        published = published_rule(generator, identity, goals, jobs, **sizes)
        costs = {"batch means": published, "ours": (int(ours.accepted.sum()), ours.num_evaluations)}
        reference = _per_accepted(*published)
        for rule, (accepted, evaluations) in costs.items():
            each = _per_accepted(accepted, evaluations)
            rows.append(
                {
                    "task": task,
                    "rule": rule,
                    "images": NUM_IMAGES,
                    "accepted": accepted,
                    "steps per accepted": _per_accepted(accepted, evaluations - NUM_IMAGES),
                    "evaluations per accepted": each,
                    "times fewer": reference / each if reference and each else None,
                }
            )
    torch.set_num_threads(num_threads)
    return rows


def published_rule(
    generator: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor],
    identity: Callable[[torch.Tensor], torch.Tensor],
    goals: Mapping[str, Goal],
    jobs: Jobs,
    *,
    preset: Preset,
    batch_size: int,
    max_steps: int,
) -> tuple[int, int]:
    """AttrOP by the published rule, for comparison: batch means decide, nothing leaves the batch; capped here.

    Returns:
        Images that meet their own targets at the end, and images drawn and judged.
    """
    num_accepted, num_evaluations = 0, 0
    for start in range(0, len(jobs.start), batch_size):
        rows = slice(start, start + batch_size)
        load = lambda values, rows=rows: torch.from_numpy(values[rows].copy())  # noqa: E731
        vectors = load(jobs.start).requires_grad_()
        adam = torch.optim.Adam([vectors], lr=0.1)
        for step in range(max_steps + 1):
            images = generator(vectors, load(jobs.noise), load(jobs.mask_ratio)).clamp(-1, 1)
            num_evaluations += len(vectors)
            distance = 1 - F.cosine_similarity(identity(images), load(jobs.identity))
            accepted = distance <= preset.max_identity_distance
            met = distance.mean() <= preset.max_identity_distance
            loss = preset.identity_weight * distance.mean()
            for name, goal in goals.items():
                miss = goal.miss(goal.estimator(images), load(jobs.targets[name]))
                accepted, met = accepted & (miss <= goal.tolerance), met & (miss.mean() <= goal.tolerance)
                loss = loss + goal.weight * miss.mean()
            if met or step == max_steps:
                break
            adam.zero_grad()
            loss.backward()
            adam.step()
        num_accepted += int(accepted.sum())
    return num_accepted, num_evaluations


def _per_accepted(num_accepted: int, total: int) -> float | None:
    return total / num_accepted if num_accepted else None


def _tasks() -> dict[str, tuple]:
    """Name -> generator, identity estimator, goals, jobs; from fixed seeds."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = Vec2Face(_SIZE).eval().requires_grad_(False)
    centers = np.random.default_rng(0).standard_normal((NUM_IMAGES, 512)).astype(np.float32)
    sigma = np.full(1, _POSE_SIGMA, np.float32)
    moved = np.concatenate([perturb(center, sigma, seed=0, identity_id=n) for n, center in enumerate(centers)])
    noise, ratio = draw_masks(0, 0, range(NUM_IMAGES), NUM_GRID_TOKENS, MaskRatio())
    with torch.no_grad():
        masks = (torch.from_numpy(noise), torch.from_numpy(ratio))
        images = generator(torch.from_numpy(centers), *masks).clamp(-1, 1)
        identity, quality, yaw = _identity(images), _scaled(images, 2, 24, 2), _scaled(images, 3, 0, 20)
        features = identity(images).numpy()
    of_quality = {"quality": np.full(NUM_IMAGES, _PRESET.quality, np.float32)}
    of_yaw = of_quality | {"yaw": np.resize(np.array(_YAWS, np.float32), NUM_IMAGES)}
    return {
        "identity vectors: quality": (
            generator,
            identity,
            _PRESET.goals(quality),
            Jobs(centers, features, noise, ratio, of_quality),
        ),
        "images: quality and yaw": (
            generator,
            identity,
            _PRESET.goals(quality, yaw),
            Jobs(moved, features, noise, ratio, of_yaw),
        ),
    }


def _reading(num: int, seed: int) -> nn.Module:
    """A small convolutional network with random weights: images -> ``num`` figures each."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.AvgPool2d(4), nn.Conv2d(3, 16, 3, 2, 1), nn.SiLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.SiLU(),
            nn.AvgPool2d(7), nn.Flatten(), nn.Linear(32, num),
        ).requires_grad_(False)  # fmt: skip


def _identity(images: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """An estimator of identity whose features have no common part over ``images``."""
    network = _reading(64, 1)
    mean = network(images).mean(0)
    return lambda given: network(given) - mean


def _scaled(images: torch.Tensor, seed: int, mean: float, deviation: float) -> Callable[[torch.Tensor], torch.Tensor]:
    """An estimator of one figure with this mean and standard deviation over ``images``."""
    network = _reading(1, seed)
    seen = network(images)
    return lambda given: ((network(given) - seen.mean()) / seen.std() * deviation + mean)[:, 0]
