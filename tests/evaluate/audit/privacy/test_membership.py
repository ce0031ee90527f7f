"""Membership of training people: matched counts, scores by loops, the bootstrap against one resample at a time."""

import numpy as np
import pytest

from bench.errors import InputError
from evaluate.audit.privacy import membership
from evaluate.audit.privacy.membership import match_counts, measure_membership, person_scores
from evaluate.metrics import auc


def ids_of(counts):
    return np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))


def test_members_and_controls_get_equally_many_images():
    rng = np.random.default_rng(1)
    member_ids, control_ids = ids_of(rng.integers(1, 30, 350)), ids_of(rng.integers(1, 9, 120))
    members, controls = match_counts(member_ids, control_ids, seed=3)
    counts, control_counts = np.bincount(members.labels), np.bincount(controls.labels)
    assert (len(counts), len(control_counts)) == (240, 120)  # two members for each control
    assert (np.sort(counts)[::2] == np.sort(control_counts)).all()
    assert (np.sort(counts)[1::2] == np.sort(control_counts)).all()
    for people, ids in ((members, member_ids), (controls, control_ids)):
        assert len(np.unique(people.rows)) == len(people.rows)
        owners = {(label, ids[row]) for label, row in zip(people.labels, people.rows, strict=True)}
        assert len(owners) == people.labels.max() + 1  # a label stands for one person


def test_scores_equal_loops(monkeypatch):
    monkeypatch.setattr(membership, "_SYNTHETIC_ROWS", 7)  # blocks of the 50 synthetic images
    rng = np.random.default_rng(2)
    real, synthetic = rng.normal(size=(30, 6)), rng.normal(size=(50, 6)).astype(np.float32)
    real = (real / np.linalg.norm(real, axis=1, keepdims=True)).astype(np.float32)
    people = membership.People(np.array([4, 9, 2, 11, 5]), np.array([0, 0, 1, 1, 1]))
    scores = person_scores(real, people, synthetic)

    def cosine(a, b):
        return a @ b / np.linalg.norm(a) / np.linalg.norm(b)

    for person in (0, 1):
        images = real[people.rows[people.labels == person]]
        to_centre = max(cosine(images.mean(axis=0), row) for row in synthetic)
        to_image = max(cosine(image, row) for image in images for row in synthetic)
        assert scores["centre"][person] == pytest.approx(to_centre, abs=1e-6)
        assert scores["image"][person] == pytest.approx(to_image, abs=1e-6)


def test_what_is_measured_of_known_scores():
    members, controls = np.array([0.9, 0.5, 0.5, 0.1]), np.linspace(0.0, 0.5, 100)
    measured = measure_membership(members, controls)
    assert measured.auc == pytest.approx((100 + 2 * 99.5 + 20) / 400)
    assert measured.tpr_at_fpr == {"1e-2": 0.75, "1e-3": None}  # one control, 0.5 itself, may be above
    low, high = measured.interval
    assert 0 <= low < measured.auc < high <= 1


def test_the_bootstrap_equals_one_resample_at_a_time(monkeypatch):
    monkeypatch.setattr(membership, "NUM_RESAMPLES", 100)
    rng = np.random.default_rng(0)
    members, controls = rng.integers(2, 11, 40) / 10, np.sort(rng.integers(0, 9, 30) / 10)
    fast = membership._resampled_aucs(members, controls, np.random.default_rng(5))
    again = np.random.default_rng(5)
    drawn, drawn_controls = (again.multinomial(n, np.full(n, 1 / n), size=100) for n in (40, 30))
    for i in range(100):
        m, c = np.repeat(members, drawn[i]), np.repeat(controls, drawn_controls[i])
        assert fast[i] == pytest.approx(auc(np.concatenate([m, c]), np.repeat([True, False], [40, 30])))


def test_the_interval_covers_chance(monkeypatch):
    """People of one distribution: the 95 % interval holds 0.5 in most repetitions."""
    monkeypatch.setattr(membership, "NUM_RESAMPLES", 200)
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(40):
        low, high = measure_membership(rng.normal(size=300), rng.normal(size=200)).interval
        covered += low <= 0.5 <= high
    assert covered >= 34


def test_too_few_people():
    with pytest.raises(InputError, match=r"99 held-out people are too few: a false .* needs 100; hold out"):
        match_counts(np.arange(500), np.arange(99))
    with pytest.raises(InputError, match="150 members are fewer than the 200 held-out people"):
        match_counts(np.arange(150), np.arange(200))
