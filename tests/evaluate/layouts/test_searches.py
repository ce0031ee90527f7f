"""Sets of searches: this suite's table, TinyFace's lists, and the 1:N lists of IJB."""

import numpy as np
import pytest
from scipy.io import savemat
from verification_images import faces, write_folder

from bench.errors import InputError
from evaluate.layouts.ijb.galleries import gallery_lists, load_ijb_searches
from evaluate.layouts.ijb.templates import TemplateSet
from evaluate.layouts.searches import NOBODY, is_search_set, load_search_set
from evaluate.test_sets.open import has_pairs, open_test_set

TABLE = "image,identity,role\n0.png,ann,gallery\n1.png,bob,gallery\n2.png,eve,distractor\n"
TABLE += "3.png,ann,probe\n4.png,zoe,probe\n"


@pytest.fixture
def folder(tmp_path):
    folder = write_folder(tmp_path / "found", [f"{i}.png" for i in range(5)])
    (folder / "searches.csv").write_text(TABLE)
    return folder


def test_a_table_of_searches(folder):
    assert is_search_set(folder) and not has_pairs(folder)
    found = open_test_set(folder)
    (gallery,) = found.searches.galleries.values()
    assert found.name == "found" and found.searches.probes.rows.tolist() == [3, 4]
    assert gallery.rows.tolist() == [0, 1, 2]
    ann, bob, nobody = gallery.identity_ids.tolist()
    assert nobody == NOBODY and ann != bob
    assert found.searches.probes.identity_ids.tolist()[0] == ann
    assert np.array_equal(found.faces[4], faces(5)[4])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("bob,gallery", "ann,gallery", "enrols 1 people twice: ann; keep one face of each"),
        ("bob,gallery", "bob,guest", "has the roles guest; each must be one of gallery, distractor, probe"),
        ("zoe,probe", "eve,probe", "1 distractors are also enrolled or searched for: eve"),
        ("ann,probe", "yan,probe", "none of 2 probes has a mate in the gallery"),
        ("probe", "gallery", "has no probes"),
        ("identity,role", "identity,part", "has the columns image, identity, part; add role"),
    ],
)
def test_a_wrong_table_is_refused(folder, old, new, message):
    text = TABLE.replace(old, new)
    if old == "probe":
        text = "image,identity,role\n" + "".join(f"{i}.png,person{i},gallery\n" for i in range(5))
    (folder / "searches.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        load_search_set(folder)


@pytest.fixture
def tinyface(tmp_path):
    folder = tmp_path / "tinyface" / "Testing_Set"
    names = [
        "Probe/1_1.jpg",
        "Probe/2_1.jpg",
        "Gallery_Match/1_2.jpg",
        "Gallery_Match/1_3.jpg",
        "Gallery_Match/2_2.jpg",
    ]
    write_folder(folder, [*names, "Gallery_Distractor/d1.jpg", "Gallery_Distractor/d2.jpg"])
    write_list(folder / "probe_img_ID_pairs.mat", "probe_set", ["1_1.jpg", "2_1.jpg"], "probe_ids", [1, 2])
    matches = ["1_2.jpg", "1_3.jpg", "2_2.jpg"]
    write_list(folder / "gallery_match_img_ID_pairs.mat", "gallery_set", matches, "gallery_ids", [1, 1, 2])
    return tmp_path / "tinyface"


def write_list(path, names_key, names, ids_key, ids):
    cells = np.empty((len(names), 1), dtype=object)
    cells[:, 0] = names
    savemat(path, {names_key: cells, ids_key: np.array(ids, dtype=np.uint16)[:, None]})


def test_tinyface(tinyface):
    assert is_search_set(tinyface) and is_search_set(tinyface / "Testing_Set")
    found = load_search_set(tinyface)
    (gallery,) = found.searches.galleries.values()
    assert found.name == "tinyface" and len(found.faces) == 7
    assert found.searches.probes.identity_ids.tolist() == [1, 2]
    assert gallery.identity_ids.tolist() == [1, 1, 2, NOBODY, NOBODY]
    assert found.faces[:].shape == (7, 112, 112, 3)


def test_a_mat_of_another_kind_is_refused(tinyface):
    path = tinyface / "Testing_Set" / "gallery_match_img_ID_pairs.mat"
    savemat(path, {"gallery_set": np.arange(3)})
    with pytest.raises(InputError, match="lacks gallery_ids; give the list of TinyFace's Testing_Set"):
        load_search_set(tinyface)
    write_list(path, "gallery_set", ["1_2.jpg"], "gallery_ids", [1, 2])
    with pytest.raises(InputError, match="holds 1 names and 2 identities"):
        load_search_set(tinyface)
    path.write_bytes(b"MATLAB 7.3 is HDF5" * 20)
    with pytest.raises(InputError, match="is no MATLAB file of version 5"):
        load_search_set(tinyface)


def test_missing_images_of_tinyface_are_named(tinyface):
    (tinyface / "Testing_Set" / "Probe" / "2_1.jpg").unlink()
    with pytest.raises(InputError, match=r"lacks 1 of 7 images: Probe/2_1.jpg; unpack it again"):
        load_search_set(tinyface)
    for file in (tinyface / "Testing_Set" / "Gallery_Distractor").iterdir():
        file.unlink()
    with pytest.raises(InputError, match="Gallery_Distractor holds no images"):
        load_search_set(tinyface)


HEADER = "TEMPLATE_ID,SUBJECT_ID,FILE,SIGHTING_ID\n"


@pytest.fixture
def ijb(tmp_path):
    meta = tmp_path / "IJBC" / "meta"
    meta.mkdir(parents=True)
    (meta / "ijbc_1N_gallery_G1.csv").write_text(f"{HEADER}10,1,img/1.png,1\n10,1,img/2.png,2\n30,2,img/3.png,3\n")
    (meta / "ijbc_1N_gallery_G2.csv").write_text(f"{HEADER}20,3,img/4.png,4\n")
    (meta / "ijbc_1N_probe_mixed.csv").write_text(f"{HEADER}40,1,img/5.png,5\n40,1,img/6.png,6\n50,3,img/7.png,7\n")
    return tmp_path / "IJBC"


def make_templates(*numbers):
    empty = np.empty(0)
    return TemplateSet("ijbc", empty, [], empty, empty, empty, empty, empty, "0" * 64, np.array(numbers))


def test_both_galleries_of_ijb_are_read_by_template(ijb):
    assert list(gallery_lists(ijb)) == ["G1", "G2", "mixed"]
    searches, digests = load_ijb_searches(ijb, make_templates(10, 20, 30, 40, 50))
    assert searches.probes.rows.tolist() == [3, 4] and searches.probes.identity_ids.tolist() == [1, 3]
    assert {name: each.rows.tolist() for name, each in searches.galleries.items()} == {"G1": [0, 2], "G2": [1]}
    assert searches.galleries["G1"].identity_ids.tolist() == [1, 2]
    assert len(digests.splitlines()) == 3


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("gallery_G1", "10,1\n30,1\n", "enrols subject 1 twice; keep one template of each"),
        ("gallery_G1", "10,1\n10,2\n", "gives a template two subjects"),
        ("gallery_G1", "11,1\n", "names 1 templates without faces: 11"),
        ("gallery_G1", "ten,1\n", "line 2 is 'ten,1'; needs 'template,subject,...'"),
        ("probe_mixed", "", "names no template"),
        ("probe_mixed", "40,7\n50,8\n", "none of 2 probes has a mate"),
    ],
)
def test_a_wrong_list_of_ijb_is_refused(ijb, name, text, message):
    (ijb / "meta" / f"ijbc_1N_{name}.csv").write_text(HEADER + text)
    with pytest.raises(InputError, match=message):
        load_ijb_searches(ijb, make_templates(10, 20, 30, 40, 50))


def test_ijb_without_probes_is_refused(ijb):
    (ijb / "meta" / "ijbc_1N_probe_mixed.csv").unlink()
    with pytest.raises(InputError, match=r"holds 0 lists .*_1N_probe_.* and 2 of galleries"):
        load_ijb_searches(ijb, make_templates(10))
