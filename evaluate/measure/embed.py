"""Face images -> unit embeddings. The features of the mirrored image are added here, and nowhere else.

In: a network (float NCHW RGB in [-1, 1] -> features) and uint8 images. Out: float32 embeddings of length 1, the
normalised sum of f(image) and f(mirrored image), as the ArcFace family does. Images stay uint8 until they are on the
device. Legend: N images, B batch, D embedding dimension.

``shared_embeddings`` lets the processes of a group share a test set. The images are cut into the same batches whatever
the number of processes, and process r computes the batches r, r + world_size, ... A batch therefore holds the same
images, and its features have the same bits.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.face import FACE_SIZE
from bench.faces.pixels import to_network_input
from bench.machine.device import freed_memory_kept
from bench.machine.figures import count_images
from bench.machine.processes import joined_rank, share_in_order
from bench.machine.progress import progress
from bench.runs.fingerprints import TestMode
from bench.vectors.rows import copy_rows
from evaluate.layouts.images import ImageArray, LazyImages
from evaluate.measure.onnx_network import OnnxNetwork

BATCH_SIZE = 64
RAW_PIXELS_SIZE = 28

Precision = Literal["float32", "bf16"]
"""bf16 runs a network under autocast."""


class FaceNetwork(Protocol):
    """A recognition network without its head."""

    def __call__(self, images: torch.Tensor, /) -> torch.Tensor:
        """Features, shape (B, D), of RGB images in [-1, 1], float, shape (B, 3, 112, 112)."""
        ...


def load_network(path: str | Path, device: str = "cpu") -> FaceNetwork:
    """A recognition network from a file, ready on ``device`` and in eval mode.

    Args:
        path: ``.onnx``, or any file of ``fr_train.checkpoint.load_backbone``: trained here, or released as ``.pth``,
            ``.ckpt`` or ``.safetensors``.
        device: Torch device. An ONNX network runs on the GPU where the installed onnxruntime can, else on the CPU.

    Raises:
        InputError: If the file is missing or holds no such network, or onnxruntime is not installed.

    Example:
        >>> from evaluate.measure.embed import embed, load_network
        >>> network = load_network("model.safetensors")
        >>> embeddings = embed(network, faces)  # faces: uint8 RGB, (N, 112, 112, 3); embeddings: float32, (N, D)
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist; give a .safetensors, .pth, .ckpt or .onnx file")
    if path.suffix == ".onnx":
        return OnnxNetwork(path, device)
    from fr_train.checkpoint import load_backbone

    return load_backbone(path).to(device).to(memory_format=torch.channels_last).eval()


def embed(
    network: FaceNetwork,
    images: ImageArray,
    *,
    batch_size: int = BATCH_SIZE,
    device: str = "cpu",
    mode: TestMode = "norm_weighted",
    precision: Precision = "float32",
) -> NDArray[np.float32]:
    """Unit embeddings of aligned face images.

    Args:
        network: Callable from images to features. A ``torch.nn.Module`` must be on ``device``; it is in eval mode for
            the duration of the call.
        images: RGB, uint8, shape (N, 112, 112, 3).
        batch_size: Images per forward pass; changes embeddings by rounding only.
        device: Torch device of the network.
        mode: How the mirrored image enters the embedding: ``norm_weighted`` adds its features, ``flip_sum`` adds both
            features at length 1, ``no_flip`` leaves it out.
        precision: ``bf16`` runs the network under autocast.

    Returns:
        Embeddings, shape (N, D), each of length 1 (or 0 where all features are 0).

    Raises:
        InputError: If the images have another shape or type, or one does not decode.

    Example:
        >>> from evaluate.measure.embed import embed, load_network
        >>> network = load_network("model.onnx", device="cuda")
        >>> embeddings = embed(network, faces, device="cuda")
        >>> cosine = embeddings[0] @ embeddings[1]
    """
    batches = feature_batches(network, images, batch_size=batch_size, device=device, mode=mode, precision=precision)
    return unit_embeddings(batches, len(images))


def unit_embeddings(batches: Iterable[tuple[slice, torch.Tensor]], num_images: int) -> NDArray[np.float32]:
    """Embeddings of length 1, shape (num_images, D), from the batches of ``feature_batches``."""
    embeddings: NDArray[np.float32] | None = None
    for batch, features in batches:
        normalised = F.normalize(features).cpu().numpy()  # (B, D)
        if embeddings is None:
            embeddings = np.empty((num_images, normalised.shape[1]), dtype=np.float32)
        embeddings[batch] = normalised
    return np.empty((0, 0), dtype=np.float32) if embeddings is None else embeddings


def feature_batches(
    network: FaceNetwork,
    images: ImageArray,
    *,
    batch_size: int = BATCH_SIZE,
    device: str = "cpu",
    mode: TestMode = "norm_weighted",
    precision: Precision = "float32",
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Features before normalising, batch by batch; arguments and errors are those of ``embed``.

    Yields:
        Positions of the batch in ``images``, and its features, float32, shape (B, D), on ``device``.
    """
    batches = [slice(start, start + batch_size) for start in range(0, len(images), batch_size)]
    device_type = torch.device(device).type
    bar_of_images = progress(desc="embed", total=len(images))
    with freed_memory_kept(device), _eval_mode(network), bar_of_images as bar:
        for batch, pixels in zip(batches, _prefetched(images, batches), strict=True):
            autocast = torch.autocast(device_type, torch.bfloat16) if precision == "bf16" else nullcontext()
            with torch.inference_mode(), autocast:  # not around the yield: the caller would be in them as well
                faces = to_network_input(pixels, device)  # (B, 3, 112, 112)
                features = _features(network, faces, mode)
            yield batch, features
            bar.update(len(pixels))
            count_images("embed", len(pixels))


def shared_embeddings(
    network: FaceNetwork,
    images: LazyImages,
    *,
    device: str,
    precision: Precision = "float32",
    mode: TestMode = "norm_weighted",
) -> NDArray[np.float32]:
    """Unit embeddings of all images, shape (N, D), in every process, equal to ``embed``. All processes must call this.

    Args:
        network: The same network in every process, on its device.
        images: The images of the test set, the same in every process.
        device: Torch device of this process.
        precision: ``bf16`` runs the network under autocast.
        mode: How the features of the mirrored image enter the embedding.

    Raises:
        InputError: In every process, if an image of any process does not decode.
    """
    return unit_embeddings(
        shared_feature_batches(network, images, device=device, precision=precision, mode=mode), len(images)
    )  # fmt: skip


def shared_feature_batches(
    network: FaceNetwork,
    images: LazyImages,
    *,
    device: str,
    precision: Precision = "float32",
    mode: TestMode = "norm_weighted",
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Features of all batches in every process; arguments and errors are those of ``shared_embeddings``.

    Yields:
        Positions of the batch in ``images``, and its features before normalising, float32, shape (B, D), on ``device``.
    """
    batches = [slice(start, min(start + BATCH_SIZE, len(images))) for start in range(0, len(images), BATCH_SIZE)]
    if joined_rank()[1] == 1:
        yield from feature_batches(network, images, device=device, precision=precision, mode=mode)
        return

    def compute(own_batches: Sequence[slice]) -> Iterator[NDArray[np.float32]]:
        own_positions = [images.positions[batch] for batch in own_batches]
        own_images = LazyImages(images.read, np.concatenate([images.positions[:0], *own_positions]))
        for _, features in feature_batches(network, own_images, device=device, precision=precision, mode=mode):
            yield features.cpu().numpy()

    for batch, features in zip(batches, share_in_order(batches, compute), strict=True):
        yield batch, torch.from_numpy(features).to(device)


def _features(network: FaceNetwork, faces: torch.Tensor, mode: TestMode) -> torch.Tensor:
    """Features of a batch with those of its mirror image, float32, shape (B, D)."""
    features = network(faces).float()
    if mode == "no_flip":
        return features
    mirrored = network(faces.flip(3)).float()
    if mode == "flip_sum":
        return F.normalize(features) + F.normalize(mirrored)
    return features + mirrored


def _prefetched(images: ImageArray, batches: Sequence[slice]) -> Iterator[NDArray[np.uint8]]:
    """Batches of images in order; a thread decodes the next one while the network works on this one."""

    def load(batch: slice) -> NDArray[np.uint8]:
        chosen = copy_rows(images, batch) if isinstance(images, np.memmap) else images[batch]
        pixels = np.ascontiguousarray(chosen)
        if pixels.dtype != np.uint8 or pixels.shape[1:] != (FACE_SIZE, FACE_SIZE, 3):
            raise InputError(
                f"images are {pixels.dtype} of shape {(len(images), *pixels.shape[1:])}; give aligned faces, uint8 RGB "
                f"of shape (num_images, {FACE_SIZE}, {FACE_SIZE}, 3)"
            )
        return pixels

    with ThreadPoolExecutor(max_workers=1) as pool:
        upcoming = [pool.submit(load, batch) for batch in batches[:1]]
        for i in range(len(batches)):
            pixels = upcoming.pop().result()
            upcoming += [pool.submit(load, batch) for batch in batches[i + 1 : i + 2]]
            yield pixels


@contextmanager
def _eval_mode(network: Any) -> Iterator[None]:
    """Eval mode for a module that is in training mode; training mode again afterwards."""
    was_training = isinstance(network, torch.nn.Module) and network.training
    if was_training:
        network.eval()
    try:
        yield
    finally:
        if was_training:
            network.train()


def raw_pixels(images: torch.Tensor) -> torch.Tensor:
    """Features without any learning, shape (B, 2352): colours averaged to 28 x 28, minus the mean of each image."""
    pixels = F.interpolate(images, size=(RAW_PIXELS_SIZE, RAW_PIXELS_SIZE), mode="area").flatten(1)
    return pixels - pixels.mean(dim=1, keepdim=True)
