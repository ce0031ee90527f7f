"""Unlabelled pairs and a network -> the file that a challenge's server takes. ``python -m evaluate submit``.

``datacv`` is that of the DataCV challenge (ICCV 2025): a line per pair with the squared L2 distance of its embeddings,
``%.18e``, no header. Source: get_submission_file.py of github HaiyuWu/iccv2025-fr-competition. The steps have the order
and the number types of that script, so that equal features give equal bytes. Its networks run in fp16 autocast on a
GPU, ours in float32. Legend: P pairs, B images of a batch, D embedding dimension.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bench.config.benchmarks import Benchmark
from bench.config.divisions import DIVISIONS, Division
from bench.errors import InputError
from bench.files import atomic_path
from bench.machine.progress import progress
from evaluate.layouts.unlabelled import UnlabelledPairs
from evaluate.measure.embed import FaceNetwork

BATCH_SIZE = 512
"""Images per forward pass in the challenge's script; another number changes features by rounding."""


def division_of(benchmark: Benchmark, challenge: str) -> Division:
    """The division of an entry, which must belong to a challenge.

    Raises:
        InputError: If the entry has no division, or one of another challenge.
    """
    division = DIVISIONS[benchmark.division] if benchmark.division else None
    if division is None or division.challenge != challenge:
        entries = [name for name, known in DIVISIONS.items() if known.challenge == challenge]
        raise InputError(
            f"SCALE={benchmark.name} is in {f'division {benchmark.division}' if division else 'no division'}, and the "
            f"format is {challenge}; give an entry with one of the divisions {', '.join(entries)}"
        )
    return division


def write_datacv_file(
    pairs: UnlabelledPairs, network: FaceNetwork, target: Path, *, scale: str, device: str = "cpu"
) -> Path:
    """Write the file of the DataCV challenge: ``NAME_SCALE_result.txt``.

    Args:
        pairs: The unlabelled pairs; their name is NAME.
        network: The network, on ``device``, in eval mode.
        target: Folder of the file.
        scale: 10K, 20K or 100K.
        device: Torch device.

    Returns:
        The file.

    Raises:
        InputError: If the images are broken, or a feature is not finite or zero.
    """
    distances = np.concatenate(list(pair_distances(pairs, network, device=device)))
    path = target / f"{pairs.name}_{scale}_result.txt"
    target.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, temporary.open("w") as file:
        np.savetxt(file, distances)
    return path


def pair_distances(
    pairs: UnlabelledPairs, network: FaceNetwork, *, device: str = "cpu", batch_size: int = BATCH_SIZE
) -> Iterator[NDArray[np.float32]]:
    """Squared L2 distance, 0 to 4, of the unit embeddings of each pair, batch by batch, float32.

    Args:
        pairs: The pairs.
        network: Images (B, 3, 112, 112) in [-1, 1] to features (B, D).
        device: Torch device of the network.
        batch_size: Images per forward pass, an even number.

    Raises:
        InputError: If a feature is not finite, or all numbers of one are zero.
    """
    start = 0
    with torch.inference_mode(), progress(desc="submit", total=pairs.num_images) as bar:
        for images in pairs.batches(batch_size):
            scaled = ((images / 255.0) - 0.5) / 0.5  # float64, as in the script; float32 from here on
            features = _features(network, scaled, device) + _features(network, scaled[..., ::-1], device)
            _check(features, start, pairs.path)
            embeddings = features / np.linalg.norm(features, 2, 1, True)
            yield np.sum(np.square(np.subtract(embeddings[0::2], embeddings[1::2])), 1)
            start += len(images)
            bar.update(len(images))


def _features(network: FaceNetwork, images: NDArray[np.float64], device: str) -> NDArray[np.float32]:
    """Features of images in [-1, 1], shape (B, D)."""
    return network(torch.tensor(images.astype(np.float32), device=device)).float().cpu().numpy()


def _check(features: NDArray[np.float32], start: int, path: Path) -> None:
    is_bad = ~np.isfinite(features).all(axis=1) | ~features.any(axis=1)
    if is_bad.any():
        raise InputError(
            f"{path}: the features of image {start + int(is_bad.argmax())} are zero or not finite; give a network that "
            "is trained and takes aligned RGB faces"
        )
