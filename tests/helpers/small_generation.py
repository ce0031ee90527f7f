"""A tiny generator, estimators and a plan, and a dataset made of them."""

from dataclasses import replace

import torch
from torch import nn

from bench.config.generator import Vec2FaceGenerator
from generate.draw.dataset_run import Networks
from generate.draw.engine import generate_dataset
from generate.draw.plan import Plan
from generate.networks.plus.condition import PosedGenerator, PoseNetwork
from generate.networks.plus.lora import add_lora
from generate.networks.plus.pose_weights import save_pose_model
from generate.vec2face import Architecture, Vec2Face, save_generator

DIM = 16
PIECES = (4, 4, 4, 4)
"""Channels of the small pose network."""
SIZE = Architecture(DIM, 32, 1, 2, 1, 2, 32, (1, 1, 1, 1, 1), 8)


def settings(**fields):
    """Settings of a generator; the number of identities and images may be left out."""
    return Vec2FaceGenerator(**{"kind": "vec2face", "num_identities": 6, "images_per_identity": 5} | fields)


def all_kept(settings):
    """The settings without separation of identities; a cosine of 2 is out of the range of benchmarks.yaml."""
    return settings.model_copy(update={"max_cosine": 2.0, "spare_share": 0.0})


def change(plan, **fields):
    """The plan with other settings, which are validated."""
    return replace(plan, settings=settings(**plan.settings.model_dump() | fields))


PLAN = Plan(
    settings(
        max_cosine=0.95,
        spare_share=0.5,
        attributes={"quality": 1.0, "max_steps": 2, "pose_share": 0.4, "yaw_degrees": (1.0, -1.0)},
        identities_per_shard=2,
        batch_size=4,
    ),
    seed=3,
)


class Read(nn.Module):
    """A fixed linear map of the image's means over 16 x 16 pixels."""

    def __init__(self, num, seed):
        super().__init__()
        self.weight = torch.randn(3 * 49, num, generator=torch.Generator().manual_seed(seed))

    def forward(self, images):
        values = torch.nn.functional.avg_pool2d(images, 16).flatten(1) @ self.weight
        return values if values.shape[1] > 1 else values[:, 0]


def make_networks():
    torch.manual_seed(0)
    generator = Vec2Face(SIZE).eval().requires_grad_(False)
    return Networks(generator, Read(DIM, 1), Read(1, 2), Read(1, 3))


def write_pose_model(folder, architecture=SIZE, rank=2):
    """Write generator.safetensors and pose.safetensors, a small main model and its pose model, with random weights."""
    torch.manual_seed(0)
    model, network = Vec2Face(architecture), PoseNetwork(architecture.width, PIECES)
    save_generator(model, folder / "generator.safetensors")
    for weight in [*add_lora(model, rank), network.linear.weight]:
        torch.nn.init.normal_(weight, std=0.1)
    save_pose_model(folder / "pose.safetensors", model, network)


def make_posed_generator():
    """A small main and pose model with random weights, their differences large enough to see."""
    torch.manual_seed(0)
    main, posed, network = Vec2Face(SIZE), Vec2Face(SIZE), PoseNetwork(DIM * 2, PIECES)
    torch.nn.init.normal_(network.linear.weight, std=1.0)
    return PosedGenerator(main, posed, network).eval().requires_grad_(False)


def make(directory, plan=PLAN, *, rank=0, world_size=1, num_threads=1):
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        return generate_dataset(directory, plan, make_networks(), rank=rank, world_size=world_size)
    finally:
        torch.set_num_threads(before)
