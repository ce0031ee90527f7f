"""Searches: galleries by hand, a slow search as witness, ties, and blocks that change nothing."""

import tracemalloc

import numpy as np
import pytest

from bench.errors import InputError
from bench.vectors.exact import fixed_point
from evaluate.layouts.searches import NOBODY, Enrolment, Searches
from evaluate.measure.identification.measure import describe_search, identify, tpir_at_fpir
from evaluate.measure.identification.search import NO_SCORE, SearchScores, search


def at_degrees(*degrees):
    """Unit vectors in the plane."""
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def unit(num, dimensions, seed):
    vectors = np.random.default_rng(seed).normal(size=(num, dimensions))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def slow_search(probes, probe_ids, gallery, gallery_ids):
    """Rank, mate and other by comparing one score after the other."""
    rank, mate, other = [], [], []
    probes, gallery = fixed_point(probes), fixed_point(gallery)
    for probe, identity in zip(probes, probe_ids, strict=True):
        scores = [float(probe @ entry) for entry in gallery]
        mates = [score for score, own in zip(scores, gallery_ids, strict=True) if own == identity]
        others = [score for score, own in zip(scores, gallery_ids, strict=True) if own != identity]
        mate.append(max(mates, default=NO_SCORE))
        other.append(max(others, default=NO_SCORE))
        rank.append(1 + sum(score >= mate[-1] for score in others) if mates else 0)
    return SearchScores(np.array(rank), np.array(mate), np.array(other))


def assert_equal(a, b):
    assert a.rank.tolist() == b.rank.tolist()
    assert a.mate.tolist() == b.mate.tolist()
    assert a.other.tolist() == b.other.tolist()


def test_a_gallery_by_hand():
    gallery = at_degrees(0, 30, 60, 90)  # people 0, 1, 2 and a distractor
    gallery_ids = np.array([0, 1, 2, NOBODY])
    probes = at_degrees(5, 40, 80, 45)  # persons 0, 1, 2, and 9, who is not enrolled
    found = search(probes, np.array([0, 1, 2, 9]), gallery, gallery_ids)
    assert found.rank.tolist() == [1, 1, 2, 0]  # person 2 lies nearer to the distractor
    assert found.mate[:3] == pytest.approx(np.cos(np.deg2rad([5, 10, 20])), abs=1e-7)
    assert found.mate[3] == NO_SCORE
    assert found.other[3] == pytest.approx(np.cos(np.deg2rad(15)), abs=1e-7)
    described = describe_search(found, 4)
    assert described.rank == {"1": 2 / 3, "5": 1, "10": 1, "20": 1}
    assert described.cmc == pytest.approx([2 / 3, 1, 1, 1], abs=1e-6)
    assert (described.num_mated, described.num_non_mated, described.num_enrolled) == (3, 1, 4)
    assert described.tpir_at_fpir == {"1e-2": None, "1e-1": None}  # one non-mated search resolves neither


def test_tpir_at_fpir_by_hand():
    """Ten strangers, the highest of whom scores 0.9: at FPIR 0.1 one may pass, and the threshold lies above 0.8."""
    rank = np.array([1, 1, 1, 2] + [0] * 10)
    mate = np.array([0.95, 0.85, 0.8, 0.99] + [NO_SCORE] * 10)
    other = np.array([0.1, 0.1, 0.1, 0.995, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0])
    scores = SearchScores(rank, mate, other)
    assert tpir_at_fpir(scores, 0.1) == 2 / 4  # 0.95 and 0.85; 0.8 ties with a rejected stranger, 0.99 has rank 2
    assert tpir_at_fpir(scores, 0.05) is None
    assert tpir_at_fpir(SearchScores(rank[:4], mate[:4], other[:4]), 0.1) is None
    described = describe_search(scores, 20)
    assert described.curve["fpir"][0] == pytest.approx(0.1) and described.curve["tpir"][0] == 0.5
    assert described.curve["fpir"][-1] == 1 and described.curve["tpir"][-1] == 0.75  # at most the rank-1 rate


def test_ties_count_against_the_mate():
    gallery = at_degrees(20, 20, 50)
    found = search(at_degrees(20), np.array([0]), gallery, np.array([0, 1, 2]))
    assert found.rank.tolist() == [2]
    assert search(at_degrees(20), np.array([1]), gallery, np.array([0, 1, 2])).rank.tolist() == [2]


def test_of_several_mates_the_best_counts_and_none_is_a_rival():
    gallery = at_degrees(0, 10, 12, 90)
    found = search(at_degrees(13), np.array([0]), gallery, np.array([0, 0, 1, 0]))
    assert found.rank.tolist() == [2]
    assert search(at_degrees(10), np.array([0]), gallery, np.array([0, 0, 1, 0])).rank.tolist() == [1]


@pytest.mark.parametrize("blocks", [(1, 1), (3, 5), (7, 1000), (64, 64)])
def test_blocks_change_nothing_and_a_slow_search_agrees(blocks):
    rng = np.random.default_rng(1)
    gallery, probes = unit(150, 32, 2), unit(40, 32, 3)
    gallery[10] = gallery[70]  # a tie
    probes[:20] = gallery[rng.integers(0, 60, 20)]
    gallery_ids = np.concatenate([rng.permutation(60), np.full(90, NOBODY)])
    probe_ids = rng.integers(0, 90, 40)
    found = search(probes, probe_ids, gallery, gallery_ids, block_probes=blocks[0], block_entries=blocks[1])
    assert_equal(found, search(probes, probe_ids, gallery, gallery_ids))
    assert_equal(found, slow_search(probes, probe_ids, gallery, gallery_ids))


def test_exact_products_do_not_depend_on_the_shape_of_the_blocks():
    a, b = fixed_point(unit(300, 512, 0)), fixed_point(unit(200, 512, 1))
    whole = a @ b.T
    assert np.array_equal(whole[7:8, 3:4], a[7:8] @ b[3:4].T)
    assert np.array_equal(whole.T[::3, 5], b[::3] @ a[5])
    assert whole[7, 3] == sum((a[7] * b[3]).tolist())  # added one after the other
    assert np.abs(a - unit(300, 512, 0)).max() <= 2**-26


def test_two_galleries_are_searched_one_by_one_and_averaged():
    embeddings = at_degrees(0, 60, 5, 58, 120)
    searches = Searches(
        Enrolment(np.array([2, 3]), np.array([0, 1])),
        {"G1": Enrolment(np.array([0]), np.array([0])), "G2": Enrolment(np.array([1, 4]), np.array([1, 7]))},
    )
    found = identify(embeddings, searches, num_images=5, sha256="0" * 64)
    assert found.rank["1"] == 1
    assert {name: (each.num_mated, each.num_non_mated) for name, each in found.galleries.items()} == {
        "G1": (1, 1),
        "G2": (1, 1),
    }
    assert found.tpir_at_fpir == {"1e-2": None, "1e-1": None}


def test_bad_input_is_refused():
    a, ids = unit(4, 8, 0), np.arange(4)
    with pytest.raises(InputError, match=r"probes \(4, 8\) and gallery \(4, 5\) differ in width; embed both by one"):
        search(a, ids, unit(4, 5, 0), ids)
    with pytest.raises(InputError, match="4 probes with 4 identities and 4 entries with 3"):
        search(a, ids, a, ids[:3])
    with pytest.raises(InputError, match="a probe has the identity -1"):
        search(a, ids - 1, a, ids)
    broken = a.copy()
    broken[2, 1] = np.nan
    with pytest.raises(InputError, match="gallery: 1 of 4 are not finite, the first in row 2"):
        search(a, ids + 10, broken, ids)
    with pytest.raises(InputError, match="length 2"):
        search(2 * a, ids, a, ids)


def test_memory_does_not_grow_with_the_gallery():
    """Beyond the embeddings, a search needs its blocks and the order of the gallery, 32 bytes an entry."""
    probes, probe_ids = unit(600, 64, 0), np.arange(600)
    peaks = []
    for num_entries in (5_000, 40_000):
        gallery, gallery_ids = unit(num_entries, 64, 1), np.arange(num_entries) - 1
        tracemalloc.start()
        search(probes, probe_ids, gallery, gallery_ids)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 35_000 * 64
