"""A generator in training -> metrics and a grid of images, on identities that it was not trained on.

The faces are reconstructed from their features under the masks of generation. ``identity_cosine`` is measured by the
network of the loss, so training raises it even where faces do not become more alike. ``judge_cosine`` is measured by a
second network that the loss does not use: trust this number. ``sharpness`` is the median variance of the Laplacian of
the reconstructions, divided by that of the faces; noise and wrong detail raise it too, so read it beside ``absolute``,
the mean absolute error of the pixels. Shapes: ``N`` faces, ``D`` width of the features.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.faces.grid import write_grid
from bench.faces.lmdb_file import LmdbFaces
from bench.faces.pixels import to_network_input, to_pixels
from bench.faces.sharpness import central_grey, sharpness
from generate.networks.masks import MaskRatio, draw_masks
from generate.training.data import load_faces
from generate.vec2face import NUM_GRID_TOKENS

NUM_FACES = 64
_NUM_GAUSSIAN = 4096
"""Trained faces whose features give the mean and covariance of the sampled identity vectors."""
_COLUMNS, _BLOCKS = 12, 2
_BATCH = 16

FeatureFunction = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class HeldOut:
    """Held-out faces to reconstruct, and sampled identity vectors to draw."""

    faces: Tensor
    """uint8 RGB, (N, 112, 112, 3)."""
    features: Tensor
    """Features of the faces, (N, D)."""
    sampled: Tensor
    """Identity vectors of invented people, (N, D)."""
    seed: int
    """Seed of the masks."""
    landmarks: Tensor | None = None
    """Landmark pictures of the faces, uint8 RGB, (N, 112, 112, 3), for a generator that takes them."""
    masks: MaskRatio = field(default_factory=MaskRatio)
    """Masked share of the reconstructions."""

    def measure(
        self, generator: nn.Module, identity: FeatureFunction, judge: FeatureFunction | None
    ) -> tuple[dict[str, float], list[list]]:
        """Metrics of a generator, and the rows of its grid: faces, reconstructions, images of sampled identities.

        Args:
            generator: The generator: features, noise, mask ratio and, if there are any, landmark pictures to images.
                It is in eval mode during the call.
            identity: The identity network of the loss: images (N, 3, 112, 112) in [-1, 1] to features.
            judge: An identity network that the loss does not use, if any.
        """
        was_training = generator.training
        generator.eval()
        device = next(generator.parameters()).device
        originals = to_network_input(self.faces)
        with torch.no_grad():
            reconstructed = self._draw(generator, self.features, device)
            sampled = self._draw(generator, self.sampled, device)
            metrics = {
                "identity_cosine": _mean_cosine(_features(identity, reconstructed, device), self.features),
                "sampled_identity_cosine": _mean_cosine(_features(identity, sampled, device), self.sampled),
                "pixel": F.mse_loss(reconstructed, originals).item(),
                "absolute": F.l1_loss(reconstructed, originals).item(),
                "sharpness": _median_sharpness(reconstructed) / _median_sharpness(originals),
            }
            if judge is not None:
                features = _features(judge, originals, device)
                metrics["judge_cosine"] = _mean_cosine(_features(judge, reconstructed, device), features)
        generator.train(was_training)
        rows = []
        for start in range(0, min(len(originals), _BLOCKS * _COLUMNS), _COLUMNS):
            for images in (originals, reconstructed, sampled):
                rows.append(list(to_pixels(images[start : start + _COLUMNS])))
        return {f"held_out/{name}": value for name, value in metrics.items()}, rows

    def _draw(self, generator: nn.Module, features: Tensor, device: torch.device) -> Tensor:
        """Images of features, (N, 3, 112, 112) in [-1, 1], on the CPU."""
        noise, ratio = draw_masks(self.seed, 0, range(len(features)), NUM_GRID_TOKENS, self.masks)
        inputs = [features, torch.from_numpy(noise), torch.from_numpy(ratio)]
        if self.landmarks is not None:
            inputs.append(to_network_input(self.landmarks).contiguous())
        images = []
        for batch in zip(*(part.split(_BATCH) for part in inputs), strict=True):
            images.append(generator(*(part.to(device) for part in batch)).cpu())
        return torch.cat(images).clamp(-1, 1)


def choose_held_out(
    faces: LmdbFaces, positions: NDArray[np.int64], trained: NDArray[np.int64], seed: int, circumstances: int = 0
) -> HeldOut:
    """Up to ``NUM_FACES`` held-out faces, and as many sampled identity vectors.

    The vectors come from a Gaussian with the mean and covariance of the features of up to 4,096 trained faces. The
    circumstances behind them are those of a trained face, since mixed ones contradict each other.

    Args:
        faces: Faces with features.
        positions: Positions of the held-out faces, of which evenly spread ones are chosen.
        trained: Positions of the faces to train on.
        seed: Seed of the vectors and of the masks.
        circumstances: Last numbers of a feature that are circumstances.
    """
    chosen = spread(positions)
    images, features = load_faces(faces, chosen)
    rng = np.random.default_rng([seed, 1])
    picked = rng.choice(trained, min(len(trained), _NUM_GAUSSIAN), replace=False)
    known = np.stack([faces.features(int(position)).reshape(-1) for position in picked]).astype(np.float64)
    weights = rng.standard_normal((len(chosen), len(known))) / np.sqrt(len(known))
    # A random combination of the centred features has their covariance.
    sampled = known.mean(axis=0) + weights @ (known - known.mean(axis=0))
    if circumstances:
        sampled[:, -circumstances:] = known[rng.integers(len(known), size=len(chosen)), -circumstances:]
    return HeldOut(images, features, torch.from_numpy(sampled.astype(np.float32)), seed)


def spread(positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Up to ``NUM_FACES`` of the positions, spread evenly."""
    return positions[np.linspace(0, len(positions) - 1, min(NUM_FACES, len(positions))).astype(int)]


def write_epoch_grid(directory: Path, epoch: int, rows: list[list]) -> Path:
    """Write the grid of an epoch, ``grids/epoch_<number>.png``; returns its path."""
    path = directory / "grids" / f"epoch_{epoch:04d}.png"
    write_grid(path, rows)
    return path


def _features(network: FeatureFunction, images: Tensor, device: torch.device) -> Tensor:
    return torch.cat([network(batch.to(device)).float().cpu() for batch in images.split(_BATCH)])


def _mean_cosine(features: Tensor, wanted: Tensor) -> float:
    """Mean cosine to the wanted vectors, (N, D), without the circumstances that may follow the identity features."""
    return F.cosine_similarity(features, wanted[:, : features.shape[1]]).mean().item()


def _median_sharpness(images: Tensor) -> float:
    """Median variance of the Laplacian of images (N, 3, 112, 112) in [-1, 1]; at least a small positive number."""
    return max(1e-3, float(np.median([sharpness(central_grey(image)) for image in to_pixels(images)])))
