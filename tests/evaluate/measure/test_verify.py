"""Verification of hand-made embeddings, the checks on a result, and scores.npz as a round trip."""

import zipfile
from dataclasses import replace

import numpy as np
import pytest
from verification_images import make_protocol

from bench.errors import InputError
from evaluate import metrics
from evaluate.measure.scores import IDENTITIES, read_scores, write_scores
from evaluate.measure.verify import check_result, num_nearly_equal, score, verify


def on_circle(degrees):
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


@pytest.fixture
def twenty():
    """Ten genuine pairs 10 degrees apart, ten impostor pairs 90 degrees apart, one of each per fold, on four faces."""
    protocol = make_protocol([[0, 1], [0, 2]] * 10, [True, False] * 10)
    return protocol, on_circle([0, 10, 90])


def test_by_hand(twenty):
    protocol, embeddings = twenty
    seen = []

    def embed_function(images):
        seen.append(len(images))
        return embeddings

    verification = verify(embed_function, protocol)
    assert seen == [3]  # each distinct face once
    result = verification.result
    assert (result.accuracy, result.fold_std, result.standard_error) == (1, 0, 0)
    assert (result.num_pairs, result.num_impostors, result.auc, result.eer) == (20, 10, 1, 0)
    assert result.tar_at_far == {"1e-1": 1} | dict.fromkeys(metrics.FARS[1:])  # ten impostors resolve 1e-1
    assert result.folds == (1,) * 10
    assert (result.interval, result.interval_over) == ((1, 1), "pairs")
    assert result.exact_accuracy == 1
    assert result.sha256 == "0" * 64
    np.testing.assert_allclose(verification.scores[:2], [np.cos(np.radians(10)), 0], atol=1e-6)
    np.testing.assert_array_equal(verification.fold, np.repeat(np.arange(10), 2))


def test_one_wrong_pair_in_one_fold():
    pairs, labels = [[0, 1], [0, 2]] * 10, [True, False] * 10
    pairs[4] = [0, 2]  # a genuine pair of fold 2 as far apart as the impostors
    result = verify(lambda images: on_circle([0, 10, 90]), make_protocol(pairs, labels)).result
    assert result.accuracy == pytest.approx(19 / 20)
    assert result.fold_std == pytest.approx(np.std([0.5] + [1] * 9))
    assert result.standard_error == pytest.approx(np.sqrt(0.95 * 0.05 / 20))
    assert result.auc == pytest.approx((9 * 10 + 10 / 2) / 100)


def test_tar_is_printed_where_the_impostors_resolve_it():
    rng = np.random.default_rng(0)
    embeddings = on_circle(rng.random(2 * 2200) * 180)
    labels = np.arange(2200) % 2 == 0
    pairs = np.arange(2 * 2200).reshape(-1, 2)
    result = score(embeddings, make_protocol(pairs, labels)).result
    assert result.tar_at_far["1e-4"] is None
    scores = metrics.cosines(metrics.pair_distances(embeddings))
    assert result.tar_at_far["1e-3"] == metrics.tar_at_far(scores, labels, 1e-3)
    assert result.tar_at_far["1e-3"] <= result.tar_at_far["1e-2"]


def test_one_kind_of_pair_leaves_rates_undefined():
    protocol = make_protocol([[0, 1]] * 12, [True] * 12)
    result = verify(lambda images: on_circle([0, 10]), protocol).result
    assert (result.auc, result.eer, result.d_prime) == (None, None, None)
    assert result.accuracy == 1


def test_embeddings_that_are_not_finite_name_the_images(twenty):
    protocol, embeddings = twenty
    embeddings[2, 1] = np.nan
    with pytest.raises(InputError, match="made_up: embeddings of 1 of 3 images are not finite: images 2; inspect"):
        verify(lambda images: embeddings, protocol)


def test_fewer_pairs_than_folds_is_said_before_embedding():
    def embed_function(images):
        raise AssertionError("must not be called")

    with pytest.raises(InputError, match="4 pairs cannot make 10 folds"):
        verify(embed_function, make_protocol([[0, 1]] * 4, [True] * 4))


def test_a_result_that_contradicts_itself_is_refused(twenty):
    protocol, embeddings = twenty
    result = verify(lambda images: embeddings, protocol).result
    check_result("x", result)
    with pytest.raises(RuntimeError, match=r"x: folds average 0.9.*, but the accuracy is 1"):
        check_result("x", result.model_copy(update={"folds": (0.9,) * 10}))


def test_identities_of_the_test_set_are_drawn_where_they_are_known(twenty, tmp_path):
    protocol, embeddings = twenty
    known = replace(protocol, identity_ids=np.array([0, 0, 1]))
    verification = verify(lambda images: embeddings, known)
    assert verification.result.interval_over == "identities"
    np.testing.assert_array_equal(verification.identities[:2], [[0, 0], [0, 1]])
    write_scores(tmp_path / "scores.npz", {"made_up": verification.arrays})
    back = read_scores(tmp_path / "scores.npz")["made_up"][IDENTITIES]
    np.testing.assert_array_equal(back, verification.identities)


def test_scores_round_trip(twenty, tmp_path):
    protocol, embeddings = twenty
    verification = verify(lambda images: embeddings, protocol)
    write_scores(tmp_path / "scores.npz", {"made_up": verification.arrays})
    back = read_scores(tmp_path / "scores.npz")
    assert list(back) == ["made_up"]
    for field, values in verification.arrays.items():
        np.testing.assert_array_equal(back["made_up"][field], values)
        assert back["made_up"][field].dtype == values.dtype
    assert metrics.fold_means(back["made_up"]["is_correct"]).mean() == verification.result.accuracy


def test_scores_that_are_not_whole(twenty, tmp_path):
    protocol, embeddings = twenty
    arrays = verify(lambda images: embeddings, protocol).arrays
    path = tmp_path / "scores.npz"
    write_scores(path, {"made_up": arrays})
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(InputError, match=r"scores.npz is not a whole .npz .*; run the evaluation again"):
        read_scores(path)
    np.savez(path, **{"made_up/scores": arrays["scores"]})
    with pytest.raises(InputError, match="made_up lacks is_genuine, fold, is_correct; run the evaluation again"):
        read_scores(path)
    with zipfile.ZipFile(path, "w") as file:  # NumPy returns a member that is no .npy as bytes
        for field in arrays:
            file.writestr(f"made_up/{field}.npy", b"no array")
    with pytest.raises(InputError, match="holds files that are no arrays; run the evaluation again"):
        read_scores(path)
    with pytest.raises(InputError, match=r"gone.npz is not a whole .npz"):
        read_scores(tmp_path / "gone.npz")


@pytest.mark.parametrize(("spread", "is_warned"), [(0, True), (1e-3, True), (0.3, False)])
def test_embeddings_that_are_nearly_equal_are_warned_of(capsys, spread, is_warned):
    rng = np.random.default_rng(0)

    def embed(images):
        embeddings = np.ones(8) + spread * rng.standard_normal((len(images), 8))
        return (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype(np.float32)

    verify(embed, make_protocol(np.arange(40).reshape(-1, 2), np.arange(20) % 2 == 0))
    warning = "warning: made_up: 40 of 40 embeddings are nearly equal; check that the network is trained and gets"
    assert (warning in capsys.readouterr().err) == is_warned


def test_embeddings_of_zeros_are_nearly_equal():
    assert num_nearly_equal(np.zeros((5, 3), np.float32)) == 5
