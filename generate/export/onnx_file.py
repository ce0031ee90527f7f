"""A PyTorch module -> one ONNX file with a free batch axis, and the ONNX file as a function.

Shapes: ``B`` batch, the first axis of every input and output.
"""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bench.errors import InputError
from bench.files import atomic_path

MAX_BYTES = 2**31 - 2**20
"""Most bytes of weights in one file: protocol buffers end at 2 GiB."""
_OPSET = 18


def write_onnx(
    path: Path, network: nn.Module, inputs: Mapping[str, torch.Tensor], output: str, metadata: Mapping[str, str]
) -> None:
    """Write a network in eval mode; the file appears whole or not at all.

    Args:
        path: The file.
        network: Takes the inputs in their order, returns one tensor.
        inputs: Name of each input -> an example with at least two rows.
        output: Name of the output.
        metadata: Texts to store in the file, by key.

    Raises:
        InputError: If onnx or onnxscript is not installed, or the weights do not fit into one file.
    """
    try:
        import onnx  # noqa: F401 (torch's exporter needs both)
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise _missing_package(error) from None
    num_bytes = sum(weight.numel() * weight.element_size() for weight in network.state_dict().values())
    if num_bytes > MAX_BYTES:
        raise InputError(
            f"the network holds {num_bytes / 1e9:.1f} GB of weights, but an ONNX file ends at 2 GiB; "
            "give a smaller network"
        )
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        program = torch.onnx.export(
            network,
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=[output],
            dynamic_shapes=tuple({0: batch} for _ in inputs),
            opset_version=_OPSET,
            verbose=False,
        )
    program.model.metadata_props.update(metadata)  # type: ignore[union-attr]
    with atomic_path(path) as temporary:
        program.save(temporary, external_data=False)  # type: ignore[union-attr]


def onnx_function(path: Path) -> Callable[..., NDArray[np.float32]]:
    """The network of an ONNX file as a function of arrays, in the order of its inputs; it runs on the CPU.

    Raises:
        InputError: If onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise _missing_package(error) from None
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]

    def run(*arrays: NDArray) -> NDArray[np.float32]:
        return session.run(None, dict(zip(names, arrays, strict=True)))[0]

    return run


def _missing_package(error: ImportError) -> InputError:
    return InputError(f"ONNX needs {error.name}; run .venv/bin/pip install -e '.[onnx]'")
