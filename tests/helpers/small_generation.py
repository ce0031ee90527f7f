"""A tiny generator, estimators and a plan, and a dataset made of them."""

import torch
from torch import nn

from generate.draw.engine import Networks, generate_dataset
from generate.draw.plan import Plan
from generate.vec2face import Architecture, Vec2Face

DIM = 16


SIZE = Architecture(DIM, 32, 1, 2, 1, 2, 32, (1, 1, 1, 1, 1), 8)


PLAN = Plan(
    6, 5, seed=3, max_cosine=0.95, spare_share=0.5, quality=1.0, max_steps=2, pose_share=0.4, yaw_degrees=(1.0, -1.0),
    identities_per_shard=2, batch_size=4,
)  # fmt: skip


class Read(nn.Module):
    """A fixed linear reading of a shrunken image."""

    def __init__(self, num, seed):
        super().__init__()
        self.weight = torch.randn(3 * 49, num, generator=torch.Generator().manual_seed(seed))

    def forward(self, images):
        out = torch.nn.functional.avg_pool2d(images, 16).flatten(1) @ self.weight
        return out if out.shape[1] > 1 else out[:, 0]


def make_networks():
    torch.manual_seed(0)
    generator = Vec2Face(SIZE).eval().requires_grad_(False)
    return Networks(generator, Read(DIM, 1), Read(1, 2), Read(1, 3))


def make(directory, plan=PLAN, *, rank=0, world=1, num_threads=1):
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        return generate_dataset(directory, plan, make_networks(), rank=rank, world=world)
    finally:
        torch.set_num_threads(before)
