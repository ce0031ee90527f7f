"""Embeddings: independent of batches, flip added once, wrong images refused; ONNX input ranges; raw pixels."""

import numpy as np
import pytest
import torch
from memory_blocks import note_blocks

from bench.errors import InputError
from evaluate.layouts.images import LazyImages
from evaluate.measure import embed as embed_module
from evaluate.measure.embed import embed, load_network, raw_pixels
from evaluate.measure.onnx_network import OnnxNetwork


class TinyNetwork(torch.nn.Module):
    """One strided convolution, whose features change when an image is mirrored."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.convolution = torch.nn.Conv2d(3, 4, 16, stride=16)
            self.norm = torch.nn.BatchNorm2d(4)

    def forward(self, images):
        return self.norm(self.convolution(images)).flatten(1)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (13, 112, 112, 3), dtype=np.uint8)


def test_by_the_formula(images):
    network = TinyNetwork().eval()
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).double() / 127.5 - 1
    with torch.no_grad():
        features = network.double()(pixels) + network(pixels.flip(3))
        alone = network(pixels)
    network.float()
    expected = (features / features.norm(dim=1, keepdim=True)).numpy()
    np.testing.assert_allclose(embed(network, images), expected, atol=2e-6)
    expected = (alone / alone.norm(dim=1, keepdim=True)).numpy()
    np.testing.assert_allclose(embed(network, images, mode="no_flip"), expected, atol=2e-6)


def test_flip_sum_counts_both_images_alike(images):
    network = TinyNetwork().eval()
    mirrored = np.ascontiguousarray(images[:, :, ::-1])
    expected = embed(network, images, mode="no_flip") + embed(network, mirrored, mode="no_flip")
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(embed(network, images, mode="flip_sum"), expected, atol=2e-6)


@pytest.mark.parametrize("batch_size", [1, 5, 13, 64])
def test_batches_move_nothing_but_rounding(images, batch_size):
    whole = embed(TinyNetwork(), images)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(embed(TinyNetwork(), images, batch_size=batch_size), whole, atol=1e-6)


def test_mirrored_faces_have_the_same_embedding_only_with_flip(images):
    mirrored = np.ascontiguousarray(images[:, :, ::-1])
    network = TinyNetwork()
    np.testing.assert_allclose(embed(network, mirrored), embed(network, images), atol=1e-6)
    assert np.abs(embed(network, mirrored, mode="no_flip") - embed(network, images, mode="no_flip")).max() > 0.1


def test_memory_is_kept_between_batches_on_the_device_of_the_network(images, monkeypatch):
    blocks = []
    monkeypatch.setattr(embed_module, "freed_memory_kept", note_blocks(blocks))
    embed(lambda faces: blocks.append("batch") or faces.flatten(1), images, batch_size=2, mode="no_flip")
    assert blocks[0] == "begin cpu" and blocks[-1] == "end" and set(blocks[1:-1]) == {"batch"}


def test_the_same_bits_twice(images):
    np.testing.assert_array_equal(embed(TinyNetwork(), images), embed(TinyNetwork(), images))


def test_training_mode_is_put_back_and_not_used(images):
    network = TinyNetwork().train()
    expected = embed(TinyNetwork().eval(), images)
    np.testing.assert_array_equal(embed(network, images), expected)
    assert network.training


def test_lazy_images_and_none_at_all(images):
    lazy = LazyImages(lambda i: images[i], np.arange(len(images)))
    np.testing.assert_array_equal(embed(TinyNetwork(), lazy), embed(TinyNetwork(), images))
    assert embed(TinyNetwork(), images[:0]).shape[0] == 0


def test_bf16_is_near(images):
    cosine = np.sum(embed(TinyNetwork(), images) * embed(TinyNetwork(), images, precision="bf16"), axis=1)
    assert cosine.min() > 0.999


def test_an_error_while_reading_reaches_the_caller():
    def read(position):
        raise InputError("image 3 does not decode")

    with pytest.raises(InputError, match="image 3 does not decode"):
        embed(TinyNetwork(), LazyImages(read, np.arange(5)))


def test_raw_pixels_do_not_see_brightness_but_contrast_sign(images):
    dim = images // 2
    brighter = dim + np.uint8(40)
    np.testing.assert_allclose(embed(raw_pixels, dim), embed(raw_pixels, brighter), atol=1e-5)
    negative = 255 - images
    np.testing.assert_allclose(embed(raw_pixels, negative), -embed(raw_pixels, images), atol=1e-5)


def onnx_model(path, *, normalises):
    """Mean colour as features; with ``normalises`` the graph subtracts 127.5 itself, as MXNet's exports do."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper = onnx.helper
    nodes = [helper.make_node("GlobalAveragePool", ["x" if normalises else "data"], ["pooled"])]
    nodes.append(helper.make_node("Flatten", ["pooled"], ["features"]))
    constants = []
    if normalises:
        constants.append(helper.make_tensor("middle", onnx.TensorProto.FLOAT, [1], [127.5]))
        nodes.insert(0, helper.make_node("Sub", ["data", "middle"], ["x"]))
    value = helper.make_tensor_value_info
    inputs = [value("data", onnx.TensorProto.FLOAT, ["N", 3, 112, 112])]
    outputs = [value("features", onnx.TensorProto.FLOAT, ["N", 3])]
    graph = helper.make_graph(nodes, "mean", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("normalises", [False, True])
def test_onnx_models_get_the_range_that_they_expect(tmp_path, images, normalises):
    network = load_network(onnx_model(tmp_path / "mean.onnx", normalises=normalises))
    assert isinstance(network, OnnxNetwork)
    assert network.input_range == ("bytes" if normalises else "symmetric")
    means = images.reshape(len(images), -1, 3).mean(axis=1) - 127.5
    expected = means / np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(embed(network, images), expected, atol=1e-3)


def test_files_that_hold_no_network(tmp_path):
    with pytest.raises(InputError, match=r"gone.pth does not exist; give a .safetensors, .pth, .ckpt or .onnx file"):
        load_network(tmp_path / "gone.pth")
    pytest.importorskip("onnxruntime")
    (tmp_path / "bad.onnx").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"bad.onnx is not a complete ONNX model .*; fetch it again"):
        load_network(tmp_path / "bad.onnx")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.zeros((2, 112, 112, 3), dtype=np.float32), r"images are float32 of shape \(2, 112, 112, 3\); give aligned"),
        (np.zeros((2, 3, 112, 112), dtype=np.uint8), r"images are uint8 of shape \(2, 3, 112, 112\); give aligned"),
        (np.zeros((112, 112, 3), dtype=np.uint8), r"images are uint8 of shape \(112, 112, 3\); give aligned"),
    ],
)
def test_images_of_another_shape_or_type_are_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        embed(TinyNetwork(), wrong)
