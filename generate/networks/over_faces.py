"""A network and faces -> the network's output for every face, computed in batches.

Images enter the network as x / 127.5 - 1 (``bench.faces.pixels``). Memory is that of the outputs and of one batch of
images. Shapes: ``N`` faces, ``B`` batch, ``H W`` pixels.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from bench.faces.face import Faces, aligned_image
from bench.faces.pixels import to_network_input


def face_batches(
    faces: Faces | NDArray[np.uint8], batch_size: int, rows: range | None = None
) -> Iterator[NDArray[np.uint8]]:
    """Consecutive faces in batches, uint8, shape (B, H, W, 3), RGB; the last batch may be smaller.

    Args:
        faces: A dataset of aligned faces, or images in memory, shape (N, H, W, 3).
        batch_size: Faces per batch.
        rows: Consecutive positions to take; by default all.

    Raises:
        InputError: If a face of a dataset does not decode or is not square.
    """
    rows = range(len(faces)) if rows is None else rows
    for start in range(rows.start, rows.stop, batch_size):
        batch = range(start, min(start + batch_size, rows.stop))
        if isinstance(faces, np.ndarray):
            yield faces[batch.start : batch.stop]
        else:
            yield np.stack([aligned_image(faces, row) for row in batch])


def outputs_over_faces(
    network: Callable[[torch.Tensor], torch.Tensor],
    faces: Faces | NDArray[np.uint8],
    *,
    batch_size: int,
    device: str | torch.device = "cpu",
    rows: range | None = None,
    on_done: Callable[[int], object] = lambda num_done: None,
) -> NDArray[np.float32]:
    """The network's output for every face, float32, shape (N, ...).

    Args:
        network: Images (B, 3, H, W) in [-1, 1] -> one output row per image.
        faces: At least one face: a dataset of aligned faces, or images in memory, shape (N, H, W, 3).
        batch_size: Faces per forward pass.
        device: Where the network is.
        rows: Consecutive positions to take; by default all.
        on_done: Called after every batch with the number of its faces.

    Raises:
        InputError: If a face of a dataset does not decode or is not square.
    """
    num_faces = len(faces) if rows is None else len(rows)
    outputs, start = np.empty(0, np.float32), 0
    with torch.inference_mode():
        for images in face_batches(faces, batch_size, rows):
            output = network(to_network_input(images, device)).float().cpu().numpy()
            if start == 0:
                outputs = np.empty((num_faces, *output.shape[1:]), np.float32)
            outputs[start : start + len(output)] = output
            start += len(output)
            on_done(len(output))
    return outputs
