"""Which range of pixels an ONNX recognition network takes: the format itself says nothing of it."""

from typing import Any


def takes_bytes(graph: Any) -> bool:
    """Whether a network takes RGB of 0..255; any other takes RGB in [-1, 1].

    Rule: a graph whose input goes straight into Sub, Mul or Div normalises by itself (MXNet exports such as
    mobilefacenet_y1).

    Args:
        graph: The ``graph`` of an ``onnx.ModelProto``.
    """
    weights = {tensor.name for tensor in graph.initializer}  # older exports list them among the inputs
    images = [value.name for value in graph.input if value.name not in weights][:1]
    return any(node.op_type in ("Sub", "Mul", "Div") and set(images) & set(node.input) for node in graph.node)
