"""The fast metrics against slow ones, scikit-learn, answers by hand, golden values and invariances."""

from time import perf_counter

import numpy as np
import pytest
from paths import GOLDEN
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.model_selection import KFold

from bench.errors import InputError
from evaluate import metrics
from evaluate.measure.speed import grid_loop


def made_up(num_pairs, dim=16, seed=0, noise=0.7):
    rng = np.random.default_rng(seed)
    is_genuine = rng.random(num_pairs) < 0.5
    first = rng.standard_normal((num_pairs, dim))
    second = np.where(is_genuine[:, None], first + noise * rng.standard_normal((num_pairs, dim)), first[::-1])
    embeddings = np.stack([first, second], axis=1).reshape(2 * num_pairs, dim)
    return (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype(np.float32), is_genuine


@pytest.mark.parametrize("name", ["lfw_order", "shuffled_7003"])
def test_golden_fold_accuracies_are_equal_to_the_last_bit(name):
    golden = np.load(GOLDEN / f"verification_{name}.npz")
    for fold_accuracies in (metrics.fold_accuracies, grid_loop):
        np.testing.assert_array_equal(fold_accuracies(golden["embeddings"], golden["issame"]), golden["fold_accuracy"])


@pytest.mark.parametrize(("num_pairs", "num_folds"), [(40, 10), (47, 10), (10, 10), (31, 3), (5, 2)])
@pytest.mark.parametrize("noise", [0.1, 0.7, 3.0])
def test_equals_the_grid_loop(num_pairs, num_folds, noise):
    for seed in range(5):
        embeddings, is_genuine = made_up(num_pairs, seed=seed, noise=noise)
        np.testing.assert_array_equal(
            metrics.fold_accuracies(embeddings, is_genuine, num_folds), grid_loop(embeddings, is_genuine, num_folds)
        )


def test_equals_the_grid_loop_where_distances_lie_on_thresholds():
    grid = np.arange(0, 4, 0.01)
    distances = np.repeat(grid[::16], 2)
    angle = np.arccos(1 - distances / 2)
    embeddings = np.stack([np.tile([1.0, 0.0], (50, 1)), np.stack([np.cos(angle), np.sin(angle)], 1)], 1)
    embeddings = embeddings.reshape(100, 2)
    is_genuine = np.random.default_rng(0).random(50) < 0.5
    np.testing.assert_array_equal(metrics.fold_accuracies(embeddings, is_genuine), grid_loop(embeddings, is_genuine))
    on_grid = metrics.grid_decisions(grid[[1, 5, 5, 5]], np.array([True, False, False, False]), 2)
    np.testing.assert_array_equal(on_grid, [False, True, True, True])  # fold 0 sees impostors only: accepts none


def test_faster_than_the_grid_loop():
    embeddings, is_genuine = made_up(2000, dim=128)
    fast = min(_seconds(metrics.fold_accuracies, embeddings, is_genuine) for _ in range(3))
    assert _seconds(grid_loop, embeddings, is_genuine) > 5 * fast  # 15 times and more on a quiet machine


def _seconds(function, *arguments):
    start = perf_counter()
    function(*arguments)
    return perf_counter() - start


@pytest.mark.parametrize(("num_pairs", "num_folds"), [(6000, 10), (7003, 10), (11, 3), (5, 5)])
def test_folds_are_those_of_scikit_learn(num_pairs, num_folds):
    fold = metrics.fold_ids(num_pairs, num_folds)
    for k, (_, test) in enumerate(KFold(num_folds).split(np.arange(num_pairs))):
        np.testing.assert_array_equal(np.flatnonzero(fold == k), test)


def test_swapping_the_faces_of_a_pair_changes_nothing():
    embeddings, is_genuine = made_up(50)
    swapped = embeddings.reshape(50, 2, -1)[:, ::-1].reshape(100, -1)
    np.testing.assert_array_equal(
        metrics.fold_accuracies(embeddings, is_genuine), metrics.fold_accuracies(swapped, is_genuine)
    )


def test_exact_accuracy_by_hand_and_where_the_grid_misleads():
    scores = np.array([0.9, 0.2, 0.8, 0.3, 0.7, 0.4])
    is_genuine = np.array([1, 0, 1, 0, 1, 0], dtype=bool)
    assert metrics.exact_decisions(scores, is_genuine, 3).all()
    crowded = 1 - (1 - scores) / 1000  # all distances below 0.002: one step of the grid
    assert metrics.exact_decisions(crowded, is_genuine, 3).all()
    assert metrics.grid_decisions(2 - 2 * crowded, is_genuine, 3).mean() == 0.5


def test_exact_threshold_of_one_sided_folds():
    scores = np.array([0.5, 0.6, 0.7, 0.8])
    np.testing.assert_array_equal(metrics.exact_decisions(scores, np.ones(4, dtype=bool), 2), True)
    np.testing.assert_array_equal(metrics.exact_decisions(scores, np.zeros(4, dtype=bool), 2), True)


def test_exact_threshold_is_at_least_as_good_as_the_grid_on_its_own_pairs():
    scores, is_genuine = np.array([0.1, 0.5, 0.5, 0.9]), np.array([False, True, False, True])
    # Fold 1 learns from 0.1 (impostor) and 0.5 (genuine): threshold 0.3 accepts both of its pairs.
    np.testing.assert_array_equal(metrics.exact_decisions(scores, is_genuine, 2)[2:], [False, True])


def test_tar_at_far_by_hand_with_a_tie():
    scores = np.array([0.9, 0.8, 0.5, 0.4, 0.8, 0.3, 0.2, 0.1])
    is_genuine = np.array([1, 1, 1, 1, 0, 0, 0, 0], dtype=bool)
    assert metrics.tar_at_far(scores, is_genuine, 0.25) == 1.0  # threshold above 0.3 lets one impostor in
    assert metrics.tar_at_far(scores[:7], is_genuine[:7], 0.34) == 1.0
    with pytest.raises(ValueError, match=r"far=0.1 needs at least 10 impostor pairs, got 4; give far=0.25 or above"):
        metrics.tar_at_far(scores, is_genuine, 0.1)


@pytest.mark.parametrize("seed", range(30))
def test_tar_and_roc_agree_with_scikit_learn_on_tied_scores(seed):
    rng = np.random.default_rng(seed)
    scores, is_genuine = rng.integers(0, 12, 80) / 12, rng.random(80) < 0.4
    far, tar, thresholds = metrics.roc(scores, is_genuine)
    expected = roc_curve(is_genuine, scores, drop_intermediate=False)
    for ours, theirs in zip((far, tar, thresholds), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
    for limit in (0.05, 0.1, 0.5):
        assert metrics.tar_at_far(scores, is_genuine, limit) == pytest.approx(tar[far <= limit + 1e-12].max())
    assert metrics.auc(scores, is_genuine) == pytest.approx(roc_auc_score(is_genuine, scores))
    error = metrics.eer(scores, is_genuine)
    assert 0 <= error <= 1
    assert np.interp(error, far, tar, left=0) >= 1 - error - 1e-9 or error in far


def test_auc_pair_by_pair():
    scores, is_genuine = np.array([3, 1, 2, 2.0]), np.array([True, True, False, False])
    assert metrics.auc(scores, is_genuine) == (1 + 1 + 0 + 0) / 4
    assert metrics.auc(np.zeros(4), is_genuine) == 0.5


def test_eer_by_hand():
    assert metrics.eer(np.array([4, 3, 2, 1.0]), np.array([True, True, False, False])) == 0
    assert metrics.eer(np.array([4, 2, 3, 1.0]), np.array([True, True, False, False])) == 0.5
    assert metrics.eer(np.zeros(6), np.array([True, False] * 3)) == 0.5


def test_d_prime_by_hand():
    scores, is_genuine = np.array([3.0, 5.0, 0.0, 2.0]), np.array([True, True, False, False])
    assert metrics.d_prime(scores, is_genuine) == pytest.approx(3.0)
    assert np.isnan(metrics.d_prime(np.zeros(4), is_genuine))


def test_ranking_metrics_do_not_see_pair_order_or_monotone_maps():
    embeddings, is_genuine = made_up(60)
    scores = metrics.cosines(metrics.pair_distances(embeddings))
    order = np.random.default_rng(1).permutation(60)
    for metric in (metrics.auc, metrics.eer, lambda s, g: metrics.tar_at_far(s, g, 0.1)):
        expected = metric(scores, is_genuine)
        assert metric(scores[order], is_genuine[order]) == pytest.approx(expected, abs=1e-12)
        assert metric(np.exp(3 * scores), is_genuine) == pytest.approx(expected, abs=1e-12)


def test_tar_is_monotone_in_far():
    scores, is_genuine = np.random.default_rng(0).random(400), np.arange(400) % 2 == 0
    rates = [metrics.tar_at_far(scores, is_genuine, far) for far in (0.005, 0.01, 0.1, 0.5, 0.999)]
    assert rates == sorted(rates)


def test_messages():
    embeddings, is_genuine = made_up(20)
    with pytest.raises(InputError, match="9 pairs cannot make 10 folds"):
        metrics.fold_accuracies(embeddings[:18], is_genuine[:9])
    with pytest.raises(InputError, match=r"\(20,\) values and \(19,\) labels"):
        metrics.fold_accuracies(embeddings, is_genuine[:19])
    with pytest.raises(InputError, match=r"shape \(39, 16\); needs"):
        metrics.fold_accuracies(embeddings[:39], is_genuine)
    embeddings[[3, 17], 2] = np.nan, np.inf
    with pytest.raises(InputError, match="2 of 40 images are not finite: images 3, 17;"):
        metrics.fold_accuracies(embeddings, is_genuine)
    with pytest.raises(InputError, match="got 0 genuine and 20 impostor"):
        metrics.auc(np.zeros(20), np.zeros(20))
    with pytest.raises(InputError, match="far=1 is not a fraction"):
        metrics.tar_at_far(np.zeros(20), is_genuine, 1.0)
    with pytest.raises(InputError, match="1 of 20 scores are not finite"):
        metrics.auc(np.where(np.arange(20) == 4, np.nan, 1.0), is_genuine)
