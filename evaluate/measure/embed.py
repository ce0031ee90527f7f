"""Images -> unit embeddings. The flipped image's features are added here, and nowhere else.

In: a network (float NCHW in [-1, 1], RGB -> features) and uint8 images. Out: float32 embeddings of length 1:
``normalised(f(x) + f(flip x))``, the convention of the ArcFace family. Images stay uint8 until they are on the device.
Legend: N images, B batch, D embedding dimension.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from bench.errors import InputError
from bench.machine.progress import progress
from bench.onnx_input import takes_bytes
from evaluate.layouts.images import ImageArray

BATCH_SIZE = 64
PIXEL_FLOOR_SIZE = 28


class FaceNetwork(Protocol):
    """A recognition network without its head."""

    def __call__(self, images: torch.Tensor, /) -> torch.Tensor:
        """Features, shape (B, D), of RGB images in [-1, 1], float, shape (B, 3, 112, 112)."""
        ...


def embed(
    network: FaceNetwork,
    images: ImageArray,
    *,
    batch_size: int = BATCH_SIZE,
    device: str = "cpu",
    flip: bool = True,
    precision: Literal["float32", "bf16"] = "float32",
) -> NDArray[np.float32]:
    """Unit embeddings of face images.

    Args:
        network: Features from images; a ``torch.nn.Module`` is put in eval mode meanwhile and must be on ``device``.
        images: RGB, uint8, shape (N, 112, 112, 3).
        batch_size: Images per forward pass. It moves embeddings by rounding only.
        device: Torch device of the network.
        flip: Whether the features of the mirrored image are added before normalising.
        precision: bf16 runs the network under autocast.

    Returns:
        Embeddings, shape (N, D), each of length 1 (or 0 where the features are all 0).
    """
    embeddings: NDArray[np.float32] | None = None
    for batch, features in feature_batches(
        network, images, batch_size=batch_size, device=device, flip=flip, precision=precision
    ):
        normalised = F.normalize(features).cpu().numpy()  # (B, D)
        if embeddings is None:
            embeddings = np.empty((len(images), normalised.shape[1]), dtype=np.float32)
        embeddings[batch] = normalised
    return np.empty((0, 0), dtype=np.float32) if embeddings is None else embeddings


def feature_batches(
    network: FaceNetwork,
    images: ImageArray,
    *,
    batch_size: int = BATCH_SIZE,
    device: str = "cpu",
    flip: bool = True,
    precision: Literal["float32", "bf16"] = "float32",
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Features before normalising, (B, D) float32 on ``device``, with the places of their images; see ``embed``."""
    batches = [slice(start, start + batch_size) for start in range(0, len(images), batch_size)]
    autocast = torch.autocast(torch.device(device).type, torch.bfloat16) if precision == "bf16" else nullcontext()
    bar = progress(desc="embed", total=len(images))
    with torch.inference_mode(), _eval_mode(network), autocast, bar:
        for batch, pixels in zip(batches, _prefetched(images, batches), strict=True):
            on_device = torch.from_numpy(pixels).to(device)  # (B, 112, 112, 3)
            faces = ((on_device.permute(0, 3, 1, 2).float() / 255) - 0.5) / 0.5  # (B, 3, 112, 112), channels last
            features = network(faces).float()
            if flip:
                features = features + network(faces.flip(3)).float()
            yield batch, features
            bar.update(len(pixels))


def _prefetched(images: ImageArray, batches: Sequence[slice]) -> Iterator[NDArray[np.uint8]]:
    """Batches in order, the next one decoded in a thread while the network works on this one."""
    with ThreadPoolExecutor(max_workers=1) as pool:

        def load(batch: slice) -> NDArray[np.uint8]:
            return np.ascontiguousarray(images[batch])

        upcoming = [pool.submit(load, batch) for batch in batches[:1]]
        for i in range(len(batches)):
            pixels = upcoming.pop().result()
            upcoming += [pool.submit(load, batch) for batch in batches[i + 1 : i + 2]]
            yield pixels


@contextmanager
def _eval_mode(network: Any) -> Iterator[None]:
    was_training = isinstance(network, torch.nn.Module) and network.training
    if was_training:
        network.eval()
    try:
        yield
    finally:
        if was_training:
            network.train()


def load_network(path: str | Path, device: str = "cpu") -> FaceNetwork:
    """A recognition network from a file, ready on ``device``.

    Args:
        path: ``.safetensors`` or ``.pth`` (ours, or a released IResNet), or ``.onnx``.
        device: Torch device; an ONNX model runs on the GPU where onnxruntime can.

    Raises:
        InputError: If the file is missing or holds no such network, or onnxruntime is not installed.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist; give a .safetensors, .pth or .onnx file")
    if path.suffix == ".onnx":
        return OnnxNetwork(path, device)
    from fr_train.checkpoint import load_backbone

    return load_backbone(path).to(device).to(memory_format=torch.channels_last).eval()


class OnnxNetwork:
    """An ONNX recognition network, run by onnxruntime; takes images in [-1, 1], whatever the graph takes."""

    def __init__(self, path: Path, device: str = "cpu") -> None:
        try:
            import onnx
            import onnxruntime
        except ImportError as error:
            raise InputError(f"{path} needs {error.name}; run .venv/bin/pip install -e '.[onnx]'") from None
        providers = ["CUDAExecutionProvider"] if device.startswith("cuda") else []
        available = [name for name in providers if name in onnxruntime.get_available_providers()]
        try:
            graph = onnx.load(path, load_external_data=False).graph
            self._session = onnxruntime.InferenceSession(path, providers=[*available, "CPUExecutionProvider"])
        except Exception as error:  # protobuf's and onnxruntime's errors share no base class
            raise InputError(f"{path} is not a whole ONNX model ({str(error)[:200]}); fetch it again") from None
        image = self._session.get_inputs()[0]
        self._input = image.name
        self._one_by_one = image.shape[0] == 1
        self.takes_bytes = takes_bytes(graph)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Features, shape (B, D), of RGB images in [-1, 1], shape (B, 3, 112, 112)."""
        pixels = (images * 127.5 + 127.5 if self.takes_bytes else images).cpu().numpy()
        parts = [pixels[i : i + 1] for i in range(len(pixels))] if self._one_by_one else [pixels]
        features = [self._session.run(None, {self._input: np.ascontiguousarray(part)})[0] for part in parts]
        return torch.from_numpy(np.concatenate(features)).to(images.device)


def raw_pixels(images: torch.Tensor) -> torch.Tensor:
    """Floor without any learning: colours averaged to 28 x 28, less their mean, shape (B, 2352)."""
    pixels = F.interpolate(images, size=(PIXEL_FLOOR_SIZE, PIXEL_FLOOR_SIZE), mode="area").flatten(1)
    return pixels - pixels.mean(dim=1, keepdim=True)
