"""Embedding, template pooling and comparison of many vectors on a device that is not the CPU."""

import numpy as np
import pytest
import torch

from bench.vectors import nearest, separation
from bench.vectors.nearest import nearest_centers
from bench.vectors.separation import separated
from evaluate.measure.embed import embed, feature_batches, raw_pixels
from fr_train.backbone import iresnet

FACES = np.zeros((3, 112, 112, 3), np.uint8)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_embedding(precision, fake_device):
    network = iresnet(18, width=4, embedding_dim=16).to(fake_device).to(memory_format=torch.channels_last)
    for function in (network, raw_pixels):
        embeddings = embed(function, FACES, batch_size=2, device=str(fake_device), precision=precision)
        assert embeddings.shape[0] == 3
    for _, features in feature_batches(network, FACES, batch_size=2, device=str(fake_device)):
        assert features.device == fake_device


@pytest.fixture
def unchecked_norms(monkeypatch):
    """Norms of vectors, which cannot be found wrong where there are no numbers."""
    for module in (nearest, separation):
        monkeypatch.setattr(module, "checked_norms", lambda vectors, *_: vectors.norm(dim=1, keepdim=True))


@pytest.mark.usefixtures("unchecked_norms")
def test_separation(fake_device):
    vectors = np.eye(5, 8, dtype=np.float32)
    assert separated(vectors, 0.5, device=fake_device, block_rows=2).shape == (5,)


@pytest.mark.usefixtures("unchecked_norms")
def test_nearest_centers(fake_device):
    vectors = np.eye(5, 8, dtype=np.float32)
    cosines, positions = nearest_centers(
        vectors, vectors, own=np.arange(5), device=fake_device, block_rows=2, block_centers=2
    )  # fmt: skip
    assert cosines.shape == positions.shape == (5,)
