"""Generator, AttrOP and estimators on a device that is not the CPU: no tensor stays behind."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_generation import DIM, SIZE, make_posed_generator
from torch import nn
from torch._subclasses.fake_tensor import unset_fake_temporarily

from fr_train.backbone import iresnet
from generate.draw.attrop import PRESETS, Jobs, optimise
from generate.networks.estimators import FeatureNorm, load_estimator
from generate.networks.identity import WithAppearance
from generate.networks.over_faces import outputs_over_faces
from generate.networks.six_d_rep_net import SixDRepNet
from generate.networks.yaw import YawNetwork
from generate.vec2face import Vec2Face

NUM_JOBS = 5


class SmallIdentity(nn.Module):
    """Images -> features, by one linear layer."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(48, DIM)

    def forward(self, images):
        return self.linear(torch.nn.functional.adaptive_avg_pool2d(images, 4).flatten(1))


def frozen(module, device):
    return module.to(device).eval().requires_grad_(False)


def make_jobs(landmarks=None):
    rng = np.random.default_rng(0)
    start, identity = rng.random((2, NUM_JOBS, DIM), np.float32)
    targets = {name: np.full(NUM_JOBS, 20, np.float32) for name in ("quality", "yaw")}
    return Jobs(start, identity, rng.random((NUM_JOBS, 49), np.float32), np.full(NUM_JOBS, 0.2), targets, landmarks)


def run_attrop(generator, device, jobs, yaw):
    identity = frozen(SmallIdentity(), device)
    goals = PRESETS["v1"].goals(FeatureNorm(identity), frozen(yaw, device))
    return optimise(
        generator, identity, goals, jobs, preset=PRESETS["v1"], batch_size=2, max_steps=1, device=device
    )  # fmt: skip


def test_attrop(fake_device):
    outcomes = run_attrop(frozen(Vec2Face(SIZE), fake_device), fake_device, make_jobs(), YawNetwork(4))
    assert outcomes.images.shape == (NUM_JOBS, 112, 112, 3)
    assert outcomes.num_evaluations == 12  # two slots, five jobs of two images each


def test_attrop_with_landmark_pictures(fake_device):
    landmarks = np.zeros((NUM_JOBS, 112, 112, 3), np.uint8)
    generator = frozen(make_posed_generator(), fake_device)
    outcomes = run_attrop(generator, fake_device, make_jobs(landmarks), YawNetwork(4))
    assert outcomes.images.shape == (NUM_JOBS, 112, 112, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("extras", [{}, {"own_tokens": True, "coarse": True, "smooth": True}], ids=["base", "extras"])
def test_every_form_of_the_generator(dtype, extras, fake_device):
    generator = frozen(Vec2Face(replace(SIZE, **extras)), fake_device).to(dtype=dtype)
    features, noise = torch.zeros(2, DIM, device=fake_device), torch.zeros(2, 49, device=fake_device)
    for ratio in (0.3, torch.full((2,), 0.3, dtype=torch.float64, device=fake_device)):
        assert generator(features, noise, ratio).device == fake_device


@pytest.mark.parametrize(
    "make",
    [
        lambda: WithAppearance(SmallIdentity(), 4),
        lambda: FeatureNorm(iresnet(18, width=4, embedding_dim=16)),
        lambda: SixDRepNet(widths=(4, 4, 4, 4, 4), depths=(1, 1, 1, 1)),
        lambda: SixDRepNet(widths=(4, 4, 4, 4, 4), depths=(1, 1, 1, 1), yaw_input="vec2face"),
        YawNetwork,
    ],
    ids=["appearance", "quality", "6drepnet", "6drepnet-vec2face", "yaw"],
)
def test_every_estimator_and_its_gradient(make, fake_device):
    estimator = frozen(make(), fake_device)
    images = torch.zeros(2, 3, 112, 112, device=fake_device, requires_grad=True)
    (gradient,) = torch.autograd.grad(estimator(images).sum(), images)
    assert gradient.device == fake_device
    faces = np.zeros((3, 112, 112, 3), np.uint8)
    assert len(outputs_over_faces(estimator, faces, batch_size=2, device=fake_device)) == 3


def test_an_onnx_estimator(fake_device, tmp_path):
    pytest.importorskip("onnx2torch")
    path = tmp_path / "identity.onnx"
    with unset_fake_temporarily(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that onnx2torch reads is deprecated
        network = nn.Sequential(nn.Conv2d(3, 4, 16, 16), nn.Flatten(), nn.Linear(4 * 49, DIM))
        torch.onnx.export(network, (torch.zeros(1, 3, 112, 112),), path, dynamo=False, input_names=["images"])
        estimator = load_estimator(path)
    estimator = frozen(estimator, fake_device)
    images = torch.zeros(1, 3, 112, 112, device=fake_device, requires_grad=True)
    (gradient,) = torch.autograd.grad(estimator(images).sum(), images)
    assert gradient.device == fake_device
