"""An identity network -> an ONNX file that takes faces in [-1, 1] and gives identity features, without appearance.

Input ``faces``, float32 (B, 3, 112, 112), RGB in [-1, 1]. Output ``features``, float32 (B, E), not normalised; the
cosine of two rows tells how alike two faces are.
"""

from pathlib import Path

import torch
from torch import nn

from bench.errors import InputError
from bench.files import atomic_path
from generate.export.onnx_file import onnx_function, write_onnx
from generate.networks.appearance import count_components
from generate.networks.identity import load_features

INPUT, OUTPUT = "faces", "features"
MAX_COSINE_DISTANCE = 1e-4
"""Largest allowed 1 - cosine between the features of the file and of PyTorch."""
_SIDE = 112


class IdentityFeatures(nn.Module):
    """The features of an identity network without the components of appearance behind them."""

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.network = load_features(path)
        self.num_components = count_components(path)

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        """Features (B, E) of faces (B, 3, 112, 112) in [-1, 1]."""
        features = self.network(faces)
        return features[:, : features.shape[1] - self.num_components]


def write_identity(network: nn.Module, path: Path) -> None:
    """Write an identity network as ONNX and compare its features with those of PyTorch.

    Args:
        network: Faces (B, 3, 112, 112) in [-1, 1] to features (B, E), in eval mode.
        path: The file.

    Raises:
        InputError: If a package is not installed, or the features differ (then nothing is written).
    """
    generator = torch.Generator().manual_seed(0)
    faces = torch.rand(3, 3, _SIDE, _SIDE, generator=generator) * 2 - 1
    with atomic_path(path) as temporary, torch.no_grad():
        write_onnx(temporary, network, {INPUT: faces[:2]}, OUTPUT, {})
        features = torch.from_numpy(onnx_function(temporary)(faces.numpy()))
        cosine = torch.nn.functional.cosine_similarity(network(faces).double(), features.double())
        if not (distance := float((1 - cosine).max())) <= MAX_COSINE_DISTANCE:
            raise InputError(
                f"{path.name} gives other features than its source: 1 - cosine up to {distance:.1e} on random faces, "
                f"must be at most {MAX_COSINE_DISTANCE:g}; nothing is written; export with another version of torch"
            )
