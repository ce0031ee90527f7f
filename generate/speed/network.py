"""Measure speed and memory of the base generator: as the published scripts run it, and as this suite does.

In: the name of a device and, if wanted, a clone of the official repository. Out: the rows of the table that
``python -m bench.speed generate`` writes. Each variant runs in its own process, because the peak memory of a process
cannot be reset. Weights are random; speed does not depend on them.
"""

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from timm.layers import set_fused_attn
from torch import nn

from bench.machine.device import keep_freed_memory
from bench.speed.official import official_module, official_name
from generate.networks.vec2face_decoder import Upsample
from generate.vec2face import NUM_GRID_TOKENS, Vec2Face, vec2face

OFFICIAL = "official"
"""The official repository's own generator, called as its ``image_generation.py`` does."""
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
OFFICIAL_NOTES = "The official generator draws its own noise, so its pixels are not compared."


@dataclass(frozen=True)
class Speed:
    """Measurements of one implementation."""

    implementation: str
    images_per_second: float
    peak_memory_mb: float
    """Peak resident memory of the process (CPU) or of torch's allocator (GPU) in MiB, weights included."""
    deviation: float | None
    """Largest difference from the pixels of ``plain``, as a share of their largest value; None for ``OFFICIAL``."""


def compare(
    *,
    batch_size: int = BATCH_SIZE,
    num_batches: int = 2,
    device: str = "cpu",
    variant: str = "base",
    official: Path | None = None,
) -> list[Speed]:
    """Speed and memory of every implementation on this machine, in the order of ``IMPLEMENTATIONS``.

    Args:
        batch_size: Images per forward pass.
        num_batches: Timed passes, after one that is not timed; the fastest counts.
        device: Torch device.
        variant: Size of the generator, as in ``vec2face``.
        official: Clone of HaiyuWu/Vec2Face, whose own generator is measured first, as ``OFFICIAL``.

    Raises:
        InputError: ``official`` is no such clone, or a package that it imports is not installed.
    """
    context = multiprocessing.get_context("spawn")
    rows, reference = list[Speed](), None
    if official:
        with context.Pool(1) as pool:
            rate, memory = pool.apply(_measure_official, (official, batch_size, num_batches, device, variant))
        rows.append(Speed(OFFICIAL, rate, memory, None))
    for implementation in IMPLEMENTATIONS:
        with context.Pool(1) as pool:
            rate, memory, images = pool.apply(_measure, (implementation, batch_size, num_batches, device, variant))
        reference = images if reference is None else reference
        deviation = ((images - reference).abs().max() / reference.abs().max()).item()
        rows.append(Speed(implementation, rate, memory, deviation))
    return rows


def generator_rows(device: str = "cpu", official: Path | None = None) -> list[dict[str, str | float | None]]:
    """Rows of the table: the measurements of ``compare``, and their ratios to ``plain`` and to the official code."""
    rows = compare(device=device, official=official)
    plain = next(row for row in rows if row.implementation == "plain")
    table = []
    for row in rows:
        columns: dict[str, str | float | None] = {
            "implementation": official_name(official)
            if official and row.implementation == OFFICIAL
            else row.implementation,
            "images/s": row.images_per_second,
            "times plain": row.images_per_second / plain.images_per_second,
            "peak memory MiB": row.peak_memory_mb,
            "share of plain": row.peak_memory_mb / plain.peak_memory_mb,
            "deviation": row.deviation,
        }
        if official:
            columns["times official"] = row.images_per_second / rows[0].images_per_second
        table.append(columns)
    return table


def _measure_official(
    folder: Path, batch_size: int, num_batches: int, device: str, variant: str
) -> tuple[float, float]:
    """Images per second and peak memory in MiB of the official generator, with the settings of its script."""
    torch.manual_seed(0)
    with official_module(folder, "pixel_generator.vec2face.model_vec2face") as module:
        model = getattr(module, f"vec2face_vit_{variant}_patch16")(
            mask_ratio_min=0.1,
            mask_ratio_max=1.0,
            mask_ratio_mu=0.15,
            mask_ratio_std=0.25,
            use_rep=True,
            rep_dim=512,
            rep_drop_prob=0.0,
            use_class_label=False,
        )
    model = model.eval().to(device)
    features = torch.randn(batch_size, 512).to(device)
    rate, _ = _fastest(lambda: model(features)[2], batch_size, num_batches, device)
    return rate, _peak_memory_mb(device)


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
    with nullcontext() if implementation == "plain" else torch.no_grad():
        rate, images = _fastest(lambda: model(features, noise, 0.3), batch_size, num_batches, device)
    return rate, _peak_memory_mb(device), images[:4].detach().cpu()


def _fastest(
    draw: Callable[[], torch.Tensor], batch_size: int, num_batches: int, device: str
) -> tuple[float, torch.Tensor]:
    """Images per second of the fastest pass after one that is not timed, and the images of the last.

    Other programs on the machine can only slow a pass down, so the fastest pass is the best estimate.
    """
    seconds = []
    for _ in range(1 + num_batches):
        start = time.perf_counter()
        images = draw()
        _synchronise(device)
        seconds.append(time.perf_counter() - start)
    return batch_size / min(seconds[1:]), images


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
