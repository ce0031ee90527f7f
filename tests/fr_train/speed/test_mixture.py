"""The measured table of mixtures: both readers give the same faces, and every row has figures."""

import numpy as np

from bench.config.benchmarks import load_benchmark
from fr_train.speed import mixture as speed


def test_both_readers_give_the_same_faces(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (24, 112, 112, 3), dtype=np.uint8)
    one, mixed = speed._write(images, tmp_path)
    assert len(mixed) == len(one) == 24
    assert all(one.encoded(index) == mixed.encoded(index) for index in range(24))
    assert one.identity_ids.tolist() == mixed.identity_ids.tolist()


def test_every_row_has_figures(monkeypatch):
    monkeypatch.setattr(speed, "NUM_PASSES", 1)
    monkeypatch.setattr(speed, "BATCH_SIZE", 8)
    images = np.random.default_rng(0).integers(0, 256, (24, 112, 112, 3), dtype=np.uint8)
    rows = speed.mixture_rows(images, load_benchmark("smoke").recipe)
    assert [row["faces read for"] for row in rows] == list(speed._passes(load_benchmark("smoke").recipe))
    assert all(row["times"] == row["mixture images/s"] / row["one LMDB images/s"] for row in rows)
