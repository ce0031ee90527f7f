"""The landmark bank: points of a turned head, exact shares of yaws and pitches, independence from batches."""

from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError

from bench.config.poses import LandmarkPoses
from bench.errors import InputError
from bench.faces.face import ARCFACE_TEMPLATE
from generate.draw.perturbation import apportion
from generate.draw.pose.bank import make_bank
from generate.networks.plus.pictures import draw_landmarks
from generate.render import camera, head
from generate.render.turned import turned_landmarks

POSES = LandmarkPoses(
    share=1.0,
    yaw_degrees=(-60, 0, 60),
    yaw_shares=(0.2, 0.5, 0.3),
    pitch_degrees=(-10, 20),
    pitch_shares=(0.75, 0.25),
)


def test_landmarks_follow_yaw_and_pitch():
    frontal = turned_landmarks(0)
    assert np.abs(frontal - ARCFACE_TEMPLATE).max() < 3.5  # the mean head is not exactly the template's face
    noses = [turned_landmarks(yaw)[2, 0] - turned_landmarks(yaw)[:2, 0].mean() for yaw in range(-60, 61, 15)]
    assert (np.diff(noses) > 0).all()  # positive yaw: the nose points to the right of the image
    eyes = [np.ptp(turned_landmarks(yaw)[:2, 0]) for yaw in (0, 30, 60, 85)]
    assert (np.diff(eyes) < 0).all() and eyes[-1] < 1
    drops = [turned_landmarks(0, pitch)[2, 1] - turned_landmarks(0, pitch)[:2, 1].mean() for pitch in (-30, 0, 30)]
    assert (np.diff(drops) > 0).all()  # positive pitch: the nose points down


@pytest.mark.parametrize(("yaw", "pitch"), [(30, 0), (60, 15), (85, -20)])
def test_opposite_yaws_are_mirror_images(yaw, pitch):
    mirrored = turned_landmarks(-yaw, pitch)[[1, 0, 2, 4, 3]] * (-1, 1) + (111, 0)
    assert np.abs(mirrored - turned_landmarks(yaw, pitch)).max() < 1.5  # the template itself is not symmetric


def test_landmarks_are_the_aligned_points_of_the_head():
    """Rotation, perspective and alignment once more, point by point."""
    mesh, (yaw, pitch) = head.template(), np.radians([40.0, 10.0])
    points = []
    for x, y, z in mesh.points[:, mesh.landmarks].T.astype(float):
        across, near = x * np.cos(yaw) + z * np.sin(yaw), z * np.cos(yaw) - x * np.sin(yaw)
        down, near = y * np.cos(pitch) + near * np.sin(pitch), near * np.cos(pitch) - y * np.sin(pitch)
        points.append(600 / (600 - near) * (across + 1j * down))
    a, b = camera.similarity_to_template(np.array(points))
    aligned = a * np.array(points) + b
    expected = np.stack([aligned.real, aligned.imag], axis=1)
    np.testing.assert_allclose(turned_landmarks(40, 10), expected, atol=1e-3)


def test_every_identity_has_the_exact_shares():
    bank = make_bank(POSES)
    assert list(zip(bank.yaw.tolist(), bank.pitch.tolist(), strict=True)) == [
        (yaw, pitch) for yaw in (-60, 0, 60) for pitch in (-10, 20)
    ]
    for identity_id in range(5):
        chosen = bank.choose(3, identity_id, 20)
        assert Counter(bank.yaw[chosen].tolist()) == {-60: 4, 0: 10, 60: 6}
        assert Counter(bank.pitch[chosen].tolist()) == {-10: 15, 20: 5}
    for num in range(1, 9):
        yaws = Counter(bank.yaw[bank.choose(0, 0, num)].tolist())
        assert [yaws[yaw] for yaw in (-60, 0, 60)] == apportion(num, (0.2, 0.5, 0.3))


def test_choices_follow_seed_and_identity_alone_and_are_mixed():
    bank = make_bank(POSES)
    assert np.array_equal(bank.choose(3, 7, 20), bank.choose(3, 7, 20))
    assert not np.array_equal(bank.choose(3, 7, 20), bank.choose(4, 7, 20))
    assert not np.array_equal(bank.choose(3, 7, 20), bank.choose(3, 8, 20))
    pairs = Counter(int(number) for identity in range(200) for number in bank.choose(0, identity, 20))
    expected = {i * 2 + j: 4000 * a * b for i, a in enumerate((0.2, 0.5, 0.3)) for j, b in enumerate((0.75, 0.25))}
    assert all(abs(pairs[number] - count) < 0.2 * count for number, count in expected.items())


def test_of_equal_shares_none_is_favoured_over_many_identities():
    """One image among four yaws: the yaw goes round with the identities."""
    bank = make_bank(LandmarkPoses(share=1.0, yaw_degrees=(60, 85, -60, -85)))
    once = Counter(int(bank.choose(0, identity, 1)[0]) for identity in range(40))
    assert once == {0: 10, 1: 10, 2: 10, 3: 10}


def test_the_users_own_landmarks_replace_the_angles(tmp_path):
    points = np.stack([turned_landmarks(yaw) for yaw in (0, 20, 40)])
    np.save(tmp_path / "own.npy", points)
    bank = make_bank(POSES, tmp_path / "own.npy")
    assert np.array_equal(bank.pictures, np.stack([draw_landmarks(five) for five in points]))
    assert np.isnan(bank.yaw).all()
    assert Counter(bank.choose(0, 0, 9).tolist()) == {0: 3, 1: 3, 2: 3}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"yaw_shares": (0.5, 0.5)}, "got 3 yaw_degrees and yaw_shares"),
        ({"pitch_shares": (0.5, 0.6)}, "pitch_shares .* give one share per angle, adding up to 1"),
        ({"yaw_degrees": ()}, "yaw_degrees"),
        ({"yaw_degrees": (91,)}, "less than or equal to 90"),
        ({"pitch_degrees": (61,)}, "less than or equal to 60"),
        ({"share": 1.5}, "less than or equal to 1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(fields, message):
    with pytest.raises(ValidationError, match=message):
        LandmarkPoses(**POSES.model_dump() | fields)


def test_every_allowed_pose_lies_in_the_image():
    for yaw in (-90, -45, 0, 45, 90):
        for pitch in (-60, 0, 60):
            try:
                draw_landmarks(turned_landmarks(yaw, pitch))
            except InputError as error:
                pytest.fail(f"{yaw}, {pitch}: {error}")
