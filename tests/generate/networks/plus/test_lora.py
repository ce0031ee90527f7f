"""LoRA starts as the layer it adapts, merges without a difference, and a file with other ranks is refused."""

import pytest
import torch
from small_generation import SIZE
from torch import nn

from bench.errors import InputError
from generate.networks.plus.lora import LoraLinear, add_lora, lora_rank, merge_lora
from generate.vec2face import Vec2Face


def adapted(rank=3, alpha=6.0):
    torch.manual_seed(0)
    model = Vec2Face(SIZE).eval()
    return model, add_lora(model, rank, alpha)


def test_an_adapted_layer_is_the_formula():
    layer, x = LoraLinear(nn.Linear(4, 6), rank=2, alpha=5.0), torch.randn(7, 4)
    assert torch.equal(layer(x), layer.base(x))
    nn.init.normal_(layer.B)
    for row, expected in zip(layer(x), x, strict=True):
        by_hand = layer.base.weight @ expected + layer.base.bias + 2.5 * layer.B @ (layer.A @ expected)
        torch.testing.assert_close(row, by_hand)


def test_only_a_and_b_of_the_attention_are_trained():
    model, added = adapted()
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert len(added) == len(trained) == 8  # one block each, two layers, A and B
    assert all(".attn." in name and name.endswith((".A", ".B")) for name in trained)
    assert lora_rank(model.state_dict(), "x") == 3


def test_before_training_and_merged_it_draws_as_unmerged():
    model, added = adapted()
    torch.manual_seed(0)
    plain = Vec2Face(SIZE).eval()
    features, noise = torch.randn(2, SIZE.feature_dim), torch.rand(2, 49)
    assert torch.equal(model(features, noise, 0.3), plain(features, noise, 0.3))
    for weight in added:
        nn.init.normal_(weight, std=0.3)
    plain.load_state_dict(merge_lora(model.state_dict(), 2.0))
    torch.testing.assert_close(plain(features, noise, 0.3), model(features, noise, 0.3), rtol=1e-4, atol=1e-5)


def test_lora_that_does_not_fit_is_refused():
    model, _ = adapted()
    state = model.state_dict()
    name = "blocks.0.attn.proj"
    with pytest.raises(InputError, match=r"weights x hold LoRA of different ranks, \{3: .*, 2: 'blocks.0.attn.proj'\}"):
        lora_rank(state | {f"{name}.A": torch.zeros(2, 32), f"{name}.B": torch.zeros(32, 2)}, "x")
    with pytest.raises(InputError, match=r"A and B of blocks.0.attn.proj have shapes \[\(2, 32\), \(32, 3\)\]"):
        lora_rank(state | {f"{name}.A": torch.zeros(2, 32)}, "x")
    del state[f"{name}.base.weight"]
    with pytest.raises(InputError, match=r"LoRA of blocks.0.attn.proj has no weight to adapt"):
        merge_lora(state, 2.0)
    with pytest.raises(InputError, match="LoRA of rank 0 has no parameters"):
        adapted(rank=0)
