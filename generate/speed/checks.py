"""Checks of drawing on a device: the generator against the CPU, and the rates of generator and AttrOP.

Weights are random; neither speed nor rounding depends on them. Without a GPU the networks are small.
"""

import time
from functools import partial

import numpy as np
import torch

from bench.config.recipe import Backbone
from bench.speed.checks import Check, Finding, rate, synchronise
from fr_train.checkpoint import untrained_backbone
from generate.draw.attrop import PRESETS, Jobs, optimise
from generate.networks.estimators import FeatureNorm
from generate.networks.six_d_rep_net import SixDRepNet
from generate.networks.yaw import YawNetwork
from generate.vec2face import NUM_GRID_TOKENS, VARIANTS, Architecture, Vec2Face

_SMALL = Architecture(512, 32, 1, 2, 1, 2, 32, (1, 1, 1, 1, 1), 8)
_PARITY_BATCH = 4
_LARGEST_DEVIATION = {torch.float32: 1e-3, torch.bfloat16: 1e-1}
"""Largest difference from the pixels of float32 on the CPU that passes, as a share of their largest value."""
_UNREACHABLE_QUALITY = 1e6
_ATTROP_STEPS = 3


def generator_checks() -> list[Check]:
    """Parity and rates of the base generator, and of AttrOP with the three estimators of Vec2Face."""
    checks = []
    for dtype in (torch.float32, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        checks.append(Check(f"generator in {name}: pixels of the CPU", partial(_parity, dtype=dtype)))
        checks.append(Check(f"generator in {name}: rate", partial(_generator_rate, dtype=dtype)))
    checks.append(Check("AttrOP with three estimators, generator in bfloat16: rate", _attrop_rate))
    return checks


def _make_generator(device: str, dtype: torch.dtype) -> Vec2Face:
    """The base generator on a GPU, a small one on a CPU; in evaluation mode, decoder channels-last."""
    torch.manual_seed(0)
    model = Vec2Face(VARIANTS["base"] if device.startswith("cuda") else _SMALL).eval().requires_grad_(False)
    model.im_decoder.to(memory_format=torch.channels_last)
    return model.to(device, dtype)


def _inputs(num: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    features = torch.randn(num, 512, generator=random)
    return features.to(device), torch.rand(num, NUM_GRID_TOKENS, generator=random).to(device)


@torch.no_grad()
def _parity(device: str, dtype: torch.dtype) -> Finding:
    """Compare the pixels of a device with those of the same weights in float32 on the CPU."""
    model = _make_generator(device, torch.float32)
    images = model.to("cpu")(*_inputs(_PARITY_BATCH, "cpu"), 0.3)
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        others = model.to(device, dtype)(*_inputs(_PARITY_BATCH, device), 0.3).float().cpu()
    deviation = ((others - images).abs().max() / images.abs().max()).item()
    limit = _LARGEST_DEVIATION[dtype]
    return Finding(
        f"largest deviation {deviation:.1e} of the largest value, at most {limit:g}", None, deviation < limit
    )


@torch.no_grad()
def _generator_rate(device: str, dtype: torch.dtype) -> Finding:
    batch = 64 if device.startswith("cuda") else 2
    model, (features, noise) = _make_generator(device, dtype), _inputs(batch, device)

    def draw() -> int:
        return len(model(features, noise, 0.3))

    return Finding(f"batches of {batch}", rate(draw, device, num_steps=10 if batch > 2 else 1))


def _attrop_rate(device: str) -> Finding:
    """Rate of AttrOP where no image meets its target, so that every image takes all its steps."""
    is_gpu = device.startswith("cuda")
    batch, num_jobs = (64, 128) if is_gpu else (2, 4)
    backbone = Backbone(depth=100) if is_gpu else Backbone(depth=18, width=4)
    identity = untrained_backbone(backbone).to(device).eval().requires_grad_(False)
    yaw = (SixDRepNet() if is_gpu else YawNetwork(4)).to(device).eval().requires_grad_(False)
    rng = np.random.default_rng(0)
    start = rng.standard_normal((num_jobs, 512)).astype(np.float32)
    targets = {"quality": np.full(num_jobs, _UNREACHABLE_QUALITY, np.float32), "yaw": np.zeros(num_jobs, np.float32)}
    noise, ratio = rng.random((num_jobs, NUM_GRID_TOKENS), np.float32), np.full(num_jobs, 0.3)
    jobs, preset = Jobs(start, start, noise, ratio, targets), PRESETS["v1"]
    goals = preset.goals(FeatureNorm(identity), yaw)
    generator = _make_generator(device, torch.bfloat16)
    seconds = []
    for _ in range(2):  # the first run chooses kernels
        begin = time.perf_counter()
        outcomes = optimise(
            generator, identity, goals, jobs, preset=preset, batch_size=batch, max_steps=_ATTROP_STEPS, device=device
        )
        synchronise(device)
        seconds.append(time.perf_counter() - begin)
    detail = f"images drawn and judged, batches of {batch}, {_ATTROP_STEPS} optimiser steps each"
    return Finding(detail, outcomes.num_evaluations / seconds[-1], bool(np.isfinite(outcomes.identity_cosine).all()))
