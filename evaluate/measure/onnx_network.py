"""An ONNX recognition network as a ``FaceNetwork``, run by onnxruntime. Legend: B batch, D feature dimension."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.face import FACE_SIZE
from bench.onnx_input import InputRange, input_range

_CUDA = "CUDAExecutionProvider"
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_SCALES: dict[InputRange, tuple[float, float]] = {"symmetric": (1, 0), "unit": (0.5, 0.5), "bytes": (127.5, 127.5)}
"""Range -> factor and offset that bring [-1, 1] to it."""


class OnnxNetwork:
    """A recognition network from an ``.onnx`` file.

    Its input is RGB in [-1, 1] for every file: where the graph expects 0..1 or 0..255, the pixels are scaled first. The
    features are the first output of shape (B, D) with D above 1; (B, D, 1, 1) counts too. A file with a fixed batch
    gets batches filled up with zeros.
    """

    def __init__(self, path: str | Path, device: str = "cpu") -> None:
        """Open the file.

        Args:
            path: The ``.onnx`` file.
            device: ``cuda`` or ``cuda:N`` runs on that GPU where the installed onnxruntime can, else on the CPU.

        Raises:
            InputError: If onnx or onnxruntime is not installed, the file is no ONNX model, or its input is anything
                else than floats (B, 3, 112, 112) in a known range.
        """
        try:
            import onnx
            import onnxruntime
        except ImportError as error:
            raise InputError(f"{path} needs {error.name}; run .venv/bin/pip install -e '.[onnx]'") from None
        gpu = []
        if device.startswith("cuda") and _CUDA in onnxruntime.get_available_providers():
            gpu = [(_CUDA, {"device_id": torch.device(device).index or 0})]
        self._path = path
        try:
            graph = onnx.load(path, load_external_data=False).graph
            # With the CPU alone there is nothing to fall back to, and trying prints several lines
            self._session = onnxruntime.InferenceSession(
                path, providers=[*gpu, "CPUExecutionProvider"], enable_fallback=len(gpu)
            )
            self.input_range = input_range(graph)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        except Exception as error:  # protobuf's and onnxruntime's errors share no base class
            raise InputError(f"{path} is not a complete ONNX model ({_reason(error)}); fetch it again") from None
        inputs = self._session.get_inputs()
        described = ", ".join(f"{value.name} {value.type} {value.shape}" for value in inputs)
        shape = inputs[0].shape if len(inputs) == 1 else []
        sizes = [size if isinstance(size, int) else None for size in shape]  # names stand for any size
        fits = [size in (None, needed) for size, needed in zip(sizes[1:], (3, FACE_SIZE, FACE_SIZE), strict=False)]
        if len(sizes) != 4 or not all(fits) or inputs[0].type not in _TYPES:
            raise InputError(
                f"{path} has the inputs {described[:200] or 'none'}; export it with one input, floats "
                f"(batch, 3, {FACE_SIZE}, {FACE_SIZE})"
            )
        self._input_name, self._type = inputs[0].name, _TYPES[inputs[0].type]
        self._fixed_batch = sizes[0]
        self._output_name: str | None = None

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Features, shape (B, D), of RGB images in [-1, 1], shape (B, 3, 112, 112).

        Raises:
            InputError: If the network does not run, or none of its outputs has the shape (B, D).
        """
        factor, offset = _SCALES[self.input_range]
        scaled = images if self.input_range == "symmetric" else images * factor + offset
        pixels = scaled.cpu().numpy().astype(self._type, copy=False)
        size = self._fixed_batch or len(pixels)
        features = [self._run(pixels[start : start + size]) for start in range(0, len(pixels), size)]
        return torch.from_numpy(np.concatenate(features)).to(images.device)

    def _run(self, pixels: NDArray[np.floating]) -> NDArray[np.float32]:
        """Features of at most one fixed batch."""
        num_images = len(pixels)
        if self._fixed_batch and num_images < self._fixed_batch:
            filling = np.zeros((self._fixed_batch - num_images, *pixels.shape[1:]), pixels.dtype)
            pixels = np.concatenate([pixels, filling])
        names = None if self._output_name is None else [self._output_name]
        try:
            outputs = self._session.run(names, {self._input_name: np.ascontiguousarray(pixels)})
        except Exception as error:  # onnxruntime's errors share no base class
            raise InputError(f"{self._path} does not run ({_reason(error)}); export it again") from None
        if self._output_name is None:
            position = self._find_features(outputs, len(pixels))
            self._output_name = self._session.get_outputs()[position].name
            outputs = [outputs[position]]
        return outputs[0][:num_images].reshape(num_images, -1).astype(np.float32, copy=False)

    def _find_features(self, outputs: Sequence[NDArray], batch: int) -> int:
        """Position of the first output of shape (B, D), D above 1, without regard to further dimensions of 1."""
        for position, output in enumerate(outputs):
            shape = np.shape(output)
            dimension = max(shape[1:], default=1)
            if shape[:1] == (batch,) and 1 < dimension == np.prod(shape[1:]) and output.dtype.kind == "f":
                return position
        shapes = ", ".join(str(np.shape(output)) for output in outputs)
        raise InputError(f"{self._path} gives {shapes} for {batch} faces; export it with an output (batch, features)")


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
