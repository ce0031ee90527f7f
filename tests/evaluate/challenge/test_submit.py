"""The file of the DataCV challenge: bit for bit what the published arithmetic gives, one line a pair."""

import numpy as np
import pytest
import torch

from bench.config.benchmarks import load_benchmark
from bench.errors import InputError
from evaluate.__main__ import main
from evaluate.challenge.submit import division_of, pair_distances, write_datacv_file
from evaluate.layouts.unlabelled import open_unlabelled, write_unlabelled
from fr_train.checkpoint import load_backbone, save_backbone, untrained_backbone


@pytest.fixture
def pairs(tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (14, 3, 112, 112), dtype=np.uint8)
    images[3] = images[2]
    write_unlabelled(tmp_path / "testA.xz", images)
    return open_unlabelled(tmp_path / "testA.xz")


def features_of(images):
    """A network of one line: means over blocks of 28 pixels, 48 numbers."""
    return torch.nn.functional.avg_pool2d(images, 28).flatten(1)


def by_hand(images, network):
    """The steps of the challenge's script, on all images at once."""
    scaled = ((images / 255.0) - 0.5) / 0.5
    with torch.inference_mode():
        straight = network(torch.tensor(scaled.astype(np.float32))).numpy()
        mirrored = network(torch.tensor(scaled[..., ::-1].astype(np.float32))).numpy()
    features = straight + mirrored
    features = np.divide(features, np.linalg.norm(features, 2, 1, True))
    return np.sum(np.square(np.subtract(features[0::2], features[1::2])), 1)


def test_the_file_has_the_bytes_of_numpy_savetxt(pairs, tmp_path):
    expected = by_hand(np.concatenate(list(pairs.batches(14))), features_of)
    np.savetxt(tmp_path / "expected.txt", expected)
    path = write_datacv_file(pairs, features_of, tmp_path / "out", scale="10K")
    assert path.name == "testA_10K_result.txt"
    assert path.read_bytes() == (tmp_path / "expected.txt").read_bytes()


def test_read_back_it_holds_the_distances_to_the_last_bit(pairs, tmp_path):
    expected = by_hand(np.concatenate(list(pairs.batches(14))), features_of)
    read = np.loadtxt(write_datacv_file(pairs, features_of, tmp_path, scale="20K"), dtype=np.float32)
    assert np.array_equal(read, expected)
    assert expected.dtype == np.float32
    assert read[1] == 0  # one image twice
    assert ((read >= 0) & (read <= 4)).all()


def test_batches_change_nothing_where_the_features_do_not(pairs):
    whole = np.concatenate(list(pair_distances(pairs, features_of)))
    for size in (2, 4, 10):
        assert np.array_equal(np.concatenate(list(pair_distances(pairs, features_of, batch_size=size))), whole)


def test_a_distance_by_pencil():
    """Unit vectors at 60 degrees: squared distance 2 - 2 cos 60 = 1; at 180 degrees 4."""
    vectors = torch.tensor([[1.0, 0], [0.5, 3**0.5 / 2], [2, 0], [-3, 0]])

    class FourImages:
        path, num_images = "four", 4

        def batches(self, size):
            yield np.zeros((4, 3, 112, 112), np.uint8)

    (distances,) = pair_distances(FourImages(), lambda images: vectors)
    assert distances == pytest.approx([1, 4], abs=1e-6)


def test_features_that_no_distance_can_be_taken_of(pairs):
    with pytest.raises(InputError, match=r"the features of image 0 are zero or not finite; give a network"):
        list(pair_distances(pairs, lambda images: 0 * features_of(images)))

    def broken(images):
        features = features_of(images)
        features[5] = torch.nan
        return features

    with pytest.raises(InputError, match="the features of image 5 are zero or not finite"):
        list(pair_distances(pairs, broken))


def test_only_entries_of_the_challenge_have_its_file():
    assert division_of(load_benchmark("datacv_100k"), "datacv").scale == "100K"
    with pytest.raises(InputError, match=r"SCALE=20k is in no division, and the format is datacv; give an entry with"):
        division_of(load_benchmark("20k"), "datacv")
    with pytest.raises(InputError, match="SCALE=sdfr_task1 is in division sdfr_task1, and the format is datacv"):
        division_of(load_benchmark("sdfr_task1"), "datacv")


def test_the_command(pairs, tmp_path, monkeypatch, capsys):
    settings = load_benchmark("smoke").recipe.backbone
    save_backbone(tmp_path / "net.safetensors", untrained_backbone(settings), settings)
    words = ["submit", str(tmp_path / "testA.xz"), "--scale", "datacv_20k", "--out", str(tmp_path), "--device", "cpu"]
    monkeypatch.setattr("sys.argv", ["evaluate", *words, "--model", str(tmp_path / "net.safetensors")])
    assert main() == 0
    path = tmp_path / "testA_20K_result.txt"
    assert capsys.readouterr().out == f"submit: 7 distances in {path}\n"
    network = load_backbone(tmp_path / "net.safetensors")
    expected = by_hand(np.concatenate(list(pairs.batches(14))), network)
    assert np.loadtxt(path) == pytest.approx(expected, abs=1e-5)
    monkeypatch.setattr("sys.argv", ["evaluate", *words, "--runs", str(tmp_path / "runs")])
    with pytest.raises(InputError, match=r"run make train SCALE=datacv_20k .*, or give --model"):
        main()
