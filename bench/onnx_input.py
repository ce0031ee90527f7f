"""Input range of an ONNX recognition network, which the format does not state: [-1, 1], 0..1 or 0..255.

A graph that first subtracts, adds, multiplies or divides by constants normalises the pixels itself. Converters put
Cast, Identity and Transpose before that. The expected range is the one that these constants map to about [-c, c], 0..1
or 0..255.
"""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

from bench.errors import InputError

InputRange = Literal["symmetric", "unit", "bytes"]
"""[-1, 1], 0..1 or 0..255."""

_ENDS: dict[InputRange, tuple[float, float]] = {"bytes": (0, 255), "unit": (0, 1), "symmetric": (-1, 1)}
_KEEPS_RANGE = ("Cast", "Identity", "Transpose")
_ARITHMETIC = ("Sub", "Add", "Mul", "Div")


def takes_bytes(graph: Any) -> bool:
    """Whether a network expects RGB in 0..255; if not, it expects RGB in [-1, 1].

    Args:
        graph: The ``graph`` of an ``onnx.ModelProto``.

    Raises:
        InputError: If it expects 0..1, which its callers do not feed, or its range is unclear.
    """
    expected = input_range(graph)
    if expected == "unit":
        raise InputError("the ONNX network expects pixels in 0..1; export it for [-1, 1] or 0..255")
    return expected == "bytes"


def input_range(graph: Any) -> InputRange:
    """The range of RGB that a network expects.

    Args:
        graph: The ``graph`` of an ``onnx.ModelProto``.

    Raises:
        InputError: If the first operations do not tell.
    """
    weights = {tensor.name for tensor in graph.initializer}  # older exports list weights among the inputs
    images = [value.name for value in graph.input if value.name not in weights]
    factor, offset = _normalisation(images[0], graph, _constants(graph)) if images else (1.0, 0.0)
    if offset == 0 and 0.25 <= factor <= 1.5:
        return "symmetric"
    for name, ends in _ENDS.items():
        low, high = sorted(factor * end + offset for end in ends)
        is_centred = abs(low + high) <= 0.25 * (high - low) and 0.5 <= high - low <= 600
        starts_at_0 = abs(low) <= 0.05 * high and (0.9 <= high <= 2.1 or (120 <= high <= 260 and name != "bytes"))
        if is_centred or starts_at_0:
            return name
    raise InputError(
        f"the ONNX network first computes {factor:g} x + {offset:g}, which fits pixels neither in [-1, 1] nor in 0..1 "
        "or 0..255; export it without a normalisation"
    )


def _normalisation(tensor: str, graph: Any, constants: dict[str, float]) -> tuple[float, float]:
    """Factor and offset that the operations behind ``tensor`` apply to it; 1 and 0 where they apply none."""
    factor, offset = 1.0, 0.0
    for _ in graph.node:  # no chain is longer
        steps = sorted(_consumers(tensor, graph, constants), key=lambda step: step[1:] == (1.0, 0.0))
        if not steps:
            break
        tensor, step_factor, step_offset = steps[0]  # if the graph branches, follow a branch that changes the pixels
        factor, offset = factor * step_factor, offset * step_factor + step_offset
    return factor, offset


def _consumers(tensor: str, graph: Any, constants: dict[str, float]) -> Iterator[tuple[str, float, float]]:
    """Output, factor and offset of each node that scales or shifts ``tensor`` by a constant, or keeps its range."""
    for node in graph.node:
        names = list(node.input)
        if tensor not in names or not node.output:
            continue
        if node.op_type in _KEEPS_RANGE:
            yield node.output[0], 1.0, 0.0
        if node.op_type not in _ARITHMETIC or len(names) != 2:
            continue
        constant = constants.get(names[1] if names[0] == tensor else names[0])
        if constant is None:
            continue
        is_first = names[0] == tensor
        if node.op_type == "Mul":
            yield node.output[0], constant, 0.0
        elif node.op_type == "Add":
            yield node.output[0], 1.0, constant
        elif node.op_type == "Sub":
            yield node.output[0], (1.0 if is_first else -1.0), (-constant if is_first else constant)
        elif is_first and constant:
            yield node.output[0], 1 / constant, 0.0


def _constants(graph: Any) -> dict[str, float]:
    """Mean of each constant of the graph, by name; constants behind Cast and Identity too."""
    from onnx import numpy_helper

    means: dict[str, float] = {}
    # Weights of layers are no normalisation, and may be large or lie in other files.
    small = [tensor for tensor in graph.initializer if np.prod(tensor.dims, dtype=float) <= 3 * 112 * 112]
    tensors = {tensor.name: tensor for tensor in small}
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    tensors[node.output[0]] = attribute.t
                elif attribute.name == "value_float":
                    means[node.output[0]] = attribute.f
    used = {name for node in graph.node if node.op_type in (*_ARITHMETIC, *_KEEPS_RANGE) for name in node.input}
    for name, tensor in tensors.items():
        if name in used and tensor.data_location != tensor.EXTERNAL:
            values = numpy_helper.to_array(tensor)
            if values.size and values.dtype.kind in "fiu":
                means[name] = float(values.astype(np.float64).mean())
    for node in graph.node:
        if node.op_type in _KEEPS_RANGE and node.input and node.input[0] in means:
            means[node.output[0]] = means[node.input[0]]
    return means
