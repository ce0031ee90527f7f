"""Faces as network input and back: equal to the published formulas to the last bit, and every value round-trips."""

import numpy as np
import pytest
import torch

from bench.faces.pixels import to_network_input, to_pixels

EVERY_VALUE = np.arange(256, dtype=np.uint8)


def every_value(batch=2):
    """Faces that hold every uint8 value in every channel, in another order in each; shape (batch, 16, 16, 3)."""
    channels = [np.roll(EVERY_VALUE, 85 * channel).reshape(16, 16) for channel in range(3)]
    face = np.stack(channels, axis=-1)
    return np.stack([np.roll(face, shift, axis=0) for shift in range(batch)])


def test_layout_and_type():
    faces = every_value()
    network_input = to_network_input(faces)
    assert network_input.shape == (2, 3, 16, 16)
    assert network_input.dtype == torch.float32
    assert network_input.is_contiguous(memory_format=torch.channels_last)
    assert network_input[1, 2, 5, 7] == np.float32(faces[1, 5, 7, 2]) / np.float32(127.5) - 1
    pixels = to_pixels(network_input)
    assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous


def test_every_value_survives_a_round_trip():
    faces = every_value()
    np.testing.assert_array_equal(to_pixels(to_network_input(faces)), faces)


def test_the_input_equals_both_published_formulas_to_the_last_bit():
    faces = every_value()
    nchw = torch.from_numpy(faces).permute(0, 3, 1, 2).float()
    network_input = to_network_input(faces)
    assert torch.equal(network_input, nchw / 127.5 - 1)  # insightface
    assert torch.equal(network_input, ((nchw / 255) - 0.5) / 0.5)  # ToTensor and Normalize(0.5, 0.5)
    assert (network_input.min(), network_input.max()) == (-1, 1)


def test_tensors_give_the_same_as_arrays():
    faces = every_value()
    assert torch.equal(to_network_input(torch.from_numpy(faces)), to_network_input(faces))


def test_values_outside_the_range_are_clamped_and_nan_is_grey():
    values = torch.tensor([-1.5, -torch.inf, 1.5, torch.inf, torch.nan, 0.0]).reshape(1, 1, 1, 6).expand(1, 3, 1, 6)
    assert to_pixels(values)[0, 0, :, 0].tolist() == [0, 0, 255, 255, 128, 128]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_images_of_other_types_are_accepted(dtype):
    images = torch.tensor([-1.0, 0.5, 1.0], dtype=dtype).reshape(1, 3, 1, 1)
    assert to_pixels(images).tolist() == [[[[0, 191, 255]]]]


def test_the_input_lies_on_the_device_that_was_asked_for():
    assert to_network_input(every_value(), "cpu").device == torch.device("cpu")
    on_meta = to_network_input(every_value(), torch.device("meta"))  # a device without memory stands in for a GPU
    assert on_meta.device.type == "meta" and on_meta.shape == (2, 3, 16, 16)


@pytest.mark.gpu
def test_a_gpu_gives_the_same_input_within_one_rounding_and_the_same_pixels():
    faces = every_value()
    on_gpu = to_network_input(faces, "cuda")
    torch.testing.assert_close(on_gpu.cpu(), to_network_input(faces), rtol=0, atol=1.2e-7)
    np.testing.assert_array_equal(to_pixels(on_gpu), faces)
