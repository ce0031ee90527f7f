"""AttrOP: each sample meets its own targets, independently of the others, with Adam's steps and a limit of steps."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from linear_generator import IDENTITY, PRESET, PULL, Paint, make_jobs
from torch import nn

from bench.faces.pixels import to_pixels
from generate.draw.attrop import PRESETS, Goal, Jobs, Preset, optimise
from generate.vec2face import Architecture, Vec2Face

pytestmark = pytest.mark.usefixtures("one_thread")


def run(jobs, *, batch_size=16, max_steps=60, goal=None, preset=PRESET):
    goals = {"pull": goal or Goal(PULL, 1, 0.2)}
    return optimise(Paint(), IDENTITY, goals, jobs, preset=preset, batch_size=batch_size, max_steps=max_steps)


def test_every_sample_meets_its_own_targets():
    outcomes = run(make_jobs(24, target=2.0), batch_size=8)
    assert outcomes.accepted.all()
    assert (np.abs(outcomes.attributes["pull"] - 2) <= 0.2).all()
    assert (outcomes.identity_cosine >= 0.7).all()
    assert len(set(outcomes.steps.tolist())) > 3  # each left when it was done
    assert outcomes.num_evaluations < 8 * (outcomes.steps.max() + 1) * 3


def test_the_image_is_the_one_of_the_vector():
    jobs = make_jobs(5)
    outcomes = run(jobs, batch_size=5)
    with torch.no_grad():
        images = Paint()(
            torch.from_numpy(outcomes.vectors), torch.from_numpy(jobs.noise), torch.from_numpy(jobs.mask_ratio)
        )
    assert np.array_equal(to_pixels(images), outcomes.images)
    np.testing.assert_allclose(PULL(images.clamp(-1, 1)).numpy(), outcomes.attributes["pull"], rtol=1e-5)
    np.testing.assert_allclose(IDENTITY(images.clamp(-1, 1)).numpy(), outcomes.features, rtol=1e-5)


def test_unreachable_targets_end_at_the_cap_with_the_best_image_marked():
    outcomes = run(make_jobs(10, target=1e6), batch_size=4, max_steps=7)
    assert not outcomes.accepted.any()
    assert (outcomes.steps <= 7).all()
    assert outcomes.num_evaluations == 8 * 4 * 3  # 3 rounds of 4 slots, 8 evaluations each
    short = run(make_jobs(10, target=1e6), batch_size=4, max_steps=0)
    assert (outcomes.attributes["pull"] >= short.attributes["pull"]).all()


def test_the_best_image_is_the_one_of_lowest_loss_and_not_the_last():
    class Swing(nn.Module):
        calls = 0

        def forward(self, images):
            Swing.calls += 1
            return 0 * images.flatten(1).sum(1) + (5.0 if Swing.calls == 3 else 50.0)

    outcomes = run(make_jobs(2, target=0.0), max_steps=6, goal=Goal(Swing(), 1, 0.1))
    assert outcomes.steps.tolist() == [2, 2]
    assert outcomes.attributes["pull"].tolist() == [5, 5]


@pytest.mark.parametrize("impossible", [0, 7, 15])
def test_one_impossible_sample_does_not_change_the_others_by_a_bit(impossible):
    jobs = make_jobs(16, target=2.0)
    usual = run(jobs)
    targets = jobs.targets["pull"].copy()
    targets[impossible] = 1e6
    disturbed = run(Jobs(jobs.start, jobs.identity, jobs.noise, jobs.mask_ratio, {"pull": targets}))
    others = np.arange(16) != impossible
    assert not disturbed.accepted[impossible]
    assert usual.accepted.all()
    for name in ("vectors", "images", "steps", "accepted", "identity_cosine"):
        assert np.array_equal(getattr(usual, name)[others], getattr(disturbed, name)[others]), name


def test_not_a_number_stays_in_its_row():
    jobs = make_jobs(6, target=2.0)
    start = jobs.start.copy()
    start[2] = np.nan
    outcomes = run(Jobs(start, jobs.identity, jobs.noise, jobs.mask_ratio, jobs.targets), max_steps=60, batch_size=3)
    assert outcomes.accepted.tolist() == [True, True, False, True, True, True]


def test_a_step_is_adam():
    jobs = make_jobs(3, target=50.0)
    outcomes = run(jobs, batch_size=3, max_steps=4, preset=Preset(100, -1, False, 1, 0, 1, 0))
    paint = Paint()
    vectors = torch.from_numpy(jobs.start).clone().requires_grad_()
    adam = torch.optim.Adam([vectors], lr=0.1)
    losses = []
    for _ in range(5):
        images = paint(vectors, torch.from_numpy(jobs.noise), torch.from_numpy(jobs.mask_ratio)).clamp(-1, 1)
        distance = 1 - F.cosine_similarity(IDENTITY(images), torch.from_numpy(jobs.identity))
        loss = 100 * distance + (50 - PULL(images)).abs()
        losses.append((loss.detach(), vectors.detach().clone()))
        adam.zero_grad()
        loss.sum().backward()
        adam.step()
    best = torch.stack([loss for loss, _ in losses]).argmin(0)
    assert outcomes.steps.tolist() == best.tolist()
    expected = torch.stack([losses[step][1][row] for row, step in enumerate(best.tolist())])
    np.testing.assert_allclose(outcomes.vectors, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_goals_count_misses_as_they_should():
    value, target = torch.tensor([10.0, -50.0, 30.0]), torch.tensor([20.0, 60.0, float("nan")])
    assert Goal(PULL, 1, 1).miss(value, target).tolist() == [10, 110, 0]
    assert Goal(PULL, 1, 1, at_least=True).miss(value, torch.tensor([5.0, -60.0, 31.0])).tolist() == [0, 0, 1]


def test_no_target_gives_no_gradient_and_no_refusal():
    outcomes = run(make_jobs(3, target=float("nan")), max_steps=5)
    assert outcomes.accepted.all()
    assert outcomes.steps.tolist() == [0, 0, 0]


def test_published_presets():
    first, second = PRESETS["v1"], PRESETS["v2"]
    assert (first.identity_weight, first.quality_weight, first.yaw_weight) == (100, 1, 1)
    assert (first.max_identity_distance, first.quality_tolerance, first.yaw_tolerance) == (0.3, 1, 5)
    assert second.identity_hinge
    assert (second.max_identity_distance, second.quality_weight, second.yaw_weight) == (0.3, 1 / 30, 1 / 90)


def test_the_generator_itself_can_be_optimised():
    torch.manual_seed(0)
    size = Architecture(16, 32, 1, 2, 1, 2, 32, (1, 1, 1, 1, 1), 8)
    generator = Vec2Face(size).eval().requires_grad_(False)
    rng = np.random.default_rng(0)
    start = rng.standard_normal((3, 16)).astype(np.float32)
    jobs = Jobs(
        start, rng.standard_normal((3, 3)).astype(np.float32), rng.random((3, 49), np.float32), np.full(3, 0.2),
        {"light": np.full(3, 0.9, np.float32)},
    )  # fmt: skip
    goals = {"light": Goal(lambda images: images.mean((1, 2, 3)), 1, 0.01)}
    outcomes = optimise(
        generator, lambda images: images.mean((2, 3)), goals, jobs, preset=PRESETS["v1"], batch_size=2, max_steps=3
    )
    assert outcomes.images.shape == (3, 112, 112, 3)
    assert outcomes.steps.max() > 0
