"""Sharpness and power by octave: white noise, single waves, blur and noise tell apart."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from evaluate.audit.quality.detail import OCTAVES, SIDE, central_grey, evenly_spread, measure_detail, octave_power


def noise_face(seed=0, deviation=20):
    grey = np.random.default_rng(seed).normal(128, deviation, (112, 112)).clip(0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def test_the_centre_alone_counts():
    face = noise_face()
    face[:20] = face[92:] = 0
    face[:, :20] = face[:, 92:] = 255
    assert central_grey(face).shape == (SIDE, SIDE)
    np.testing.assert_array_equal(measure_detail([face]).power, measure_detail([noise_face()]).power)


def test_white_noise_holds_its_variance():
    power = np.mean([octave_power(np.random.default_rng(i).normal(0, 10, (SIDE, SIDE))) for i in range(40)], axis=0)
    assert power.sum() == pytest.approx(100, rel=0.03)
    ratios = power[1:] / power[:-1]
    assert ratios[:3] == pytest.approx([4, 4, 4], rel=0.25)


@pytest.mark.parametrize(("period", "octave"), [(48, 0), (24, 1), (12, 2), (6, 3), (3, 4)])
def test_a_wave_lies_in_its_octave(period, octave):
    across = np.arange(SIDE)
    wave = np.broadcast_to(30 * np.sin(2 * np.pi * across / period), (SIDE, SIDE))
    power = octave_power(wave)
    assert power.argmax() == octave
    if octave > 0:  # the window spreads a wave of 48 pixels below the lowest octave
        assert power.sum() == pytest.approx(450, rel=0.1)  # half the squared amplitude
    assert octave_power(wave + 77) == pytest.approx(power, rel=1e-6)


def test_blur_and_noise_look_different():
    face = Image.fromarray(noise_face()).filter(ImageFilter.GaussianBlur(1.5))
    blurred = np.asarray(face.filter(ImageFilter.GaussianBlur(3)))
    noise = np.random.default_rng(1).normal(0, 6, (112, 112, 1))
    noisy = (blurred + noise).clip(0, 255).astype(np.uint8)
    sharp, soft, grainy = (measure_detail([np.asarray(image)]) for image in (face, blurred, noisy))
    assert soft.sharpness < sharp.sharpness < grainy.sharpness  # sharpness alone is fooled by noise
    assert grainy.power[0, -1] > 3 * sharp.power[0, -1]
    assert grainy.power[0, 2] < sharp.power[0, 2]


def test_positions_are_spread_evenly():
    assert evenly_spread(np.arange(10, 20), 3) == [10, 14, 19]
    assert evenly_spread(np.array([4, 7]), 9) == [4, 7]
    assert len(OCTAVES) == measure_detail([noise_face()]).power.shape[1]
