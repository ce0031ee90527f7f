"""Low-rank adaptation (LoRA, arXiv 2106.09685) of the generator's attention, unmerged for training and merged for use.

y = W x + b + alpha / r * B (A x). Vec2Face+ adapts ``attn.qkv`` and ``attn.proj`` of every encoder and decoder block,
with r = 8 and alpha = 32. Names of a state dict with LoRA, for a layer X: ``X.base.weight``, ``X.base.bias``, ``X.A``
(r, inputs) and ``X.B`` (outputs, r).
"""

import math
from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import nn

from bench.errors import InputError

RANK, ALPHA = 8, 32.0
"""Rank and alpha of the released pose model."""
_BASE = ".base."


class LoraLinear(nn.Module):
    """A frozen linear layer and a trainable update of low rank, which starts as zero.

    Args:
        base: The layer to adapt; its parameters take no gradient any more.
        rank: Rank of the update.
        alpha: The update is scaled by ``alpha / rank``.
    """

    def __init__(self, base: nn.Linear, rank: int = RANK, alpha: float = ALPHA) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.scaling = alpha / rank
        self.A = nn.Parameter(base.weight.new_empty(rank, base.in_features))
        self.B = nn.Parameter(base.weight.new_zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The adapted layer's output."""
        return self.base(x) + self.scaling * F.linear(F.linear(x, self.A), self.B)


def add_lora(generator: nn.Module, rank: int = RANK, alpha: float = ALPHA) -> list[nn.Parameter]:
    """Freeze a generator and adapt the attention of all its blocks, in place.

    Args:
        generator: A ``generate.vec2face.Vec2Face``.
        rank: Rank of the updates, at least 1.
        alpha: Their scale times ``rank``.

    Returns:
        The parameters to train: A and B of every layer.

    Raises:
        InputError: If the rank is below 1.
    """
    if rank < 1:
        raise InputError(f"LoRA of rank {rank} has no parameters; give a rank of at least 1")
    generator.requires_grad_(False)
    added: list[nn.Parameter] = []
    for attention in _attentions(generator):
        for name in ("qkv", "proj"):
            layer = LoraLinear(getattr(attention, name), rank, alpha)
            setattr(attention, name, layer)
            added += [layer.A, layer.B]
    return added


def _attentions(generator: nn.Module) -> Iterator[nn.Module]:
    """The attention of every encoder and decoder block."""
    for blocks in (generator.blocks, generator.decoder_blocks):
        for block in blocks:  # type: ignore[union-attr]
            yield block.attn  # type: ignore[union-attr]


def lora_rank(state: Mapping[str, torch.Tensor], source: object) -> int:
    """Rank of the LoRA in a state dict; 0 if it holds none.

    Args:
        state: State dict of a generator.
        source: File of the weights, for the message.

    Raises:
        InputError: If layers have different ranks, or A and B of a layer do not fit together.
    """
    ranks: dict[int, str] = {}
    for layer in lora_layers(state):
        down, up = state.get(f"{layer}.A"), state.get(f"{layer}.B")
        if down is None or up is None or down.ndim != 2 or up.ndim != 2 or down.shape[0] != up.shape[1]:
            shapes = [None if part is None else tuple(part.shape) for part in (down, up)]
            raise InputError(f"weights {source}: A and B of {layer} have shapes {shapes}; give the whole pose model")
        ranks.setdefault(down.shape[0], layer)
    if len(ranks) > 1:
        raise InputError(f"weights {source} hold LoRA of different ranks, {ranks}; give the file of one training")
    return next(iter(ranks), 0)


def lora_layers(state: Mapping[str, torch.Tensor]) -> list[str]:
    """Names of the layers of a state dict that have an A or a B, in its order."""
    return list(dict.fromkeys(name[:-2] for name in state if name.endswith((".A", ".B"))))


def plain_names(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state dict with ``X.base.weight`` renamed to ``X.weight``, the name without LoRA."""
    return {name.replace(_BASE, "."): tensor for name, tensor in state.items()}


def merge_lora(state: Mapping[str, torch.Tensor], scaling: float) -> dict[str, torch.Tensor]:
    """State dict without LoRA that gives the same outputs: W + scaling * B A in place of W, names without ``.base``.

    Args:
        state: State dict of a generator with LoRA.
        scaling: alpha / rank.

    Raises:
        InputError: If a layer has A and B but no weight that they could be added to.
    """
    merged = plain_names({name: tensor for name, tensor in state.items() if not name.endswith((".A", ".B"))})
    for layer in lora_layers(state):
        if f"{layer}.weight" not in merged:
            raise InputError(f"the LoRA of {layer} has no weight to adapt; give the generator that it was trained on")
        update = scaling * (state[f"{layer}.B"].double() @ state[f"{layer}.A"].double())
        weight = merged[f"{layer}.weight"]
        merged[f"{layer}.weight"] = (weight.double() + update).to(torch.promote_types(weight.dtype, torch.float32))
    return merged
