"""The input range of ONNX networks, by the constants that their first operations apply."""

import numpy as np
import pytest

from bench.errors import InputError
from bench.onnx_input import input_range, takes_bytes

onnx = pytest.importorskip("onnx")
IMAGENET_MEAN = np.reshape([0.485, 0.456, 0.406], (1, 3, 1, 1))
IMAGENET_STD = np.reshape([0.229, 0.224, 0.225], (3, 1, 1))
HELPER, FLOAT = onnx.helper, onnx.TensorProto.FLOAT


def graph(*steps, constant_nodes=False):
    """A graph that applies steps (operation, constant or None) to its input, then pools."""
    nodes, weights, tensor = [], [], "image"
    for position, (operation, value) in enumerate(steps):
        names = [tensor]
        if value is not None:
            array = onnx.numpy_helper.from_array(np.array(value, np.float32), f"c{position}")
            if constant_nodes:
                nodes.append(HELPER.make_node("Constant", [], [f"k{position}"], value=array))
                nodes.append(HELPER.make_node("Identity", [f"k{position}"], [f"c{position}"]))
            else:
                weights.append(array)
            names = [f"c{position}", tensor] if operation == "Add" else [tensor, f"c{position}"]
        attributes = {"Cast": {"to": FLOAT}, "Transpose": {"perm": [0, 1, 2, 3]}}.get(operation, {})
        nodes.append(HELPER.make_node(operation, names, [f"t{position}"], **attributes))
        tensor = f"t{position}"
    nodes.append(HELPER.make_node("GlobalAveragePool", [tensor], ["features"]))
    inputs = [HELPER.make_tensor_value_info("image", FLOAT, ["N", 3, 112, 112])]
    outputs = [HELPER.make_tensor_value_info("features", FLOAT, ["N", 3, 1, 1])]
    return HELPER.make_graph(nodes, "g", inputs, outputs, weights)


CASES = [
    ("symmetric", []),
    ("symmetric", [("Identity", None)]),
    ("symmetric", [("Add", 1), ("Mul", 127.5)]),
    ("bytes", [("Sub", 127.5)]),
    ("bytes", [("Sub", 127.5), ("Mul", 1 / 128)]),
    ("bytes", [("Div", 255)]),
    ("bytes", [("Div", 127.5), ("Sub", 1)]),
    ("bytes", [("Cast", None), ("Add", -127.5), ("Div", 128)]),
    ("bytes", [("Transpose", None), ("Identity", None), ("Mul", 1 / 255), ("Sub", 0.5), ("Div", 0.5)]),
    ("bytes", [("Sub", IMAGENET_MEAN * 255), ("Div", IMAGENET_STD * 255)]),
    ("unit", [("Sub", 0.5), ("Div", 0.5)]),
    ("unit", [("Mul", 2), ("Sub", 1)]),
    ("unit", [("Mul", 255), ("Sub", 127.5)]),
    ("unit", [("Sub", IMAGENET_MEAN), ("Div", IMAGENET_STD)]),
]


@pytest.mark.parametrize(("expected", "steps"), CASES)
@pytest.mark.parametrize("constant_nodes", [False, True])
def test_range_by_the_constants(expected, steps, constant_nodes):
    assert input_range(graph(*steps, constant_nodes=constant_nodes)) == expected


def test_ranges_that_cannot_be_told_or_fed_are_refused():
    with pytest.raises(InputError, match=r"first computes 1 x \+ 1000, which fits pixels neither in \[-1, 1\] nor in"):
        input_range(graph(("Add", 1000)))
    assert takes_bytes(graph(("Sub", 127.5)))
    with pytest.raises(InputError, match=r"expects pixels in 0..1; export it for \[-1, 1\] or 0..255"):
        takes_bytes(graph(("Sub", 0.5)))
