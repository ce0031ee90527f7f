"""A linear stand-in for the generator, with estimators and jobs for AttrOP."""

import numpy as np
import torch
from torch import nn

from generate.draw.attrop import Jobs, Preset

DIM, SIDE = 16, 4
PRESET = Preset(
    identity_weight=100,
    max_identity_distance=0.3,
    identity_hinge=False,
    quality_weight=1,
    quality_tolerance=0.2,
    yaw_weight=1,
    yaw_tolerance=0.5,
)


class Paint(nn.Module):
    """A linear generator: the image is a linear map of the vector, shifted by the mask."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(DIM, 3 * SIDE * SIDE, generator=torch.Generator().manual_seed(0)) * 0.05)

    def forward(self, features, noise, mask_ratio):
        image = features @ self.weight + 0.01 * (noise.mean(1) * mask_ratio.float())[:, None]
        return image.reshape(-1, 3, SIDE, SIDE)


class Read(nn.Module):
    """A fixed linear map of the image, with ``num`` outputs."""

    def __init__(self, num, seed):
        super().__init__()
        self.weight = torch.randn(3 * SIDE * SIDE, num, generator=torch.Generator().manual_seed(seed))

    def forward(self, images):
        values = images.flatten(1) @ self.weight
        return values if values.shape[1] > 1 else values[:, 0]


IDENTITY, PULL = Read(8, 1), Read(1, 2)


def make_jobs(num, *, target=3.0, seed=0):
    rng = np.random.default_rng(seed)
    start = rng.standard_normal((num, DIM)).astype(np.float32)
    noise, ratio = rng.random((num, 49), dtype=np.float32), rng.uniform(0.1, 1, num)
    with torch.no_grad():
        images = Paint()(torch.from_numpy(start), torch.from_numpy(noise), torch.from_numpy(ratio)).clamp(-1, 1)
        identity = IDENTITY(images).numpy()
    return Jobs(start, identity, noise, ratio, {"pull": np.full(num, target, np.float32)})
