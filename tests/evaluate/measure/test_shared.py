"""Embedding by one, two and three processes: the same bits in every process, and errors in all of them."""

import numpy as np
import pytest
import torch
import torch.distributed as dist
from training import run_processes

from bench.errors import InputError
from evaluate.layouts.images import LazyImages
from evaluate.measure.embed import BATCH_SIZE, embed, feature_batches, shared_embeddings, shared_feature_batches
from fr_train.backbone import iresnet

NUM_IMAGES = 2 * BATCH_SIZE + 7
BROKEN = BATCH_SIZE + 3


def make_network():
    torch.manual_seed(0)
    return iresnet(18, width=4, embedding_dim=16).eval()


def read(position):
    return np.random.default_rng(position).integers(0, 256, (112, 112, 3), np.uint8)


def read_all_but_one(position):
    if position == BROKEN:
        raise InputError(f"image {position} does not decode")
    return read(position)


def faces(read=read):
    return LazyImages(read, np.arange(NUM_IMAGES)[::-1])


def write_embeddings(folder):
    dist.init_process_group("gloo")
    network, rank = make_network(), dist.get_rank()
    np.save(folder / f"embeddings{rank}.npy", shared_embeddings(network, faces(), device="cpu"))
    batches = list(shared_feature_batches(network, faces(), device="cpu"))
    np.save(folder / f"features{rank}.npy", np.concatenate([features.numpy() for _, features in batches]))
    np.save(folder / f"starts{rank}.npy", [batch.start for batch, _ in batches])
    with pytest.raises(InputError, match=f"image {BROKEN} does not decode"):
        shared_embeddings(network, faces(read_all_but_one), device="cpu")
    assert not torch.is_inference_mode_enabled()
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_every_process_gets_the_bits_of_one_process(world_size, tmp_path, one_thread):
    run_processes(write_embeddings, world_size, tmp_path)
    network = make_network()
    features = torch.cat([part for _, part in feature_batches(network, faces())]).numpy()
    for rank in range(world_size):
        assert np.load(tmp_path / f"embeddings{rank}.npy").tobytes() == embed(network, faces()).tobytes()
        assert np.load(tmp_path / f"features{rank}.npy").tobytes() == features.tobytes()
        assert np.load(tmp_path / f"starts{rank}.npy").tolist() == [0, BATCH_SIZE, 2 * BATCH_SIZE]


def test_one_process_needs_no_group():
    embeddings = shared_embeddings(make_network(), LazyImages(read, np.arange(3)), device="cpu")
    assert embeddings.shape == (3, 16)
