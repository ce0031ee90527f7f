"""Add turned views to a dataset of photographs: ``python -m generate turn``.

In: aligned photographs and the weights of a yaw network. Out: an LMDB in which each photograph is followed by its
turned views, of the same identity. Photographs from the press show few turned heads. A generator trained on them alone
draws no profiles, and networks trained on its faces fail on profiles. The geometry is in ``generate/render/turned.py``.

Shapes: ``N`` photographs.
"""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.face import Faces, aligned_image, encode_jpeg
from bench.faces.lmdb_file import FaceWriter
from bench.files import refuse_overwriting
from bench.machine.device import num_cores
from bench.machine.progress import progress
from generate.networks.estimators import yaw_estimator
from generate.networks.over_faces import outputs_over_faces
from generate.render.turned import turn_face, view_yaw

_BATCH = 128
_FACES_PER_CORE = 32


def measure_yaw(faces: Faces, yaw_model: str | Path, *, device: str = "cpu") -> NDArray[np.float64]:
    """Yaw of aligned faces in degrees, shape (N,), measured by a yaw network.

    Args:
        faces: Aligned faces; square ones are scaled to 112 x 112.
        yaw_model: Weights of 6DRepNet, or of the suite's own network (``.safetensors``).
        device: Torch device of the network.

    Raises:
        InputError: If a face is not square, or the weights cannot be read.
    """
    network = yaw_estimator(yaw_model, device)
    with progress(desc="yaw", total=len(faces)) as bar:
        yaw = outputs_over_faces(network, faces, batch_size=_BATCH, device=device, on_done=bar.update)
    return yaw.astype(np.float64)


def write_with_views(
    faces: Faces,
    yaw: NDArray[np.floating],
    path: str | Path,
    *,
    num_views: int,
    degrees: tuple[float, float],
    seed: int,
) -> None:
    """Write an LMDB in which each photograph is followed by its turned views; the file appears whole.

    Args:
        faces: Aligned photographs.
        yaw: Their yaw in degrees, shape (N,).
        path: LMDB to write.
        num_views: Views of each photograph.
        degrees: Smallest and largest yaw of a view, drawn uniformly; the side follows ``view_yaw``.
        seed: Seed of the drawn yaws; equal seeds give equal bytes.

    Raises:
        InputError: If ``degrees`` is not a range within (0, 90], ``num_views`` is below 1, a face is not square, or
            ``path`` is the file of the photographs.
    """
    refuse_overwriting(faces.path, path)
    if not 0 < degrees[0] <= degrees[1] <= 90 or num_views < 1:
        raise InputError(
            f"{num_views} views of {degrees[0]:g} to {degrees[1]:g} degrees cannot be drawn; "
            "ask for at least one view, and for yaws above 0 and up to 90 with the smaller one first"
        )
    rng = np.random.default_rng(seed)
    drawn = rng.choice([-1, 1], len(yaw))[:, None] * rng.uniform(*degrees, (len(yaw), num_views))
    targets = view_yaw(yaw[:, None], drawn)
    with FaceWriter(path) as writer:
        views = _turned_views(faces, yaw, targets)
        for index in progress(range(len(faces)), desc="turn"):
            for encoded in (faces.encoded(index), *next(views)):
                writer.write(encoded, int(faces.identity_ids[index]))


def _turned_views(faces: Faces, yaw: NDArray[np.floating], targets: NDArray[np.floating]) -> Iterator[list[bytes]]:
    """JPEG files of the views of each photograph, in order, drawn on all cores."""
    context = multiprocessing.get_context("forkserver")  # a plain fork would copy the locks of torch's threads
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(num_cores(), context) as pool:
        try:
            for start in range(0, len(faces), _FACES_PER_CORE * num_cores()):
                rows = range(start, min(start + _FACES_PER_CORE * num_cores(), len(faces)))
                images = [aligned_image(faces, row) for row in rows]
                chunk = max(1, len(rows) // num_cores())
                yield from pool.map(_encode_views, images, yaw[rows], targets[rows], chunksize=chunk)
        finally:
            pool.shutdown(cancel_futures=True)


def _encode_views(face: NDArray[np.uint8], yaw_degrees: float, targets: NDArray[np.floating]) -> list[bytes]:
    return [encode_jpeg(turn_face(face, yaw_degrees, float(degrees))) for degrees in targets]
