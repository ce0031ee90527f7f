"""Measure speed and memory of the base generator: as the published scripts run it, and as this suite does.

Out: the rows of the table that ``python -m bench.speed generate`` writes. Each variant runs in its own process, because
the peak memory of a process cannot be reset. Weights are random; speed does not depend on them.
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

IMPLEMENTATIONS = ("plain", "float32", "bfloat16")
"""``plain`` runs like the published scripts: float32, NCHW, autograd on, attention in separate steps, and upsampling by
repeated pixels, then a convolution. The others are this suite's, by the type of their weights."""

BATCH_SIZE = 16
NOTES = (
    "`plain` runs like the published scripts: float32, NCHW, autograd on, attention in separate steps, and upsampling "
    "by repeated pixels, then a convolution. Weights are random, because speed does not depend on them. Each row is "
    "measured in its own process; the fastest pass counts. Deviation: largest difference from the pixels of `plain`, "
    "as a share of their largest value."
)


@dataclass(frozen=True)
class Speed:
    """Measurements of one implementation."""

    implementation: str
    images_per_second: float
    peak_memory_mb: float
    """Peak resident memory of the process (CPU) or of torch's allocator (GPU) in MiB, weights included."""
    deviation: float
    """Largest difference from the pixels of ``plain``, as a share of their largest value."""


def compare(
    *, batch_size: int = BATCH_SIZE, num_batches: int = 2, device: str = "cpu", variant: str = "base"
) -> list[Speed]:
    """Speed and memory of every implementation on this machine, in the order of ``IMPLEMENTATIONS``.

    Args:
        batch_size: Images per forward pass.
        num_batches: Timed passes, after one that is not timed; the fastest counts.
        device: Torch device.
        variant: Size of the generator, as in ``vec2face``.
    """
    context = multiprocessing.get_context("spawn")
    rows, reference = [], None
    for implementation in IMPLEMENTATIONS:
        with context.Pool(1) as pool:
            rate, memory, images = pool.apply(_measure, (implementation, batch_size, num_batches, device, variant))
        reference = images if reference is None else reference
        deviation = ((images - reference).abs().max() / reference.abs().max()).item()
        rows.append(Speed(implementation, rate, memory, deviation))
    return rows


def generator_rows(device: str = "cpu") -> list[dict[str, str | float]]:
    """Rows of the table: the measurements of ``compare``, and their ratios to ``plain``."""
    rows = compare(device=device)
    plain = rows[0]
    return [
        {
            "implementation": row.implementation,
            "images/s": row.images_per_second,
            "times plain": row.images_per_second / plain.images_per_second,
            "peak memory MiB": row.peak_memory_mb,
            "share of plain": row.peak_memory_mb / plain.peak_memory_mb,
            "deviation": row.deviation,
        }
        for row in rows
    ]


def _measure(
    implementation: str, batch_size: int, num_batches: int, device: str, variant: str
) -> tuple[float, float, torch.Tensor]:
    """Images per second, peak memory in MiB and the first four images of one implementation."""
    set_fused_attn(implementation != "plain")
    torch.manual_seed(0)
    model = vec2face(variant).eval().to(device)
    features, noise = torch.randn(batch_size, 512).to(device), torch.rand(batch_size, NUM_GRID_TOKENS).to(device)
    if implementation == "plain":
        _double_then_convolve(model)
    else:
        keep_freed_memory()
        model.im_decoder.to(memory_format=torch.channels_last)
        model.requires_grad_(False).to(getattr(torch, implementation))
    seconds = []
    with torch.set_grad_enabled(implementation == "plain"):
        for _ in range(1 + num_batches):
            start = time.perf_counter()
            images = model(features, noise, 0.3)
            _synchronise(device)
            seconds.append(time.perf_counter() - start)
    # other programs on the machine can only slow a pass down, so the fastest pass is the best estimate
    return batch_size / min(seconds[1:]), _peak_memory_mb(device), images[:4].detach().cpu()


def _double_then_convolve(model: Vec2Face) -> None:
    """Replace the transposed convolutions of the decoder by the published upsampling, with the same weights."""
    for module in list(model.im_decoder.modules()):
        for name, layer in list(module.named_children()):
            if isinstance(layer, Upsample):
                setattr(module, name, nn.Sequential(nn.Upsample(scale_factor=2.0, mode="nearest"), layer.conv))


def _synchronise(device: str) -> None:
    """Wait until a GPU has finished; the clock would otherwise stop too early."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def _peak_memory_mb(device: str) -> float:
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
