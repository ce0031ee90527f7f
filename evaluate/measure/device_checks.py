"""Checks of embedding on a device: embeddings against those of the CPU, and the rate."""

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from bench.config.recipe import Backbone
from bench.speed.checks import Check, Finding, rate
from evaluate.measure.embed import Precision, embed
from fr_train.checkpoint import untrained_backbone

_LOWEST_COSINE: dict[Precision, float] = {"float32": 0.9999, "bf16": 0.99}
"""Lowest cosine between an embedding of the device and that of the CPU in float32 which passes."""


def embedding_checks() -> list[Check]:
    """Embeddings of IResNet-100 in both precisions of evaluation."""
    precisions: tuple[Precision, ...] = ("float32", "bf16")
    return [
        Check(f"embedding by IResNet-100 in {precision}: cosine to the CPU, rate", partial(_embedding, precision))
        for precision in precisions
    ]


def _embedding(precision: Precision, device: str) -> Finding:
    is_gpu = device.startswith("cuda")
    faces = _random_faces(512 if is_gpu else 4)
    network = untrained_backbone(Backbone(depth=100) if is_gpu else Backbone(depth=18, width=4)).eval()
    reference = embed(network, faces[:4])
    network = network.to(device).to(memory_format=torch.channels_last)
    cosine = float((reference * embed(network, faces[:4], device=device, precision=precision)).sum(axis=1).min())

    def step() -> int:
        return len(embed(network, faces, device=device, precision=precision))

    detail = f"lowest cosine {cosine:.6f}, at least {_LOWEST_COSINE[precision]}; each image also mirrored"
    return Finding(detail, rate(step, device, num_steps=2), cosine >= _LOWEST_COSINE[precision])


def _random_faces(num: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (num, 112, 112, 3), np.uint8)
