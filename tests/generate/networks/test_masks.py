"""Masks of the generator's tokens."""

import numpy as np

from generate.networks.masks import MaskRatio, draw_masks


def test_masks_lie_in_range_and_do_not_depend_on_slicing():
    noise, ratios = draw_masks(0, 3, range(300), 49, MaskRatio())
    assert noise.shape == (300, 49)
    assert 0.1 <= ratios.min() < 0.12
    assert ratios.max() <= 1
    alone, ratio = draw_masks(0, 3, [7], 49, MaskRatio())
    assert np.array_equal(alone[0], noise[7])
    assert ratio[0] == ratios[7]
