"""The published stopping rule of AttrOP against ours, and the columns that compare their costs."""

import numpy as np
import pytest
from linear_generator import IDENTITY, PRESET, PULL, Paint, make_jobs

from generate.draw.attrop import Goal, Jobs, optimise
from generate.speed import attrop
from generate.speed.attrop import published_rule

pytestmark = pytest.mark.usefixtures("one_thread")


def test_per_sample_acceptance_needs_at_least_1_5_times_fewer_evaluations_than_batch_means():
    jobs = make_jobs(256)
    targets = np.random.default_rng(5).uniform(-4, 4, 256).astype(np.float32)  # near for some, far for others
    jobs = Jobs(jobs.start, jobs.identity, jobs.noise, jobs.mask_ratio, {"pull": targets})
    goals = {"pull": Goal(PULL, 1, 0.2)}
    ours = optimise(Paint(), IDENTITY, goals, jobs, preset=PRESET, batch_size=16, max_steps=30)
    num_accepted, num_evaluations = published_rule(
        Paint(), IDENTITY, goals, jobs, preset=PRESET, batch_size=16, max_steps=30
    )
    assert num_evaluations / max(1, num_accepted) >= 1.5 * ours.num_evaluations / max(1, int(ours.accepted.sum()))


def test_costs_are_per_accepted_image_and_the_first_evaluation_is_no_step(monkeypatch):
    monkeypatch.setattr(attrop, "NUM_IMAGES", 10)
    assert attrop._costs((5, 60), (10, 40)) == {
        "accepted, batch means": 5, "accepted, ours": 10,
        "evaluations each, batch means": 12, "evaluations each, ours": 4, "evaluations, times fewer": 3,
        "steps each, batch means": 10, "steps each, ours": 3, "steps, times fewer": pytest.approx(10 / 3),
    }  # fmt: skip
    assert attrop._costs((0, 60), (10, 40))["evaluations, times fewer"] is None
