"""A network's output for every face, computed in parts, so that a killed command resumes after the last one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bench.faces.face import Faces
from bench.files import write_array
from bench.machine.progress import progress
from generate.networks.over_faces import outputs_over_faces

PART_FACES = 2048
BATCH = 32


def outputs_in_parts(
    load_network: Callable[[], Callable[[torch.Tensor], torch.Tensor]],
    source: Faces,
    parts: Path,
    name: str,
    device: str,
) -> NDArray[np.float32]:
    """The network's output for every face, float32, shape (N, ...). Parts that an interrupted command wrote are read.

    Args:
        load_network: Loads the network onto the device; only called if a part is missing.
        source: The faces.
        parts: Folder of the parts, ``<name>-<first face>.npy``.
        name: What is computed, such as ``features``.
        device: Torch device of the network.
    """
    starts = range(0, len(source), PART_FACES)
    paths = [parts / f"{name}-{start:09d}.npy" for start in starts]
    missing = [start for start, path in zip(starts, paths, strict=True) if not path.exists()]
    if missing:
        network = load_network()
        done = len(source) - sum(min(PART_FACES, len(source) - start) for start in missing)
        with progress(desc=name, total=len(source), initial=done) as bar:
            for start in missing:
                rows = range(start, min(start + PART_FACES, len(source)))
                outputs = outputs_over_faces(
                    network, source, batch_size=BATCH, device=device, rows=rows, on_done=bar.update
                )
                write_array(parts / f"{name}-{start:09d}.npy", outputs)
    return np.concatenate([np.load(path) for path in paths])
