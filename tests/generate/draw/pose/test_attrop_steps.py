"""Every step of AttrOP with a pose equals the reference in float64, with small networks.

The golden file holds what the authors' ``gen_image`` computed in float64; ``test_attrop_golden.py`` says why not in
float32, and has the same comparison at the real size.

The golden file ``vec2face_plus_small.npz`` was computed by the code of ``HaiyuWu/Vec2Face_plus`` at 7aea100, with
weights by the rule of ``fill_plus.py``. Its group norm has 4 groups at these widths in place of 32.
"""

import sys
from dataclasses import replace

import numpy as np
import pytest
from paths import GOLDEN

from fr_train.backbone import iresnet
from generate.draw import attrop
from generate.draw.attrop import PRESETS, Jobs, optimise
from generate.networks.estimators import FeatureNorm
from generate.networks.plus.condition import PosedGenerator, PoseNetwork
from generate.networks.plus.lora import ALPHA, RANK, add_lora, merge_lora
from generate.networks.six_d_rep_net import SixDRepNet
from generate.vec2face import Architecture, Vec2Face

sys.path.insert(0, str(GOLDEN))
from fill import fill_, value
from fill_plus import value as plus_value

SIZE = Architecture(32, 64, 2, 4, 2, 4, 16, (1, 1, 1, 1, 2), 16)
DIGITS = {"gradient": 1e-4, "vectors": 1e-4, "distance": 1e-4, "quality_norm": 1e-4, "yaw": 1e-4}
"""Largest difference from the reference, as a share of its largest value."""


def filled(module, rule=value):
    """A network in float64 with the weights of a golden file, to draw or to measure with."""
    return fill_(module.double(), rule).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "vec2face_plus_pose.npz") as arrays:
        shared = {name: arrays[name] for name in ("landmark_pictures", "picture_of_sample", "noise", "mask_rate")}
    with np.load(GOLDEN / "vec2face_plus_small.npz") as arrays:
        return shared | {name: arrays[name] for name in arrays}


@pytest.fixture(scope="module")
def networks():
    unmerged = Vec2Face(SIZE)
    add_lora(unmerged)
    posed = Vec2Face(SIZE).double()
    posed.load_state_dict(merge_lora(filled(unmerged, plus_value).state_dict(), ALPHA / RANK))
    posed.eval().requires_grad_(False)
    generator = PosedGenerator(posed, posed, filled(PoseNetwork(SIZE.width), plus_value))
    quality = filled(iresnet(18, embedding_dim=32, width=8), lambda name, shape: value(f"quality.{name}", shape))
    yaw = filled(SixDRepNet((8, 8, 8, 16, 32), (1, 2, 2, 1), yaw_input="vec2face"))
    for weight in yaw.linear_reg.parameters():
        weight.neg_()  # positive yaws: the reference compares |yaw| with its target, ours has the sign of its target
    return generator, filled(iresnet(18, embedding_dim=32, width=8)), FeatureNorm(quality), yaw


def jobs_of(golden, form, start):
    """The reference's two samples, from the given vectors."""
    pictures = 255 * golden["landmark_pictures"][golden["picture_of_sample"]].transpose(0, 2, 3, 1)
    return Jobs(
        start.astype(np.float64),
        (golden["rep"] if form == "open" else golden["hinge_class_rep"]).astype(np.float64),
        golden["noise"],
        np.full(2, golden["mask_rate"].item()),
        {name: np.full(2, golden[f"{name}_target"], np.float64) for name in ("quality", "yaw")},
        np.ascontiguousarray(pictures),
    )


@pytest.fixture
def steps(monkeypatch):
    """What AttrOP measures and does, step by step, by the names of the golden file."""
    taken = {name: [] for name in DIGITS}
    judge, step = attrop._judge, attrop._Batch.step

    def recording_judge(*args):
        loss, accepted, measured = judge(*args)
        taken["distance"].append(1 - measured["identity"].numpy())
        taken["quality_norm"].append(measured["quality"].numpy())
        taken["yaw"].append(measured["yaw"].numpy())
        return loss, accepted, measured

    def recording_step(batch, gradient):
        step(batch, gradient)
        taken["gradient"].append(gradient.numpy() / 2)  # theirs is of the mean over the two samples
        taken["vectors"].append(batch.vectors.numpy())

    monkeypatch.setattr(attrop, "_judge", recording_judge)
    monkeypatch.setattr(attrop._Batch, "step", recording_step)
    return taken


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("form", ["open", "hinge"])
def test_two_steps_equal_the_reference(golden, networks, steps, form):
    generator, identity, quality, yaw = networks
    preset = replace(PRESETS["v2"], identity_hinge=form == "hinge")
    never = {name: replace(goal, tolerance=-1) for name, goal in preset.goals(quality, yaw).items()}
    jobs = jobs_of(golden, form, golden["rep"])
    optimise(generator, identity, never, jobs, preset=preset, batch_size=2, max_steps=2)
    for name, digits in DIGITS.items():
        expected = golden[f"{form}_{name}"]
        assert np.abs(np.stack(steps[name][:2]) - expected).max() < digits * np.abs(expected).max(), name


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("form", ["open", "hinge"])
def test_the_last_image_is_that_of_the_last_vectors_with_the_pose(golden, networks, form):
    jobs = replace(jobs_of(golden, form, golden[f"{form}_vectors"][1]), targets={})
    drawn = optimise(networks[0], networks[1], {}, jobs, preset=PRESETS["v2"], batch_size=2, max_steps=0).images
    expected = golden[f"{form}_image_with_pose"].transpose(0, 2, 3, 1)
    assert np.abs(drawn.astype(int) - expected).max() <= 1
