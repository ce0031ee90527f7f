"""How fast and how large: the generator the plain way against ours.

``python -m bench.speed generate`` writes the table. Each way runs in a process of its
own, so that its peak memory is its own; weights are random, because speed does not depend on them.
"""

import multiprocessing
import resource
import sys
import time
from dataclasses import dataclass

import torch
from timm.layers import set_fused_attn
from torch import nn

from bench.machine.device import keep_freed_memory
from generate.networks.vec2face_decoder import Upsample
from generate.vec2face import NUM_GRID_TOKENS, Vec2Face, vec2face

WAYS = ("plain", "float32", "bfloat16")
"""plain: float32, NCHW, autograd on, separate attention, doubling then convolution, as the published scripts run."""

BATCH_SIZE = 16
NOTES = (
    "Images: weights are random, because speed does not depend on them. plain: float32, NCHW, autograd on, separate "
    "attention, doubling then convolution, as the published scripts run. Each row is measured in a process of its own; "
    "the fastest pass counts. Deviation: largest difference from plain's pixels, as a share of their largest value."
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


def compare(
    *, batch_size: int = BATCH_SIZE, num_batches: int = 2, device: str = "cpu", variant: str = "base"
) -> list[Speed]:
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
