"""An ONNX recognition network as a ``FaceNetwork``, run by onnxruntime."""

from pathlib import Path

import numpy as np
import torch

from bench.errors import InputError
from bench.onnx_input import takes_bytes


class OnnxNetwork:
    """A recognition network from an ``.onnx`` file.

    Its input is RGB in [-1, 1] for every file: where the graph expects 0..255, the pixels are scaled back first.
    """

    def __init__(self, path: str | Path, device: str = "cpu") -> None:
        """Open the file.

        Args:
            path: The ``.onnx`` file.
            device: ``cuda`` runs on the GPU where the installed onnxruntime can, else on the CPU.

        Raises:
            InputError: If onnx or onnxruntime is not installed, or the file is no ONNX model.
        """
        try:
            import onnx
            import onnxruntime
        except ImportError as error:
            raise InputError(f"{path} needs {error.name}; run .venv/bin/pip install -e '.[onnx]'") from None
        wanted = ["CUDAExecutionProvider"] if device.startswith("cuda") else []
        available = [name for name in wanted if name in onnxruntime.get_available_providers()]
        try:
            graph = onnx.load(path, load_external_data=False).graph
            self._session = onnxruntime.InferenceSession(path, providers=[*available, "CPUExecutionProvider"])
        except Exception as error:  # protobuf's and onnxruntime's errors share no base class
            raise InputError(f"{path} is not a complete ONNX model ({str(error)[:200]}); fetch it again") from None
        image_input = self._session.get_inputs()[0]
        self._input_name = image_input.name
        self._takes_one_image = image_input.shape[0] == 1
        self.takes_bytes = takes_bytes(graph)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Features, shape (B, D), of RGB images in [-1, 1], shape (B, 3, 112, 112)."""
        pixels = (images * 127.5 + 127.5 if self.takes_bytes else images).cpu().numpy()
        parts = [pixels[i : i + 1] for i in range(len(pixels))] if self._takes_one_image else [pixels]
        features = [self._session.run(None, {self._input_name: np.ascontiguousarray(part)})[0] for part in parts]
        return torch.from_numpy(np.concatenate(features)).to(images.device)
