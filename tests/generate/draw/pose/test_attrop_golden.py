"""AttrOP with a pose equals the reference step by step, at the real size of all networks."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from paths import GOLDEN

from bench.faces.pixels import to_pixels
from fr_train.backbone import iresnet
from generate.draw.attrop import PRESETS, Jobs, optimise
from generate.networks.estimators import FeatureNorm
from generate.networks.plus.condition import PosedGenerator, PoseNetwork
from generate.networks.plus.lora import ALPHA, RANK, add_lora, merge_lora
from generate.networks.six_d_rep_net import SixDRepNet
from generate.vec2face import vec2face

sys.path.insert(0, str(GOLDEN))
from fill import value
from fill_plus import value as plus_value

pytestmark = pytest.mark.slow


def filled(module, rule):
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.from_numpy(np.asarray(rule(name, tuple(tensor.shape)))))
    return module.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "vec2face_plus_pose.npz") as arrays:
        return {name: np.asarray(arrays[name]) for name in arrays}


@pytest.fixture(scope="module")
def networks():
    unmerged = vec2face()
    add_lora(unmerged)
    state = merge_lora(filled(unmerged, plus_value).state_dict(), ALPHA / RANK)
    posed = vec2face()
    posed.load_state_dict(state)
    generator = PosedGenerator(posed.eval(), posed, filled(PoseNetwork(), plus_value)).requires_grad_(False)
    yaw = filled(SixDRepNet(yaw_input="vec2face"), value)
    for name, weight in yaw.named_parameters():
        weight.mul_(2**0.5 if name.endswith("rbr_reparam.weight") else 1)
    quality = filled(iresnet(18), lambda name, shape: value(f"quality.{name}", shape))
    return generator, filled(iresnet(18), value), FeatureNorm(quality), yaw


@pytest.mark.parametrize("form", ["open", "hinge"])
def test_two_steps_with_a_pose(golden, networks, form):
    generator, identity, quality, yaw = networks
    seen = []

    def drawn(vectors, *others):
        images = generator(vectors, *others)
        seen.append((vectors.detach().clone(), images.detach().clamp(-1, 1)))
        return images

    class_features = golden["rep"] if form == "open" else golden["attrop_hinge_class_rep"]
    num = len(class_features)
    pictures = 255 * golden["landmark_pictures"][golden["picture_of_sample"]].transpose(0, 2, 3, 1)
    jobs = Jobs(
        golden["rep"].astype(np.float32),
        class_features.astype(np.float32),
        golden["noise"],
        np.full(num, golden["mask_rate"].item()),
        {
            "quality": np.full(num, golden[f"attrop_{form}_quality_target"].item(), np.float32),
            "yaw": np.full(num, golden["attrop_pose_target"].item(), np.float32),
        },
        np.ascontiguousarray(pictures),
    )
    preset = replace(PRESETS["v2"], identity_hinge=form == "hinge")
    never = {name: replace(goal, tolerance=-1) for name, goal in preset.goals(quality, yaw).items()}
    outcomes = optimise(drawn, identity, never, jobs, preset=preset, batch_size=num, max_steps=2)
    images = [images for _, images in seen]
    with torch.no_grad():
        for step in range(2):
            features = torch.from_numpy(class_features)
            distance = 1 - torch.nn.functional.cosine_similarity(identity(images[step]), features)
            np.testing.assert_allclose(distance, golden[f"attrop_{form}_distance"][step], atol=2e-3)
            np.testing.assert_allclose(quality(images[step]), golden[f"attrop_{form}_quality_norm"][step], rtol=1e-3)
            np.testing.assert_allclose(yaw(images[step]), golden[f"attrop_{form}_yaw"][step], atol=0.05)
    gradient = golden[f"attrop_{form}_gradient"]
    for step in range(2):  # Adam's first step is 0.1 * sign(gradient): compare where no gradient is tiny
        is_clear = (np.abs(gradient[: step + 1]) > 0.05 * np.abs(gradient).max()).all(axis=0)
        assert is_clear.mean() > 0.1
        ours, theirs = seen[step + 1][0].numpy(), golden[f"attrop_{form}_vectors"][step]
        np.testing.assert_allclose(ours[is_clear], theirs[is_clear], atol=5e-3)
    if form == "open":
        shown = to_pixels(torch.from_numpy(golden["attrop_open_image_with_pose"])).astype(int)
        forgotten = to_pixels(torch.from_numpy(golden["attrop_open_image_official"])).astype(int)
        last = to_pixels(images[2]).astype(int)
        assert np.abs(last - shown).mean() < 3 < np.abs(last - forgotten).mean()
    assert outcomes.num_evaluations == 3 * num
