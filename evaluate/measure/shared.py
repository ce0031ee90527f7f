"""Embedding of a test set by all processes together: each computes its share, and each receives everything.

The images are cut into the same batches whatever the number of processes, and process r computes the batches r,
r + world_size, ... A batch therefore holds the same images, and its features have the same bits. Legend: N images,
B batch, D embedding dimension.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from bench.errors import InputError
from bench.machine.processes import gather_in_order, joined_rank
from evaluate.layouts.images import LazyImages
from evaluate.measure.embed import BATCH_SIZE, FaceNetwork, Precision, feature_batches, unit_embeddings


def shared_embeddings(
    network: FaceNetwork, images: LazyImages, *, device: str, precision: Precision = "float32"
) -> NDArray[np.float32]:
    """Unit embeddings of all images in every process, shape (N, D), as of ``embed``. All processes must call this.

    Args:
        network: The same network in every process, on its device.
        images: The images of the test set, the same in every process.
        device: Torch device of this process.
        precision: ``bf16`` runs the network under autocast.

    Raises:
        InputError: In every process, if an image of any process does not decode.
    """
    return unit_embeddings(
        shared_feature_batches(network, images, device=device, precision=precision), len(images)
    )  # fmt: skip


def shared_feature_batches(
    network: FaceNetwork, images: LazyImages, *, device: str, precision: Precision = "float32"
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Features of all batches in every process; arguments and errors as of ``shared_embeddings``.

    Yields:
        Positions of the batch in ``images``, and its features before normalising, float32, shape (B, D), on ``device``.
    """
    rank, world_size = joined_rank()
    batches = [slice(start, min(start + BATCH_SIZE, len(images))) for start in range(0, len(images), BATCH_SIZE)]
    if world_size == 1:
        yield from feature_batches(network, images, device=device, precision=precision)
        return
    own_positions = [images.positions[batch] for batch in batches[rank::world_size]]
    own_images = LazyImages(images.read, np.concatenate([images.positions[:0], *own_positions]))
    own_features = feature_batches(network, own_images, device=device, precision=precision)
    for first in range(0, len(batches), world_size):
        parts = gather_in_order(_next_features(own_features))
        for batch, part in zip(batches[first : first + world_size], parts, strict=False):
            if not isinstance(part, np.ndarray):
                raise part if part is not None else RuntimeError(f"a process has no features of images {batch}")
            yield batch, torch.from_numpy(part).to(device)


def _next_features(batches: Iterator[tuple[slice, torch.Tensor]]) -> NDArray[np.float32] | InputError | None:
    """Features of the next batch of this process; the error if it has a bad image; None if it has no batch left."""
    try:
        for _, features in batches:
            return features.cpu().numpy()
    except InputError as error:
        return error
    return None
