"""Each augmentation against its definition; and the random numbers of a face depend on seed, epoch and index alone."""

import random

import numpy as np
import pytest
import torch
from timm.data.random_erasing import RandomErasing
from torchvision.transforms.v2 import functional as reference

from bench.config.recipe import Augmentation, Erasing
from fr_train.trainer.augment import augment_, crop_, draw, erase_, flip_, low_resolution_, normalize, photometric_

ALL = Augmentation(flip=0.5, crop=0.5, low_resolution=0.5, photometric=0.5)
NONE = {"flip": 0.0, "crop": 0.0, "low_resolution": 0.0, "photometric": 0.0}
INDICES = np.arange(32) * 7


@pytest.fixture
def faces() -> torch.Tensor:
    return torch.randint(0, 256, (32, 112, 112, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_draws_are_uniform_and_of_their_own():
    draws = draw(3, 5, np.arange(20_000), "flip")
    assert draws.min() >= 0
    assert draws.max() < 1
    np.testing.assert_allclose(draws.mean(axis=0), 0.5, atol=0.01)
    np.testing.assert_allclose(np.histogram(draws, bins=16, range=(0, 1))[0] / draws.size, 1 / 16, atol=1e-3)
    correlation = np.corrcoef(draws[:, :8].T) - np.eye(8)
    assert np.abs(correlation).max() < 0.03
    assert np.abs(np.corrcoef(draws[:-1, 0], draws[1:, 0])[0, 1]) < 0.03
    for other in (draw(4, 5, np.arange(9), "flip"), draw(3, 6, np.arange(9), "flip"), draw(3, 5, np.arange(9), "crop")):
        assert not np.isclose(draws[:9], other).any()


def test_a_face_is_changed_the_same_in_any_batch(faces):
    whole = augment_(faces.clone(), ALL, 1, 2, INDICES)
    for rows in ([5], [31, 0, 7], list(range(16))):
        part = augment_(faces[rows], ALL, 1, 2, INDICES[rows])
        torch.testing.assert_close(part, whole[rows], rtol=0, atol=0)


@pytest.mark.parametrize(("seed", "epoch"), [(2, 2), (1, 3)])
def test_another_seed_or_epoch_changes_faces(faces, seed, epoch):
    assert not torch.equal(
        augment_(faces.clone(), ALL, 1, 2, INDICES), augment_(faces.clone(), ALL, seed, epoch, INDICES)
    )


def test_one_augmentation_leaves_the_draws_of_another_alone(faces):
    flipped = augment_(faces.clone(), Augmentation(**NONE | {"flip": 0.5}), 1, 2, INDICES)
    is_flipped = (flipped != faces).flatten(1).any(dim=1)
    assert 4 < is_flipped.sum() < 28
    both = augment_(faces.clone(), Augmentation(**NONE | {"flip": 0.5, "photometric": 1.0}), 1, 2, INDICES)
    photometric = augment_(faces.clone(), Augmentation(**NONE | {"photometric": 1.0}), 1, 2, INDICES)
    torch.testing.assert_close(both[is_flipped], photometric[is_flipped].flip(2), rtol=0, atol=0)


def test_probability_zero_does_nothing(faces):
    torch.testing.assert_close(augment_(faces.clone(), Augmentation(**NONE), 0, 0, INDICES), faces, rtol=0, atol=0)


@pytest.mark.parametrize("augmentation", ["flip", "crop", "low_resolution", "photometric"])
def test_the_share_of_changed_faces_is_the_probability(augmentation):
    faces = torch.randint(0, 256, (600, 16, 16, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    changed = augment_(faces.clone(), Augmentation(**NONE | {augmentation: 0.3}), 0, 0, np.arange(600)) != faces
    assert changed.flatten(1).any(dim=1).float().mean() == pytest.approx(0.3, abs=0.06)


def test_flip_is_a_mirror(faces):
    flipped = faces.clone()
    flip_(flipped, np.array([1, 4]), np.zeros((2, 31)))
    np.testing.assert_array_equal(flipped[1].numpy(), faces[1].numpy()[:, ::-1])
    np.testing.assert_array_equal(flipped[2].numpy(), faces[2].numpy())


def test_crop_blackens_all_but_a_box():
    faces = torch.full((300, 112, 112, 3), 200, dtype=torch.uint8)
    draws = draw(0, 0, np.arange(300), "crop")[:, 1:]
    crop_(faces, np.arange(300), draws)
    is_inside = faces[..., 0] == 200
    heights, widths = is_inside.any(dim=2).sum(dim=1), is_inside.any(dim=1).sum(dim=1)
    assert torch.equal(is_inside.sum(dim=(1, 2)), heights * widths)  # a full box, black around it
    areas, aspects = heights * widths / 112**2, widths / heights
    assert 0.19 < areas.min() < 0.25
    assert areas.max() > 0.9
    assert 0.7 < aspects.min() < 0.8
    assert 1.25 < aspects.max() < 1.4


def test_crop_takes_the_first_box_that_fits():
    faces = torch.full((1, 112, 112, 3), 200, dtype=torch.uint8)
    draws = np.zeros((1, 31))
    draws[0, 0], draws[0, 10] = 0.9999, 0.0  # the whole area, higher than the face: does not fit
    draws[0, 1], draws[0, 11] = 0.375, 0.5  # half the area, square: 79 x 79
    crop_(faces, np.array([0]), draws)
    assert (faces[0, ..., 0] == 200).sum() == 79 * 79


def test_low_resolution_loses_detail_and_keeps_the_mean(faces):
    smooth = faces.clone()
    low_resolution_(smooth, np.arange(32), draw(0, 0, INDICES, "low_resolution")[:, 1:])

    def roughness(batch):
        return (batch.float()[:, :, 1:] - batch.float()[:, :, :-1]).abs().mean(dim=(1, 2, 3))

    assert (roughness(smooth) < 1.05 * roughness(faces)).all()
    assert roughness(smooth).mean() < 0.6 * roughness(faces).mean()
    torch.testing.assert_close(smooth.float().mean(dim=(1, 2, 3)), faces.float().mean(dim=(1, 2, 3)), atol=3, rtol=0)


@pytest.mark.parametrize("order", range(6))
def test_photometric_equals_torchvision_step_by_step(faces, order):
    draws = np.random.default_rng(order).random((3, 31))
    draws[:, 3] = (order + 0.5) / 6
    changed = faces.clone()
    photometric_(changed, np.array([2, 3, 9]), draws)
    steps = (reference.adjust_brightness, reference.adjust_contrast, reference.adjust_saturation)
    from itertools import permutations

    for row, index in enumerate((2, 3, 9)):
        face = faces[index].permute(2, 0, 1).float() / 255
        for step in list(permutations(range(3)))[order]:
            face = steps[step](face, 0.5 + draws[row, step])
        np.testing.assert_allclose(changed[index].permute(2, 0, 1), face * 255, atol=1)


def test_normalize():
    faces = torch.tensor([0, 127, 128, 255], dtype=torch.uint8).view(1, 2, 2, 1).expand(1, 2, 2, 3)
    values = normalize(faces)
    assert values.shape == (1, 3, 2, 2)
    torch.testing.assert_close(values[0, 1].flatten(), torch.tensor([-1, -1 / 255, 1 / 255, 1]))
    assert values.is_contiguous(memory_format=torch.channels_last)
    assert normalize(faces, channels_last=False).is_contiguous()


@pytest.mark.parametrize("channels_last", [True, False])
def test_normalize_has_the_bits_of_the_formula(faces, channels_last):
    expected = faces.permute(0, 3, 1, 2).float().sub(127.5).div(127.5)
    assert torch.equal(normalize(faces, channels_last=channels_last), expected)


def test_erasing_is_timms_and_leaves_the_global_generator_alone():
    settings = Erasing(probability=0.6)
    random.seed(5)
    expected_next = random.random()
    random.seed(5)
    erased = erase_(torch.ones(32, 3, 112, 112), settings, seed=1, epoch=2, indices=INDICES)
    assert random.random() == expected_next
    draws = draw(1, 2, INDICES, "erasing")
    for row in range(32):
        face = torch.ones(3, 112, 112)
        if draws[row, 0] < 0.6:
            random.seed(int(draws[row, 1] * 2**53))
            RandomErasing(1.0, 0.02, 0.33, 0.3, device="cpu")(face)
            assert 0.015 < (face[0] == 0).float().mean() < 0.34
        torch.testing.assert_close(erased[row], face, rtol=0, atol=0)
    part = erase_(torch.ones(2, 3, 112, 112), settings, seed=1, epoch=2, indices=INDICES[[3, 30]])
    torch.testing.assert_close(part, erased[[3, 30]], rtol=0, atol=0)
