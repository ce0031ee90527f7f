"""The circumstances of an image as numbers: against a slow encoding, and changed one at a time."""

import numpy as np
import pandas as pd
import pytest
import torch

from generate.networks.circumstances import _SCALES as SCALES
from generate.networks.circumstances import (
    ALIGNMENT,
    GLASSES,
    NAMES,
    NUM_CIRCUMSTANCES,
    PaddedFeatures,
    encode,
    neutral_circumstances,
    with_clear_view,
    with_yaw,
    yaw_of,
)
from generate.render.face import factor_table


def table_of(num):
    return factor_table(range(num), [0] * num)


def encoded(table, alignment=None, images=None):
    num = len(table)
    alignment = np.zeros((num, 4)) if alignment is None else alignment
    images = np.zeros((num, 112, 112, 3), np.uint8) if images is None else images
    return encode({name: table[name].to_numpy() for name in table}, alignment, images)


def slow_value(name, row, alignment, image):
    """One number of one image, straight from the table in the module's docstring."""
    yaw, azimuth, elevation = (
        np.radians(row[f"{angle}_degrees"]) for angle in ("yaw", "light_azimuth", "light_elevation")
    )
    corners = {"t_l": image[:14, :14], "t_r": image[:14, 98:], "b_l": image[98:, :14], "b_r": image[98:, 98:]}
    special = {
        "yaw_sin": np.sin(yaw), "yaw_cos": np.cos(yaw), "yaw_sin_2": np.sin(2 * yaw), "yaw_cos_2": np.cos(2 * yaw),
        "nearness": 1 / row["distance"],
        "light_azimuth_sin": np.sin(azimuth), "light_azimuth_cos": np.cos(azimuth),
        "light_elevation_cos": np.cos(elevation),
    }  # fmt: skip
    if name in ALIGNMENT:
        return alignment[ALIGNMENT.index(name)]
    if name in special:
        return special[name]
    if name.startswith("glasses_"):
        return float(row["glasses"] == name.removeprefix("glasses_"))
    if name[:3] in corners:
        return corners[name[:3]][:, :, "rgb".index(name[4])].astype(float).mean() / 127.5 - 1
    return row[name] if name in row else row[f"{name}_degrees"]


def test_numbers_equal_a_slow_encoding():
    rng = np.random.default_rng(0)
    table, alignment = table_of(5), rng.normal(0, 0.1, (5, 4))
    images = rng.integers(0, 256, (5, 112, 112, 3), dtype=np.uint8)
    numbers = encoded(table, alignment, images)
    assert numbers.shape == (5, NUM_CIRCUMSTANCES) and numbers.dtype == np.float32
    for number, (_, row), error, image in zip(numbers, table.iterrows(), alignment, images, strict=True):
        for column, name in enumerate(NAMES):
            mean, deviation = SCALES[name]
            expected = (slow_value(name, row, error, image) - mean) / deviation
            assert number[column] == pytest.approx(expected, abs=1e-5), name


def test_numbers_of_the_renderer_are_about_standard():
    """All but alignment and corners, which need rendered images."""
    numbers = encoded(table_of(3000))
    known = [column for column, name in enumerate(NAMES) if name in SCALES and name[1] != "_" and name not in ALIGNMENT]
    assert len(known) == NUM_CIRCUMSTANCES - 12 - 4
    assert np.abs(numbers[:, known].mean(axis=0)).max() < 0.15
    assert numbers[:, known].std(axis=0) == pytest.approx(1, abs=0.2)


def test_another_yaw_changes_the_numbers_of_yaw_alone():
    table = table_of(20)
    numbers, degrees = encoded(table), np.linspace(-90, 90, 20)
    turned = with_yaw(numbers, degrees)
    np.testing.assert_allclose(turned, encoded(table.assign(yaw_degrees=degrees)), atol=1e-5)
    np.testing.assert_allclose(yaw_of(turned), degrees, atol=1e-4)
    changed = {name for name, before, after in zip(NAMES, numbers.T, turned.T, strict=True) if (before != after).any()}
    assert changed == {name for name in NAMES if name.startswith("yaw")}
    np.testing.assert_allclose(yaw_of(with_yaw(numbers, 30.0)), 30, atol=1e-4)


def test_a_clear_view_has_neither_blur_nor_noise():
    table = table_of(20)
    clear = table.assign(blur_pixels=0.0, noise=0.0)
    np.testing.assert_allclose(with_clear_view(encoded(table)), encoded(clear), atol=1e-6)


def test_neutral_circumstances_are_those_of_a_neutral_image():
    row = pd.concat([table_of(1)])
    mean = {name: SCALES[name][0] for name in row if name in SCALES}
    angles = {"yaw": 0.0, "pitch": 0.0, "roll": 0.0, "light_azimuth": 0.0, "light_elevation": 25.0}
    still = dict.fromkeys(("smile", "mouth_open", "brow_raise", "frown", "pucker", "blur_pixels", "noise"), 0.0)
    row = row.assign(**mean, **{f"{name}_degrees": value for name, value in angles.items()}, glasses="none")
    row = row.assign(**still, distance=1 / SCALES["nearness"][0])
    corners = [column for column, name in enumerate(NAMES) if name[1] == "_"]
    expected = encoded(row)[0]
    expected[corners] = 0  # the mean colour
    np.testing.assert_allclose(neutral_circumstances(), expected, atol=1e-6)
    assert len(GLASSES) == 4


def test_padded_features_compare_the_identity_alone():
    network = PaddedFeatures(torch.nn.Flatten(), 3)
    images = torch.arange(8.0).reshape(2, 1, 2, 2)
    assert network(images).tolist() == [[0, 1, 2, 3, 0, 0, 0], [4, 5, 6, 7, 0, 0, 0]]
