import numpy as np
import pytest
import torch
from linear_generator import IDENTITY, PRESET, PULL, Paint, make_jobs

from generate.draw.attrop import Goal, Jobs, optimise
from generate.speed.attrop import published_rule
from generate.speed.network import _double_then_convolve
from generate.vec2face import Architecture, Vec2Face

pytestmark = pytest.mark.usefixtures("one_thread")


def test_per_sample_acceptance_needs_at_least_1_5_times_fewer_evaluations_than_batch_means():
    jobs = make_jobs(256)
    targets = np.random.default_rng(5).uniform(-4, 4, 256).astype(np.float32)  # near for some, far for others
    jobs = Jobs(jobs.start, jobs.identity, jobs.noise, jobs.mask_ratio, {"pull": targets})
    goals = {"pull": Goal(PULL, 1, 0.2)}
    ours = optimise(Paint(), IDENTITY, goals, jobs, preset=PRESET, batch_size=16, max_steps=30)
    theirs = published_rule(Paint(), IDENTITY, goals, jobs, preset=PRESET, batch_size=16, max_steps=30)
    assert theirs[1] / max(1, theirs[0]) >= 1.5 * ours.num_evaluations / max(1, int(ours.accepted.sum()))


def test_the_plain_way_draws_the_same_images():
    torch.manual_seed(0)
    model = Vec2Face(Architecture(16, 32, 1, 2, 1, 2, 32, (1, 1, 1, 1, 1), 8)).eval()
    features, noise = torch.randn(2, 16), torch.rand(2, 49)
    ours = model(features, noise, 0.3)
    _double_then_convolve(model)
    torch.testing.assert_close(model(features, noise, 0.3), ours, rtol=1e-4, atol=1e-5)
