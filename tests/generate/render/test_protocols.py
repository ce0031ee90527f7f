"""Rendered protocols: balanced folds of held-out people, whose two faces differ in the factor of the protocol."""

import numpy as np
import pytest

from bench.errors import InputError
from generate.render.face import PROTOCOL_IDENTITIES
from generate.render.people import coarse_look, draw_identity
from generate.render.protocols import pairs as render_protocols
from generate.render.protocols.pairs import draw_pairs
from generate.render.protocols.write import write_protocol

NAMES = ("render_lfw", "render_cfp_fp", "render_agedb_30", "render_calfw", "render_cplfw")


@pytest.fixture(scope="module")
def pairs():
    return {name: draw_pairs(name) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_folds_are_balanced_and_share_nobody(pairs, name):
    genuine = np.array([pair.is_genuine for pair in pairs[name]])
    assert genuine.tolist() == ([True] * 30 + [False] * 30) * 10
    folds = [
        {face[0] for pair in pairs[name][f : f + 60] for face in (pair.first, pair.second)} for f in range(0, 600, 60)
    ]
    assert sum(map(len, folds)) == len(set.union(*folds))
    for pair in pairs[name]:
        assert (pair.first[0] == pair.second[0]) == pair.is_genuine
        assert pair.first[:2] != pair.second[:2]


def test_people_are_held_out_and_belong_to_one_protocol(pairs):
    people = [{face[0] for pair in pairs[name] for face in (pair.first, pair.second)} for name in NAMES]
    assert min(map(min, people)) >= PROTOCOL_IDENTITIES
    assert sum(map(len, people)) == len(set.union(*people))


def both(pairs, field):
    return np.array([[getattr(pair.first[2], field), getattr(pair.second[2], field)] for pair in pairs])


def test_cfp_pairs_are_frontal_against_profile(pairs):
    yaw = np.sort(np.abs(both(pairs["render_cfp_fp"], "yaw_degrees")), axis=1)
    assert yaw[:, 0].max() <= 10 and yaw[:, 1].min() >= 60 and yaw[:, 1].max() <= 90


def test_agedb_pairs_are_thirty_years_apart(pairs):
    np.testing.assert_allclose(np.ptp(both(pairs["render_agedb_30"], "age_years"), axis=1), 30)


def test_calfw_differs_in_age_and_cplfw_in_yaw(pairs):
    assert np.ptp(both(pairs["render_calfw"], "age_years"), axis=1).min() >= 20
    assert np.ptp(both(pairs["render_cplfw"], "yaw_degrees"), axis=1).min() >= 29.9


@pytest.mark.parametrize("name", ["render_calfw", "render_cplfw"])
def test_impostors_look_alike(pairs, name):
    for pair in pairs[name]:
        assert coarse_look(draw_identity(pair.first[0])) == coarse_look(draw_identity(pair.second[0]))


@pytest.mark.parametrize("name", NAMES)
def test_circumstances_do_not_reveal_the_labels(pairs, name):
    """The differences in yaw and age have the same mean for genuine and impostor pairs."""
    for field in ("yaw_degrees", "age_years"):
        gap = np.ptp(both(pairs[name], field), axis=1)
        genuine = np.array([pair.is_genuine for pair in pairs[name]])
        spread = gap.std() * np.sqrt(4 / len(gap)) + 1e-6
        assert abs(gap[genuine].mean() - gap[~genuine].mean()) < 4 * spread


def test_written_protocol_has_the_layout_of_the_field(tmp_path, monkeypatch):
    few = draw_pairs("render_lfw")[28:32]
    monkeypatch.setattr(render_protocols, "draw_pairs", lambda name: few)
    folder = write_protocol("render_lfw", tmp_path)
    images = np.load(folder / "render_lfw.npy", mmap_mode="r")
    assert folder == tmp_path / "render_lfw" and images.shape == (8, 3, 112, 112) and images.dtype == np.uint8
    assert (folder / "issame.txt").read_text() == "1\n1\n0\n0\n"
    assert images.reshape(8, -1).std(axis=1).min() > 5


def test_unknown_protocol():
    with pytest.raises(InputError, match="render_lwf is not a rendered one; did you mean render_lfw"):
        draw_pairs("render_lwf")
