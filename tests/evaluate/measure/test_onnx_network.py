"""ONNX networks in the shapes that exporters give: the same embeddings as the plain network, or one line."""

import numpy as np
import pytest

from bench.errors import InputError
from evaluate.measure.embed import embed, load_network
from evaluate.measure.onnx_network import OnnxNetwork

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
HELPER, TYPES = onnx.helper, onnx.TensorProto
FACES = np.random.default_rng(1).integers(0, 255, (5, 112, 112, 3), dtype=np.uint8)
NHWC = [("Transpose", None)]


def save(path, *, shape=("N", 3, 112, 112), steps=(), kind=TYPES.FLOAT, output="e", norm_first=False, second=False):
    """A network with one matrix. ``steps`` come first; ``output`` r has the shape (N, 16, 1, 1), t is (1, N, 16)."""
    dtype = np.float16 if kind == TYPES.FLOAT16 else np.float32
    matrix = np.random.default_rng(0).normal(size=(588, 16)).astype(dtype) / 10
    weights, nodes, tensor = {"w": matrix, "shape": np.array([-1, 16, 1, 1])}, [], "input"
    for position, (operation, value) in enumerate(steps):
        attributes = {"Cast": {"to": kind}, "Transpose": {"perm": [0, 3, 1, 2]}}.get(operation, {})
        names = [tensor] if value is None else [tensor, f"c{position}"]
        if value is not None:
            weights[f"c{position}"] = np.array(value, dtype)
        nodes.append(HELPER.make_node(operation, names, [f"t{position}"], **attributes))
        tensor = f"t{position}"
    nodes += [
        HELPER.make_node("AveragePool", [tensor], ["pooled"], kernel_shape=[8, 8], strides=[8, 8]),
        HELPER.make_node("Flatten", ["pooled"], ["flat"]),
        HELPER.make_node("MatMul", ["flat", "w"], ["e"]),
        HELPER.make_node("Reshape", ["e", "shape"], ["r"]),
        HELPER.make_node("Unsqueeze", ["e"], ["t"], axes=[0]),
        HELPER.make_node("ReduceL2", ["e"], ["n"], axes=[1], keepdims=1),
    ]
    inputs = [HELPER.make_tensor_value_info("input", kind, shape)]
    if second:
        inputs.append(HELPER.make_tensor_value_info("size", kind, [1]))
    outputs = [HELPER.make_tensor_value_info(name, kind, None) for name in ["n", output][0 if norm_first else 1 :]]
    tensors = [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = HELPER.make_graph(nodes, "g", inputs, outputs, tensors)
    onnx.save(HELPER.make_model(graph, opset_imports=[HELPER.make_opsetid("", 11)], ir_version=8), path)
    return path


@pytest.mark.parametrize(
    ("device", "has_gpu", "expected"),
    [
        ("cpu", True, []),
        ("cuda", False, []),
        ("cuda", True, [("CUDAExecutionProvider", {"device_id": 0})]),
        ("cuda:3", True, [("CUDAExecutionProvider", {"device_id": 3})]),
    ],
)
def test_a_network_runs_on_the_gpu_that_is_named(tmp_path, monkeypatch, device, has_gpu, expected):
    asked = []
    open_session = onnxruntime.InferenceSession

    def session(path, providers, **_):
        asked.extend(providers)
        return open_session(path, providers=["CPUExecutionProvider"])

    gpu = ["CUDAExecutionProvider"] if has_gpu else []
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [*gpu, "CPUExecutionProvider"])
    OnnxNetwork(save(tmp_path / "net.onnx"), device)
    assert asked == [*expected, "CPUExecutionProvider"]


@pytest.mark.parametrize(
    ("variant", "tolerance"),
    [
        ({"steps": [("Cast", None), ("Sub", 127.5), ("Mul", 1 / 127.5)]}, 1e-5),
        ({"steps": [("Identity", None), ("Sub", 0.5), ("Div", 0.5)]}, 1e-5),
        ({"norm_first": True}, 1e-5),
        ({"shape": (32, 3, 112, 112)}, 1e-5),
        ({"shape": (2, 3, 112, 112)}, 1e-5),
        ({"shape": (1, 3, 112, 112)}, 1e-5),
        ({"kind": TYPES.FLOAT16}, 5e-3),
        ({"output": "r"}, 1e-5),
    ],
)
def test_variants_embed_as_the_plain_network(tmp_path, variant, tolerance):
    expected = embed(load_network(save(tmp_path / "plain.onnx")), FACES)
    embeddings = embed(load_network(save(tmp_path / "variant.onnx", **variant)), FACES)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(embeddings, expected, atol=tolerance)


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ({"shape": ("N", 112, 112, 3), "steps": NHWC}, r"has the inputs input tensor\(float\) .*; export it with one"),
        ({"second": True}, "has the inputs input .*, size .*; export it with one input, floats"),
        ({"kind": TYPES.DOUBLE}, "has the inputs|is not a complete ONNX model"),
        ({"output": "n"}, r"gives \(5, 1\) for 5 faces; export it with an output \(batch, features\)"),
        ({"output": "t"}, r"gives \(1, 5, 16\) for 5 faces; export it"),
        ({"shape": ("N", 3, "H", "W"), "steps": [("Add", 1000)]}, "variant.onnx: the ONNX network first computes"),
    ],
)
def test_networks_that_do_not_fit_are_named(tmp_path, variant, message):
    with pytest.raises(InputError, match=message) as error:
        embed(load_network(save(tmp_path / "variant.onnx", **variant)), FACES)
    assert "variant.onnx" in str(error.value)
    assert "\n" not in str(error.value)
