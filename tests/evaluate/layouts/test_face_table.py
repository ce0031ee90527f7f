"""Faces with a table of groups: what is read, and what is refused."""

import numpy as np
import pytest
from verification_images import faces, write_folder, write_lfw

from bench.errors import InputError
from evaluate.layouts.face_table import is_group_set, load_group_set
from evaluate.layouts.group_folders import load_bfw, load_rfw
from evaluate.measure.groups.sources import open_group_set

NAMES = ["ann/1.png", "ann/2.png", "bob/1.png", "cy/1.png"]
TABLE = "image,identity,skin,age\nann/1.png,ann,dark,old\nann/2.png,ann,dark,old\nbob/1.png,bob,light,old\n"
TABLE += "cy/1.png,cy,,young\n"
TWO_GROUPS = TABLE.replace("ann,dark,old\nbob", "ann,light,old\nbob")


@pytest.fixture
def folder(tmp_path):
    folder = write_folder(tmp_path / "people", NAMES)
    (folder / "groups.csv").write_text(TABLE)
    return folder


def test_a_folder_of_images(folder):
    assert is_group_set(folder)
    table = load_group_set(folder)
    assert (table.name, table.identity_names, table.identity_ids.tolist()) == (
        "people",
        ["ann", "bob", "cy"],
        [0, 0, 1, 2],
    )
    assert table.attributes == {"skin": ("dark", "light", ""), "age": ("old", "old", "young")}
    assert np.array_equal(table.faces[2], faces(4)[2])
    assert table.dropped == {}


def test_an_array_in_the_order_of_the_table(folder, tmp_path):
    packed = tmp_path / "packed"
    packed.mkdir()
    np.save(packed / "packed.npy", np.stack(faces(4)).transpose(0, 3, 1, 2))
    (packed / "groups.csv").write_text("identity,skin\nann,dark\nann,dark\nbob,light\ncy,light\n")
    table = load_group_set(packed, "mine")
    assert table.name == "mine" and np.array_equal(table.faces[3], faces(4)[3])
    np.save(packed / "packed.npy", np.zeros((3, 3, 112, 112), np.uint8))
    with pytest.raises(InputError, match=r"shape \(3, 3, 112, 112\), but groups.csv has 4 lines"):
        load_group_set(packed)


def test_the_digest_follows_table_and_images(folder):
    before = load_group_set(folder).sha256
    assert before == load_group_set(folder).sha256
    (folder / "groups.csv").write_text(TABLE.replace("light", "dark"))
    assert load_group_set(folder).sha256 != before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"has the columns none; add identity"),
        ("image,person\n", r"has the columns image, person; add identity"),
        ("image,identity,skin\n", "has no lines below its header"),
        (TABLE + "gone.png,dan,dark,old\n", r"names 1 missing images \(of 5\): gone.png"),
        (TABLE.replace("cy/1.png,cy,,young\n", ""), "lacks 1 images of its folder: cy/1.png; add a line for each"),
        (TABLE + "cy/1.png,cy,,young\n", "names 1 images twice: cy/1.png"),
        (TWO_GROUPS, r"1 identities stand in two groups: ann \(dark and light\)"),
        (TABLE + "ann/1.png,ann\n", "line 6 does not have 4 fields"),
        (TABLE.replace("1.png,bob", "1.png,"), "line 4 has an empty identity"),
        (TABLE.replace("image,", "file,"), "has no column image"),
    ],
)  # fmt: skip
def test_a_wrong_table_is_refused(folder, text, message):
    (folder / "groups.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        load_group_set(folder)


def test_people_in_two_groups_are_dropped_as_told(folder, capsys):
    (folder / "groups.csv").write_text(TWO_GROUPS)
    table = load_group_set(folder, drop_shared=True)
    assert table.identity_names == ["bob", "cy"] and len(table.faces) == 2
    assert table.dropped == {"in two groups": 1}
    assert np.array_equal(table.faces[0], faces(4)[2])
    assert "left out 1 identities that stand in two groups: ann (dark and light)" in capsys.readouterr().err


@pytest.fixture
def rfw(tmp_path):
    people = (("African", "m.1"), ("Asian", "m.2"))
    names = [f"data/{race}/{person}/{person}_000{i}.png" for race, person in people for i in (1, 2)]
    (tmp_path / "rfw" / "txts").mkdir(parents=True)
    return write_folder(tmp_path / "rfw", names)


def test_rfw(rfw):
    table = load_rfw(rfw)
    assert table.identity_names == ["m.1", "m.2"]
    assert table.attributes == {"race": ("African", "Asian")}
    assert np.array_equal(table.faces[3], faces(4)[3])
    assert open_group_set(rfw).sha256 == table.sha256


def test_a_person_in_two_races_is_named_and_dropped_as_told(rfw):
    write_folder(rfw, ["data/Asian/m.1/m.1_0003.png"])
    with pytest.raises(InputError, match=r"1 identities stand in two groups: m.1 \(African and Asian\).*--drop-shared"):
        load_rfw(rfw)
    assert load_rfw(rfw, drop_shared=True).identity_names == ["m.2"]


def test_rfw_images_of_another_size_need_landmarks(rfw):
    from PIL import Image

    file = rfw / "data" / "Asian" / "m.2" / "m.2_0002.png"
    Image.fromarray(np.zeros((400, 400, 3), np.uint8)).save(file)
    with pytest.raises(InputError, match="is not 112 x 112 and has no landmarks in txts"):
        load_rfw(rfw).faces[3]
    points = "160 150 240 150 200 200 165 250 235 250".replace(" ", "\t")
    (rfw / "txts" / "Asian").mkdir()
    (rfw / "txts" / "Asian" / "Asian_lmk.txt").write_text(f"/x/Asian/m.2/m.2_0002.jpg\t0\t{points}\n")
    assert load_rfw(rfw).faces[3].shape == (112, 112, 3)


@pytest.fixture
def bfw(tmp_path):
    names = [f"{group}/n1/{i}.jpg" for group in ("asian_females", "white_males") for i in (1, 2)]
    folder = write_folder(tmp_path / "bfw", names)
    lines = [
        "fold,p1,p2,label,att1,att2",
        "1,asian_females/n1/1.jpg,asian_females/n1/2.jpg,1,asian_females,asian_females",
        "1,white_males/n1/1.jpg,white_males/n1/2.jpg,1,white_males,white_males",
    ]
    (folder / "bfw-v0.1.5-datatable.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_bfw(bfw):
    table = open_group_set(bfw)
    assert table.identity_names == ["AF/n1", "WM/n1"]
    assert table.attributes == {"subgroup": ("AF", "WM"), "ethnicity": ("A", "W"), "gender": ("F", "M")}
    path = bfw / "bfw-v0.1.5-datatable.csv"
    path.write_text(path.read_text().replace("white_males,white_males", "white_males,asian_males"))
    with pytest.raises(InputError, match=r"gives white_males/n1/2.jpg the subgroups|names the subgroup"):
        path.write_text(path.read_text() + "1,white_males/n1/2.jpg,white_males/n1/1.jpg,1,martians_males,white_males\n")
        load_bfw(bfw)


def test_a_verification_set_with_a_table(tmp_path):
    lfw, table = write_lfw(tmp_path / "lfw"), tmp_path / "groups.csv"
    table.write_text("identity,sex\nAnn,f\nBob,m\n")
    found = open_group_set(lfw, table)
    assert found.identity_names == ["Ann", "Bob"] and found.attributes == {"sex": ("f", "m")}
    assert len(found.faces) == 4
    table.write_text("image,identity,sex\na.png,Ann,f\nb.png,Ann,f\nc.png,Bob,m\nd.png,Bob,m\n")
    by_image = open_group_set(lfw, table)
    assert by_image.attributes == found.attributes
    np.testing.assert_array_equal(by_image.faces.positions, found.faces.positions)
    table.write_text("identity,sex\nAnn,f\nBob,m\nCy,m\n")
    with pytest.raises(InputError, match=r"names 1 people that .*lfw lacks: Cy; remove them"):
        open_group_set(lfw, table)
    table.write_text("identity,sex\nAnn,f\n")
    with pytest.raises(InputError, match=r"lacks 1 people of .*lfw: Bob; add a line for each"):
        open_group_set(lfw, table)
    table.write_text("identity,sex\nAnn,f\nBob,m\nBob,f\n")
    with pytest.raises(InputError, match=r"1 identities stand in two groups: Bob \(m and f\)"):
        open_group_set(lfw, table)
    dropped = open_group_set(lfw, table, drop_shared=True)
    assert dropped.identity_names == ["Ann"] and len(dropped.faces) == 2


def test_a_set_without_groups_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"states no groups; give a folder with groups\.csv"):
        open_group_set(write_lfw(tmp_path / "lfw"))
    with pytest.raises(
        InputError, match=r"render_groups does not exist; render it with .* protocols render_groups, and"
    ):
        open_group_set(tmp_path / "render_groups")
    with pytest.raises(InputError, match="gone does not exist"):
        open_group_set(tmp_path / "gone")
