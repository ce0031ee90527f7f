"""How fast and how large: the generator the plain way against ours, and AttrOP against the published rule.

``python -m bench.speed generate`` writes the table. Each way runs in a process of its own, so that its peak memory is
its own; weights are random, because speed does not depend on them.
"""

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from timm.layers import set_fused_attn
from torch import nn

from generate.attrop import Goal, Jobs, Outcomes, Preset
from generate.engine import keep_freed_memory
from generate.vec2face import NUM_GRID_TOKENS, Vec2Face, vec2face
from generate.vec2face_decoder import Upsample

WAYS = ("plain", "float32", "bfloat16")
"""plain: float32, NCHW, autograd on, separate attention, doubling then convolution, as the published scripts run."""

NOTES = (
    "Weights are random: speed does not depend on them. plain: float32, NCHW, autograd on, separate attention, "
    "doubling then convolution, as the published scripts run. Each row is measured in a process of its own; the "
    "fastest pass counts. Deviation: largest difference from plain's pixels, as a share of their largest value."
)


@dataclass(frozen=True)
class Speed:
    """One row of the table."""

    way: str
    images_per_second: float
    peak_memory_mb: float
    """Largest resident size of the process (CPU) or of the allocator (GPU), MiB, with the weights."""
    deviation: float
    """Largest difference from the plain way's pixels, as a share of their largest value."""


def compare(*, batch_size: int = 32, num_batches: int = 3, device: str = "cpu", variant: str = "base") -> list[Speed]:
    """Speed and memory of each way of ``WAYS``, on this machine.

    Args:
        batch_size: Images per forward pass.
        num_batches: Passes that are timed, after one that is not; the fastest counts.
        device: Where.
        variant: Size of the generator.
    """
    context = multiprocessing.get_context("spawn")
    rows, reference = [], None
    for way in WAYS:
        with context.Pool(1) as pool:
            rate, memory, images = pool.apply(_measure, (way, batch_size, num_batches, device, variant))
        reference = images if reference is None else reference
        deviation = ((images - reference).abs().max() / reference.abs().max()).item()
        rows.append(Speed(way, rate, memory, deviation))
    return rows


def generator_rows(device: str = "cpu") -> list[dict[str, str | float]]:
    """The rows of ``compare``, with their ratios to the plain way."""
    rows = compare(device=device)
    plain = rows[0]
    return [
        {
            "way": row.way,
            "images/s": row.images_per_second,
            "times plain": row.images_per_second / plain.images_per_second,
            "peak memory MiB": row.peak_memory_mb,
            "share of plain": row.peak_memory_mb / plain.peak_memory_mb,
            "deviation": row.deviation,
        }
        for row in rows
    ]


def _measure(
    way: str, batch_size: int, num_batches: int, device: str, variant: str
) -> tuple[float, float, torch.Tensor]:
    """Rate, peak memory and the first images of one way."""
    set_fused_attn(way != "plain")
    torch.manual_seed(0)
    model = vec2face(variant).eval().to(device)
    features, noise = torch.randn(batch_size, 512).to(device), torch.rand(batch_size, NUM_GRID_TOKENS).to(device)
    if way == "plain":
        _double_then_convolve(model)
    else:
        keep_freed_memory()
        model.im_decoder.to(memory_format=torch.channels_last)
        model.requires_grad_(False).to(getattr(torch, way))
    seconds = []
    with torch.set_grad_enabled(way == "plain"):
        for _ in range(1 + num_batches):
            start = time.perf_counter()
            images = model(features, noise, 0.3)
            _finish(device)
            seconds.append(time.perf_counter() - start)
    # the fastest pass: other programs on the machine only ever slow one down
    return batch_size / min(seconds[1:]), _peak_memory_mb(device), images[:4].detach().cpu()


def _double_then_convolve(model: Vec2Face) -> None:
    """Upsampling as published, in place of the transposed convolution."""
    for level in model.im_decoder.up:
        for name, layer in list(level.named_children()):
            if isinstance(layer, Upsample):
                setattr(level, name, nn.Sequential(nn.Upsample(scale_factor=2.0, mode="nearest"), layer.conv))


def _finish(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def _peak_memory_mb(device: str) -> float:
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def published_rule(
    generator: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor],
    identity: Callable[[torch.Tensor], torch.Tensor],
    goals: dict[str, Goal],
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


def evaluations_per_accepted(outcomes: Outcomes) -> float:
    """Images drawn and judged per accepted image, empty slots counted."""
    return outcomes.num_evaluations / max(1, int(outcomes.accepted.sum()))
