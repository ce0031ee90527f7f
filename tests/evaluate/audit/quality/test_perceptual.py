"""Perceptual distances of pairs: the pairs, their mean by hand, and LPIPS from torchvision's file."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.errors import InputError
from bench.runs.cards import AuditCard, read_card
from bench.runs.fingerprints import audit_stage
from evaluate.audit.embeddings import Embedded, Embedder
from evaluate.audit.quality.perceptual import MAX_PAIRS, choose_pairs, load_lpips, perceptual_figures
from evaluate.audit.run import Comparisons, audit
from evaluate.audit.source import Source
from evaluate.audit.stage import NetworkFiles, audit_unless_finished


def grey_set(greys_by_identity):
    """Images of one grey value each."""
    greys = [grey for greys in greys_by_identity for grey in greys]
    ids = np.repeat(np.arange(len(greys_by_identity)), [len(greys) for greys in greys_by_identity])
    names = [str(identity) for identity in range(len(greys_by_identity))]

    def load(position):
        return np.full((112, 112, 3), greys[position], np.uint8)

    source = Source("grey", Path("grey"), "", load, str, ids, names)
    return Embedded(source, np.arange(len(greys)), ids, names, np.zeros((len(greys), 2), np.float32), {})


def grey_distance(first, second):
    """Difference of the grey values, of 255."""
    return (first - second).abs().mean(dim=(1, 2, 3), keepdim=True) * 127.5


def test_means_by_hand():
    figures = perceptual_figures(grey_set([[10, 20], [100, 140], [200]]), grey_distance)
    assert figures.num_within == 2 and figures.within == pytest.approx((10 + 40) / 2, abs=1e-3)
    assert figures.num_across == 3
    one_each = perceptual_figures(grey_set([[0], [255]]), grey_distance)
    assert (one_each.num_within, one_each.within, one_each.num_across) == (0, None, 2)
    assert one_each.across == pytest.approx(255)
    assert perceptual_figures(grey_set([[7]]), grey_distance).across is None


def test_pairs_are_of_one_identity_or_of_two():
    ids = np.random.default_rng(0).integers(0, 1500, 6000)
    within, across = choose_pairs(ids, seed=1)
    assert within.shape == across.shape == (MAX_PAIRS, 2)
    assert (ids[within[:, 0]] == ids[within[:, 1]]).all() and (within[:, 0] != within[:, 1]).all()
    assert (ids[across[:, 0]] != ids[across[:, 1]]).all()
    assert len(set(ids[within[:, 0]])) == len(set(ids[across[:, 0]])) == MAX_PAIRS
    assert np.array_equal(choose_pairs(ids, seed=1)[0], within)
    assert not np.array_equal(choose_pairs(ids, seed=2)[0], within)


@pytest.mark.slow
def test_lpips_takes_torchvision_s_alexnet(tmp_path):
    pytest.importorskip("lpips")
    from torchvision.models import alexnet

    network = alexnet(weights=None)
    torch.save(network.state_dict(), tmp_path / "alexnet.pth")
    distance = load_lpips(tmp_path / "alexnet.pth")
    assert torch.equal(distance.net.slice5[-2].weight, network.features[10].weight)
    images = torch.rand(2, 3, 112, 112) * 2 - 1
    assert distance(images, images).abs().max() == 0 and distance(images, -images).min() > 0


def test_the_card_has_them_of_the_set_and_of_the_real_faces(tmp_path):
    greys = [[10 * identity, 10 * identity + 5] for identity in range(1, 20)]
    source, real = grey_set(greys).source, grey_set(greys).source
    embedder = Embedder(lambda images: images[:, :, 0, :2].flatten(1), "5" * 64, perceptual=grey_distance)
    stage = audit_stage("datasets", (source.name, source.state), {}, None, runs=tmp_path / "runs")
    others = Comparisons(real=replace(real, name="real", path=Path("real")))
    card = audit(stage, source, others, embedder, cache=tmp_path / "cache")
    assert card.diversity_scores.lpips.within == pytest.approx(5, abs=1e-3)
    assert card.quality.diversity.lpips == card.diversity_scores.lpips
    assert read_card(stage.directory, AuditCard) == card


def test_it_needs_a_recognition_network(tmp_path):
    files = NetworkFiles(None, {}, lambda *_: None, lpips=tmp_path / "alexnet.pth")
    source = grey_set([[1, 2]]).source
    with pytest.raises(InputError, match="--lpips was given without --network; give the file of a recognition network"):
        audit_unless_finished(source, Comparisons(), files, scale_dir=tmp_path / "runs" / "x", device="cpu", seed=0)


def test_other_files_are_refused(tmp_path):
    pytest.importorskip("lpips")
    with pytest.raises(InputError, match=r"gone\.pth does not exist; download https://\S+alexnet\S+ and give its path"):
        load_lpips(tmp_path / "gone.pth")
    torch.save({"features.0.weight": torch.zeros(2), "classifier.1.weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"other\.pth holds another architecture .*; give torchvision's AlexNet"):
        load_lpips(tmp_path / "other.pth")
    torch.save([1], tmp_path / "list.pth")
    with pytest.raises(InputError, match=r"list\.pth holds another architecture"):
        load_lpips(tmp_path / "list.pth")
