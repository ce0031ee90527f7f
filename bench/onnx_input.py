"""Input range of an ONNX recognition network, which the format does not state: [-1, 1] or 0..255."""

from typing import Any


def takes_bytes(graph: Any) -> bool:
    """Whether a network expects RGB in 0..255; if not, it expects RGB in [-1, 1].

    A graph that first subtracts, multiplies or divides its input normalises the pixels itself and so expects 0..255.
    MXNet exports such as mobilefacenet_y1 do this.

    Args:
        graph: The ``graph`` of an ``onnx.ModelProto``.
    """
    weights = {tensor.name for tensor in graph.initializer}  # older exports list weights among the inputs
    images = [value.name for value in graph.input if value.name not in weights][:1]
    return any(node.op_type in ("Sub", "Mul", "Div") and set(images) & set(node.input) for node in graph.node)
