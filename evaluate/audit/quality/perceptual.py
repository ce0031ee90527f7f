"""Perceptual distances of images of one identity, and of two: LPIPS on AlexNet. Source: arXiv 1801.03924.

The linear weights of LPIPS come with the package ``lpips``; AlexNet's are torchvision's and are given as a file. The
mean distance of two images of one identity says how much a set varies a person; that of two identities, how much it
varies people. Legend: P pairs.
"""

import warnings
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.pixels import to_network_input
from bench.runs.card_parts.quality import PerceptualFigures
from evaluate.audit.embeddings import Embedded, read_faces
from evaluate.layouts.images import LazyImages
from fr_train.checkpoint import load_weights, read_torch_file

MAX_PAIRS = 1000
"""Pairs of each kind."""
_BATCH = 32
_TRUNK = "features."
"""Part of torchvision's AlexNet that LPIPS uses; the classifier behind it is left out."""
_SOURCE = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"


class PerceptualDistance(Protocol):
    """A distance of images, such as LPIPS."""

    def __call__(self, first: torch.Tensor, second: torch.Tensor, /) -> torch.Tensor:
        """Distance of each pair, any shape of B numbers, of RGB images in [-1, 1], shape (B, 3, 112, 112)."""
        ...


def load_lpips(path: Path, device: str = "cpu") -> PerceptualDistance:
    """LPIPS on AlexNet. Downloads nothing.

    Args:
        path: torchvision's weights of AlexNet.
        device: Torch device.

    Raises:
        InputError: If the file is missing or holds another network, or the package lpips is not installed.
    """
    if not path.is_file():
        raise InputError(f"--lpips {path} does not exist; download {_SOURCE} and give its path, or leave --lpips out")
    try:
        import lpips
    except ImportError:
        raise InputError("--lpips needs the package lpips; run .venv/bin/pip install -e '.[generator]'") from None
    content = read_torch_file(path)
    entries = {str(name): value for name, value in content.items()} if isinstance(content, dict) else {}
    with warnings.catch_warnings(action="ignore"):  # lpips uses an argument that torchvision deprecates
        network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)  # a random AlexNet, which is not downloaded
    # slice1.0.weight of LPIPS is features.0.weight of torchvision, the same layer
    slices = {f"{_TRUNK}{name.split('.', 1)[1]}": name for name in network.net.state_dict()}
    weights = {slices.get(name, name): value for name, value in entries.items() if name.startswith(_TRUNK)}
    try:
        load_weights(network.net, weights, str(path))
    except InputError as error:
        raise InputError(f"{error}; give torchvision's AlexNet, {_SOURCE}") from None
    return network.to(device).eval().requires_grad_(False)


def perceptual_figures(
    embedded: Embedded, distance: PerceptualDistance, *, device: str = "cpu", seed: int = 0
) -> PerceptualFigures:
    """Mean distance of two images of one identity, and of two identities, over at most ``MAX_PAIRS`` pairs of each.

    Args:
        embedded: The set.
        distance: The distance.
        device: Torch device of the distance.
        seed: Seed of the sample.
    """
    within, across = choose_pairs(embedded.identity_ids, seed)
    faces = read_faces(embedded.source, embedded.positions)
    means = [_mean_distance(faces, pairs, distance, device) for pairs in (within, across)]
    return PerceptualFigures(num_within=len(within), within=means[0], num_across=len(across), across=means[1])


def choose_pairs(identity_ids: NDArray[np.int64], seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of pairs of images of one identity, and of two, each of shape (P, 2).

    An identity is drawn at most once for each kind: it gives two images at random to the first, and one image, beside
    one of the next identity drawn, to the second.
    """
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(identity_ids))
    order = shuffled[np.argsort(identity_ids[shuffled], kind="stable")]  # by identity, at random within it
    _, starts, counts = np.unique(identity_ids[order], return_index=True, return_counts=True)
    several = rng.permutation(starts[counts > 1])[:MAX_PAIRS]
    first = order[rng.permutation(starts)[:MAX_PAIRS]]
    across = np.stack([first, np.roll(first, 1)], axis=1) if len(first) > 1 else np.empty((0, 2), np.int64)
    return np.stack([order[several], order[several + 1]], axis=1), across


def _mean_distance(
    faces: LazyImages, pairs: NDArray[np.int64], distance: PerceptualDistance, device: str
) -> float | None:
    """Mean over pairs of positions; None without a pair."""
    distances = []
    for start in range(0, len(pairs), _BATCH):
        batch = pairs[start : start + _BATCH]
        with torch.inference_mode():
            first, second = (to_network_input(np.asarray(faces[batch[:, side]]), device) for side in (0, 1))
            distances.append(distance(first, second).double().flatten().cpu())
    return float(torch.cat(distances).mean()) if distances else None
