"""A generator under training -> its figures on identities that it has not seen, and a grid to look at.

Reconstructions use generation's masks. ``identity_cosine`` is by the network that the loss uses, and so what the
generator was trained to please; ``judge_cosine`` is by a second network that took no part, and the one to believe.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bench.faces.grid import write_grid
from bench.faces.lmdb_file import LmdbFaces
from bench.faces.pixels import to_network_input
from generate.networks.masks import MaskRatio, draw_masks
from generate.training.data import load_faces
from generate.vec2face import NUM_GRID_TOKENS, Vec2Face

NUM_FACES = 64
_COLUMNS, _BLOCKS = 12, 2
_BATCH = 16

Features = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class HeldOut:
    """Faces to reconstruct, and identity vectors of nobody."""

    faces: Tensor
    """uint8 (N, 112, 112, 3)."""
    features: Tensor
    """(N, D)."""
    sampled: Tensor
    """(N, D)."""
    seed: int

    def figures(self, generator: Vec2Face, identity: Features, judge: Features | None) -> tuple[dict, list[list]]:
        """Figures of one epoch, and the rows of its grid: input, reconstruction, sampled.

        Args:
            generator: The generator; eval mode is set meanwhile.
            identity: The network of the loss.
            judge: A network that takes no part in the loss, if any.
        """
        was_training = generator.training
        generator.eval()
        device = next(generator.parameters()).device
        originals = to_network_input(self.faces)
        with torch.no_grad():
            made = self._draw(generator, self.features, device)
            drawn = self._draw(generator, self.sampled, device)
            figures = {
                "identity_cosine": _mean_cosine(_features(identity, made, device), self.features),
                "sampled_identity_cosine": _mean_cosine(_features(identity, drawn, device), self.sampled),
                "pixel": F.mse_loss(made, originals).item(),
            }
            if judge is not None:
                seen = _features(judge, originals, device)
                figures["judge_cosine"] = _mean_cosine(_features(judge, made, device), seen)
        generator.train(was_training)
        rows = []
        for start in range(0, min(len(made), _BLOCKS * _COLUMNS), _COLUMNS):
            rows += [list(_pixels(images[start : start + _COLUMNS])) for images in (originals, made, drawn)]
        return {f"held_out/{name}": value for name, value in figures.items()}, rows

    def _draw(self, generator: Vec2Face, features: Tensor, device: torch.device) -> Tensor:
        noise, ratio = draw_masks(self.seed, 0, range(len(features)), NUM_GRID_TOKENS, MaskRatio())
        inputs = (features, torch.from_numpy(noise), torch.from_numpy(ratio))
        batches = zip(*(part.split(_BATCH) for part in inputs), strict=True)
        return torch.cat([generator(*(part.to(device) for part in batch)).cpu() for batch in batches]).clamp(-1, 1)


def make_held_out(faces: LmdbFaces, positions: NDArray[np.int64], trained: NDArray[np.int64], seed: int) -> HeldOut:
    """Up to ``NUM_FACES`` held-out faces, evenly spread, and as many vectors drawn as the trained features lie.

    Vectors come from the Gaussian of the mean and covariance of up to 4,096 features of trained faces.
    """
    chosen = positions[np.linspace(0, len(positions) - 1, min(NUM_FACES, len(positions))).astype(int)]
    images, features = load_faces(faces, chosen)
    rng = np.random.default_rng([seed, 1])
    some = rng.choice(trained, min(len(trained), 4096), replace=False)
    known = np.stack([faces.features(int(position)).reshape(-1) for position in some]).astype(np.float64)
    weights = rng.standard_normal((len(chosen), len(known))) / np.sqrt(len(known))
    sampled = known.mean(axis=0) + weights @ (known - known.mean(axis=0))  # of that mean and covariance
    return HeldOut(images, features, torch.from_numpy(sampled.astype(np.float32)), seed)


def write_figures_grid(directory: Path, epoch: int, rows: list[list]) -> Path:
    """Write the grid of an epoch; its rows are input, reconstruction, sampled, and again."""
    path = directory / "grids" / f"epoch_{epoch:04d}.png"
    write_grid(path, rows)
    return path


def _features(network: Features, images: Tensor, device: torch.device) -> Tensor:
    return torch.cat([network(batch.to(device)).float().cpu() for batch in images.split(_BATCH)])


def _mean_cosine(first: Tensor, second: Tensor) -> float:
    return F.cosine_similarity(first, second).mean().item()


def _pixels(images: Tensor) -> NDArray[np.uint8]:
    return ((images + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
