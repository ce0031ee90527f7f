"""Rendered people of known groups, and the rendered gallery: balanced, held out, and truly what the table says."""

from collections import Counter

import numpy as np
import pytest

from evaluate.layouts.face_table import load_group_set
from generate.render.face import PROTOCOL_IDENTITIES
from generate.render.people import draw_identity
from generate.render.protocols import people as module
from generate.render.protocols.pairs import draw_pairs
from generate.render.protocols.people import AGES, draw_gallery_faces, draw_group_faces
from generate.render.protocols.write import write_protocol


@pytest.fixture(scope="module")
def group_faces():
    return draw_group_faces()


@pytest.fixture(scope="module")
def gallery_faces():
    return list(draw_gallery_faces())


def test_every_combination_of_groups_has_as_many_people(group_faces):
    people = {row for _, row in group_faces}
    assert len(group_faces) == 4 * len(people) == 1440
    assert set(Counter(row[1:] for row in people).values()) == {20}
    assert len({row[1:] for row in people}) == 18
    assert {row[4] for row in people} == {f"{row[1]} {row[2]}" for row in people}


def test_groups_are_the_renderer_s_own_numbers(group_faces):
    for (seed, _, factors), (name, shape, skin, age, _) in group_faces:
        person = draw_identity(seed)
        assert str(seed) == name
        assert shape == ("masculine" if person.masculinity > 0 else "feminine")
        low, high = {"light": (0, 1 / 3), "medium": (1 / 3, 2 / 3), "dark": (2 / 3, 1)}[skin]
        assert low <= person.skin_tone <= high
        assert AGES[age][0] <= factors.age_years <= AGES[age][1]


def test_circumstances_do_not_depend_on_the_group(group_faces):
    """Yaw has the same spread in every group of every attribute."""
    yaws = np.array([factors.yaw_degrees for (_, _, factors), _ in group_faces])
    for column in (1, 2, 3):
        labels = np.array([row[column] for _, row in group_faces])
        spreads = [yaws[labels == label].std() for label in np.unique(labels)]
        assert max(spreads) / min(spreads) < 1.15


def test_a_gallery_holds_each_person_once_and_strangers_are_searched_for(gallery_faces):
    roles = {role: [job[0] for job, own in gallery_faces if own == role] for _, role in gallery_faces}
    assert {role: len(jobs) for role, jobs in roles.items()} == {"gallery": 200, "distractor": 400, "probe": 800}
    assert len(set(roles["gallery"])) == 200 and not set(roles["gallery"]) & set(roles["distractor"])
    mated = set(roles["probe"]) & set(roles["gallery"])
    assert len(mated) == 200 and len(set(roles["probe"]) - mated) == 200
    assert not set(roles["probe"]) & set(roles["distractor"])
    assert all(abs(job[2].yaw_degrees) <= 15 for job, role in gallery_faces if role != "probe")


def test_no_person_belongs_to_two_sets(group_faces, gallery_faces):
    people = [{job[0] for job, _ in faces} for faces in (group_faces, gallery_faces)]
    people += [{pair.first[0] for pair in draw_pairs("render_cplfw")}]
    assert min(map(min, people)) >= PROTOCOL_IDENTITIES
    assert sum(map(len, people)) == len(set.union(*people))


def test_written_groups_are_read_back(tmp_path, monkeypatch, group_faces):
    few = group_faces[:8]
    monkeypatch.setattr(module, "draw_group_faces", lambda name: few)
    folder = write_protocol("render_groups", tmp_path)
    table = load_group_set(folder)
    assert table.identity_names == sorted({row[0] for _, row in few})
    assert list(table.attributes) == ["shape", "skin", "age", "shape_skin"]
    assert table.faces.shape == (8, 112, 112, 3) and table.faces[:].std() > 5
