"""A Vec2Face generator -> an ONNX file of one form, whatever its sizes, compared with PyTorch before it is kept.

| tensor | type and shape | meaning |
|---|---|---|
| input ``features`` | float32 (B, D) | un-normalised identity features |
| input ``noise`` | float32 (B, 49) | noise per token of the grid; the tokens of lowest noise are masked |
| input ``mask_ratio`` | float64 (B,) | share of masked tokens, a fraction in [0, 1] |
| output ``images`` | float32 (B, 3, 112, 112) | RGB in about [-1, 1], not clipped |

These are the arguments and the result of ``Vec2Face.forward``. ``mask_ratio`` has 64 bits, because in 32 bits its
product with 49 can round over a whole number, and another token would be masked. ``D`` is the width of the features and
stands in the shape of the input.
"""

import json
import math
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from bench.errors import InputError
from bench.files import atomic_path
from generate.export.onnx_file import onnx_function, write_onnx
from generate.networks.vec2face_decoder import Upsample
from generate.vec2face import DROP_RATIO, NUM_GRID_TOKENS, Vec2Face, load_generator

INPUTS, OUTPUT = ("features", "noise", "mask_ratio"), "images"
MAX_DIFFERENCE = 1.0
"""Largest allowed difference from the pixels of PyTorch, of 255. A wrong mask or weight changes pixels by far more."""
_TRACED_BATCH = 2
_CHECKED_BATCHES = (1, 5)  # two sizes other than the traced one, to test that the batch axis is free


@dataclass(frozen=True)
class ExportedGenerator:
    """Sizes of an exported generator, and its largest deviation from PyTorch."""

    feature_dim: int
    num_parameters: int
    max_difference: float
    """Largest difference from the pixels of PyTorch, of 255."""


def export_generator(weights: str | Path, path: str | Path) -> ExportedGenerator:
    """Write a generator as ONNX and compare its images with those of PyTorch.

    Args:
        weights: The released ``.pth``, or a ``.safetensors`` of this suite.
        path: File to write; it ends in ``.onnx``.

    Raises:
        InputError: If the weights cannot be read, a package is not installed, the file would exceed 2 GiB, or its
            images differ from those of PyTorch (then nothing is written).
    """
    path = Path(path)
    if path.suffix != ".onnx":
        raise InputError(f"{path} does not end in .onnx; give a name that does, such as generator.onnx")
    return write_generator(load_generator(weights), path)


def write_generator(generator: Vec2Face, path: Path) -> ExportedGenerator:
    """As ``export_generator``, for a generator in memory."""
    examples = _random_inputs(generator, _TRACED_BATCH)
    metadata = {"architecture": json.dumps(asdict(generator.architecture)), "drop_ratio": str(DROP_RATIO)}
    with atomic_path(path) as temporary:
        write_onnx(temporary, OnnxGenerator(generator), dict(zip(INPUTS, examples, strict=True)), OUTPUT, metadata)
        difference = max(_difference(generator, temporary, batch) for batch in _CHECKED_BATCHES)
        if not difference <= MAX_DIFFERENCE:
            raise InputError(
                f"{path.name} draws other images than its source: pixels differ by up to {difference:.3g} of 255, must "
                f"be at most {MAX_DIFFERENCE:g}; nothing is written; export with another version of torch"
            )
    num_parameters = sum(parameter.numel() for parameter in generator.parameters())
    return ExportedGenerator(generator.architecture.feature_dim, num_parameters, difference)


class OnnxGenerator(nn.Module):
    """``Vec2Face.forward`` in operations that ONNX has.

    Two things differ in form, not in result. Tokens are ranked by comparisons, since ONNX has no stable sort. The
    number of dropped tokens is a constant, where ``Vec2Face.encode`` counts them.
    """

    def __init__(self, generator: Vec2Face) -> None:
        super().__init__()
        self.generator = _with_plain_upsampling(generator)

    def forward(self, features: torch.Tensor, noise: torch.Tensor, mask_ratio: torch.Tensor) -> torch.Tensor:
        """Images (B, 3, 112, 112) of features (B, D), noise (B, 49) and mask ratios (B,)."""
        model, rank = self.generator, _rank(noise)
        num_dropped = math.ceil(NUM_GRID_TOKENS * DROP_RATIO)
        dropped = rank < num_dropped
        masked = dropped | (rank < torch.ceil(NUM_GRID_TOKENS * mask_ratio.double()[:, None]))
        tokens = model.expand(features)
        hidden = F.pad(masked, (1, 0))[..., None]  # the identity token is never masked
        embedded = model.token_emb(torch.where(hidden, tokens[:, :1], tokens))
        positions = _first_positions(F.pad(dropped, (1, 0)), 1 + NUM_GRID_TOKENS - num_dropped)
        kept = embedded.gather(1, positions[..., None].expand(-1, -1, embedded.shape[2]))
        return model.paint(model.decode(model.norm(model.blocks(kept)), positions, masked), features)


def _rank(noise: torch.Tensor) -> torch.Tensor:
    """Rank of each token by its noise, ties by position: int64 (B, 49)."""
    others, own = noise[:, None, :], noise[:, :, None]
    is_earlier = torch.ones(NUM_GRID_TOKENS, NUM_GRID_TOKENS, dtype=torch.bool).tril(-1)
    return ((others < own) | ((others == own) & is_earlier)).long().sum(dim=2)


def _first_positions(dropped: torch.Tensor, num_kept: int) -> torch.Tensor:
    """Positions of the tokens that are not dropped, ascending, int64 (B, num_kept)."""
    num_tokens = dropped.shape[1]
    keys = dropped.long() * num_tokens + torch.arange(num_tokens)
    return keys.topk(num_kept, dim=1, largest=False, sorted=True).values


def _with_plain_upsampling(generator: Vec2Face) -> Vec2Face:
    """A copy whose upsampling layers are transposed convolutions with summed weights, so that the graph sums none."""
    model = deepcopy(generator).float().cpu().eval()
    model.to(memory_format=torch.contiguous_format)
    for module in list(model.im_decoder.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Upsample):
                setattr(module, name, child.as_transposed_convolution())
    return model


def _random_inputs(generator: Vec2Face, batch: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features, noise with a tie, and mask ratios from the whole range."""
    rng = np.random.default_rng(batch)
    features = rng.standard_normal((batch, generator.architecture.feature_dim)).astype(np.float32)
    noise = rng.random((batch, NUM_GRID_TOKENS)).astype(np.float32)
    noise[:, 7] = noise[:, 3]
    return torch.from_numpy(features), torch.from_numpy(noise), torch.from_numpy(rng.uniform(0, 1, batch))


@torch.no_grad()
def _difference(generator: Vec2Face, path: Path, batch: int) -> float:
    """Largest difference between the pixels of an ONNX file and of PyTorch, of 255; NaN if either has NaN."""
    inputs = _random_inputs(generator, batch)
    expected = generator(*inputs).float().clamp(-1, 1)
    images = torch.from_numpy(onnx_function(path)(*(values.numpy() for values in inputs))).clamp(-1, 1)
    return 127.5 * float((images - expected).abs().max())
