"""Centres and differences of identities with many faces, and images drawn with them."""

import numpy as np
import pytest
from face_files import make_faces
from generator_training import make_prepared

from bench.config.generator import Vec2FaceGenerator
from bench.errors import InputError
from generate.draw.perturbation import perturb
from generate.draw.plan import Plan, identity_rows
from generate.training.data import open_training_set
from generate.training.prepared.variation import centers_and_differences, write_variation

IDENTITY_IDS = np.array([2, 0, 2, 1, 2, 0, 0, 2])  # three, one and four faces


def test_it_is_what_pencil_and_paper_say():
    features = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)
    centers, differences = centers_and_differences(features, IDENTITY_IDS, 3)
    slow_centers, slow = [], {}
    for identity in (0, 2):
        rows = np.flatnonzero(np.equal(IDENTITY_IDS, identity))
        slow_centers.append(features[rows].mean(axis=0))
        for row in rows:
            slow[row] = (features[row] - slow_centers[-1]) * np.sqrt(len(rows) / (len(rows) - 1))
    np.testing.assert_allclose(centers, slow_centers, atol=1e-6)
    np.testing.assert_allclose(differences, [slow[row] for row in sorted(slow)], atol=1e-6)


def test_its_spread_is_that_of_faces_around_the_true_centre():
    rng = np.random.default_rng(1)
    identity_ids = np.repeat(np.arange(3000), 3)
    features = np.repeat(rng.normal(size=(3000, 4)), 3, axis=0) + 0.5 * rng.normal(size=(9000, 4))
    _, differences = centers_and_differences(features, identity_ids, 3)
    assert differences.std() == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize(("min_faces", "num_identities"), [(4, 1), (9, 0)])
def test_identities_with_too_few_faces_are_refused(min_faces, num_identities):
    with pytest.raises(InputError, match=rf"--min-faces {min_faces}: {num_identities} identities .*the most is 4"):
        centers_and_differences(np.zeros((8, 5)), IDENTITY_IDS, min_faces)


def test_files_of_a_prepared_set_make_images(tmp_path):
    folder, _ = make_prepared(tmp_path, make_faces(tmp_path / "faces", num_identities=3, images_per_identity=4))
    assert write_variation(folder, min_faces=4) == (3, 12)
    training = open_training_set(folder / "faces.lmdb")
    features = np.stack([training.features(row) for row in range(12)])
    centers, differences = np.load(folder / "seen_often.npy"), np.load(folder / "differences.npy")
    np.testing.assert_allclose(centers[training.identity_ids] + differences * np.sqrt(3 / 4), features, atol=1e-4)

    settings = Vec2FaceGenerator(
        kind="vec2face",
        num_identities=1,
        images_per_identity=40,
        perturbation={"sigmas": (0.5, 1.0), "shares": (0.5, 0.5), "differences": "differences.npy"},
        attributes={"pose_share": 0},
    )
    rows = identity_rows(Plan(settings, weights=folder), 0, 7, centers[0])
    possible = centers[0] + rows["sigma"][:, None, None] * differences  # (images, differences, D)
    distance = np.abs(possible - rows["vector"][:, None]).max(axis=2)
    assert distance.min(axis=1).max() < 1e-5
    assert len(set(distance.argmin(axis=1))) > 6  # not one and the same


def test_each_photograph_counts_with_its_mirror_image(tmp_path):
    faces = make_faces(tmp_path / "faces", num_identities=2, images_per_identity=3)
    folder, _ = make_prepared(tmp_path, faces, mirror=True)
    assert write_variation(folder, min_faces=6) == (2, 12)
    with pytest.raises(InputError, match="the most is 6"):
        write_variation(folder, min_faces=7)


def test_turned_views_are_left_out(tmp_path):
    folder, _ = make_prepared(tmp_path, make_faces(tmp_path / "faces", num_identities=2, images_per_identity=6))
    assert write_variation(folder, min_faces=2, views=1) == (2, 6)
    training = open_training_set(folder / "faces.lmdb")
    features = np.stack([training.features(row) for row in range(0, 12, 2)])
    np.testing.assert_allclose(np.load(folder / "seen_often.npy")[1], features[3:].mean(axis=0), atol=1e-5)
    with pytest.raises(InputError, match="--views 4: 12 faces are not a multiple of 5"):
        write_variation(folder, min_faces=2, views=4)


def test_differences_do_not_depend_on_slicing_and_keep_their_length():
    differences = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    vector, sigma = np.ones(6, np.float32), np.full(5, 2.0, np.float32)
    whole = perturb(vector, sigma, seed=1, identity_id=2, differences=differences)
    alone = perturb(vector, sigma[:1], seed=1, identity_id=2, first_image=3, differences=differences)
    assert np.array_equal(whole[3], alone[0])
    assert not np.array_equal(whole, perturb(vector, sigma, seed=2, identity_id=2, differences=differences))


def test_differences_of_another_width_are_refused(tmp_path):
    np.save(tmp_path / "differences.npy", np.zeros((5, 4)))
    noise = {"sigmas": (1,), "shares": (1,), "differences": "differences.npy"}
    plan = Plan(Vec2FaceGenerator(kind="vec2face", num_identities=1, perturbation=noise), weights=tmp_path)
    with pytest.raises(InputError, match=r"shape \(5, 4\), the identity vectors 6 dimensions; .* \(any, 6\), the diff"):
        identity_rows(plan, 0, 0, np.ones(6, np.float32))
