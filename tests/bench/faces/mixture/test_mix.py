"""Mixtures as views: bytes of the parts, labels anew, shared people, caps, twins; and views that are damaged."""

import json
import pickle
import shutil

import numpy as np
import pytest

from bench.errors import InputError
from bench.faces.convert import convert
from bench.faces.face import encode_jpeg
from bench.faces.mixture.budget import Budget
from bench.faces.mixture.content import content_sha256
from bench.faces.mixture.mix import Caps, Part, Rules, mix
from bench.faces.mixture.subset import Subset
from bench.faces.mixture.view import write_view
from bench.faces.open import open_faces

PEOPLE = {"photos": ("ann", "bob", "cyd", "dee"), "drawn": ("bob", "eve", "fay"), "more": ("gil", "hal")}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Three folders of people, each with 3, 4 or 5 images whose content is theirs alone."""
    root = tmp_path_factory.mktemp("parts")
    for shade, (part, people) in enumerate(PEOPLE.items()):
        for number, person in enumerate(people):
            (root / part / person).mkdir(parents=True)
            for image in range(3 + shade):
                pixels = np.full((16, 16, 3), 60 * shade + 12 * number + 3 * image, np.uint8)
                (root / part / person / f"{image}.png").write_bytes(encode_jpeg(pixels))
    convert(open_faces(root / "drawn"), root / "drawn.lmdb", "lmdb")
    convert(open_faces(root / "more"), root / "more_rec", "rec")
    return root


def parts(root, *names, **changes):
    return [Part(name.split(".")[0], open_faces(root / name), **changes) for name in names]


def view(path, given, rules=Rules(shared="separate"), seed=0):  # noqa: B008
    chosen, labels = mix(given, rules, seed=seed)
    card = write_view(path, chosen, labels, seed=seed, real={part.name for part in given if part.is_real})
    return open_faces(path), card


def content(faces):
    return [(faces.encoded(i), int(faces.identity_ids[i])) for i in range(len(faces))]


def test_a_mixture_of_three_layouts_is_their_union_with_new_labels(root, tmp_path):
    faces, card = view(tmp_path, parts(root, "photos", "drawn.lmdb", "more_rec"))
    expected, offset = [], 0
    for name in ("photos", "drawn.lmdb", "more_rec"):
        part = open_faces(root / name)
        expected += [(encoded, label + offset) for encoded, label in content(part)]
        offset += part.num_identities
    assert content(faces) == expected
    assert (len(faces), faces.num_identities) == (card.num_images, card.num_identities) == (34, 9)
    assert faces.identity_names[:2] + faces.identity_names[4:6] == ["photos/ann", "photos/bob", "drawn/0", "drawn/1"]
    assert [(part.name, part.num_images, part.num_identities) for part in card.parts] == [
        ("photos", 12, 4),
        ("drawn", 12, 3),
        ("more_rec", 10, 2),
    ]
    assert card.parts[1].sha256 == content_sha256(root / "drawn.lmdb")
    assert faces.name(0) == str(root / "photos" / "ann" / "0.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mixture.json", "selection.npy"], "no face is copied"


def test_it_reads_like_any_dataset(root, tmp_path):
    faces, _ = view(tmp_path / "view", parts(root, "photos", "drawn.lmdb"))
    again = pickle.loads(pickle.dumps(faces))
    assert content(again) == content(faces)
    np.save(tmp_path / "mask.npy", np.array([20, 3, 3]))
    assert content(open_faces(tmp_path / "view", tmp_path / "mask.npy")) == [
        (faces.encoded(20), 1),
        (faces.encoded(3), 0),
        (faces.encoded(3), 0),
    ]
    left = open_faces(tmp_path / "view", leave_out={"photos/ann", "drawn/1"})
    assert left.identity_names == ["photos/bob", "photos/cyd", "photos/dee", "drawn/0", "drawn/2"]
    convert(faces, tmp_path / "copy.lmdb", "lmdb")
    assert content(open_faces(tmp_path / "copy.lmdb")) == content(faces)
    convert(faces, tmp_path / "folder", "folder")
    names = ["drawn_0", "drawn_1", "drawn_2", *(f"photos_{person}" for person in PEOPLE["photos"])]
    assert open_faces(tmp_path / "folder").identity_names == names


def test_equal_seeds_give_equal_bytes_and_subsets_keep_names(root, tmp_path):
    given = parts(root, "photos", subset=Subset(identities=2, images_per_identity=2))
    for name in ("a", "b"):
        faces, _ = view(tmp_path / name, given, seed=5)
    assert (tmp_path / "a/selection.npy").read_bytes() == (tmp_path / "b/selection.npy").read_bytes()
    assert json.loads((tmp_path / "a/mixture.json").read_text()) == json.loads(
        (tmp_path / "b/mixture.json").read_text()
    )
    assert set(faces.identity_names) < set(PEOPLE["photos"])
    assert len(faces) == 4


def test_masked_parts_keep_their_faces_and_views_can_be_mixed(root, tmp_path):
    np.save(tmp_path / "mask.npy", np.array([11, 0, 4]))
    masked = Part("photos", open_faces(root / "photos", tmp_path / "mask.npy"))
    faces, _ = view(tmp_path / "one", [masked])
    assert [encoded for encoded, _ in content(faces)] == [masked.faces.encoded(i) for i in range(3)]
    both, _ = view(tmp_path / "two", [Part("some", faces), *parts(root, "drawn.lmdb")])
    assert [encoded for encoded, _ in content(both)][:3] == [masked.faces.encoded(i) for i in range(3)]
    assert both.identity_names[0].startswith("some/")


def test_people_of_one_name_are_refused_or_merged_or_separate(root, tmp_path):
    given = parts(root, "photos", "drawn")
    message = r"the parts share 1 people, such as photos/bob = drawn/bob; set shared_identities to merge .* or separate"
    with pytest.raises(InputError, match=message):
        mix(given, Rules(), seed=0)
    merged, card = view(tmp_path / "merged", given, Rules(shared="merge"))
    assert merged.identity_names == ["photos/ann", "photos/bob", "photos/cyd", "photos/dee", "drawn/eve", "drawn/fay"]
    assert np.bincount(merged.identity_ids).tolist() == [3, 7, 3, 3, 4, 4]
    assert card.num_identities == 6
    separate, _ = view(tmp_path / "separate", given)
    assert np.bincount(separate.identity_ids).tolist() == [3, 3, 3, 3, 4, 4, 4]
    assert view(tmp_path / "numbers", parts(root, "photos", "drawn.lmdb"), Rules())[0].num_identities == 7


def test_people_of_a_list_are_refused_or_merged(root, tmp_path):
    listed = tmp_path / "same.tsv"
    listed.write_text("photos/ann\tdrawn/1\tmore_rec/0\n\nphotos/cyd\tphotos/dee\n")
    given = parts(root, "photos", "drawn.lmdb", "more_rec")
    with pytest.raises(InputError, match="share 2 people, such as photos/ann = drawn/1 = more_rec/0, photos/cyd = ph"):
        mix(given, Rules(same_people=listed), seed=0)
    merged, _ = view(tmp_path / "view", given, Rules(shared="merge", same_people=listed))
    assert np.bincount(merged.identity_ids).tolist() == [3 + 4 + 5, 3, 6, 4, 4, 5]
    listed.write_text("photos/ann\tdrawn/one\n")
    with pytest.raises(InputError, match=r"same\.tsv line 1 names 'drawn/one', which is no identity; write PART/NAME"):
        mix(given, Rules(shared="merge", same_people=listed), seed=0)


def test_people_who_are_not_drawn_are_not_shared(root):
    small = [
        Part("photos", open_faces(root / "photos", leave_out={"bob"})),
        *parts(root, "drawn"),
    ]
    assert len(mix(small, Rules(), seed=0)[0]) == 2


def test_budgets_cut_the_parts(root, tmp_path):
    given = [
        Part("photos", open_faces(root / "photos"), is_real=True),
        Part("drawn", open_faces(root / "drawn.lmdb"), share=0.75),
    ]
    faces, card = view(tmp_path / "kept", given, Rules(budget=Budget(keep_real=True)))
    assert [part.num_images for part in card.parts] == [12, 9]
    assert card.parts[0].is_real
    assert faces.num_identities == 7
    halves = [Part(part.name, part.faces, share=0.5) for part in given]
    _, card = view(tmp_path / "total", halves, Rules(budget=Budget(total_images=10, filled_by="images")))
    assert [(part.num_images, part.num_identities) for part in card.parts] == [(5, 4), (5, 3)]
    none = [given[0], Part("drawn", given[1].faces, share=0)]
    _, card = view(tmp_path / "none", none, Rules(budget=Budget(keep_real=True)))
    assert [(part.num_images, part.num_identities) for part in card.parts] == [(12, 4), (0, 0)]


def test_caps_cut_the_whole_and_are_nested(root, tmp_path):
    given, before = parts(root, "photos", "drawn.lmdb", "more_rec"), set()
    for number, images in enumerate((6, 9, 15, 18, 99)):
        caps = Caps(identities=6, images=images, images_per_identity=3)
        faces, card = view(tmp_path / str(number), given, Rules(shared="separate", caps=caps))
        assert card.num_images == min(images, 18)
        assert card.num_identities == 6
        assert np.bincount(faces.identity_ids).max() <= 3
        now = {encoded for encoded, _ in content(faces)}
        assert before <= now
        before = now
    with pytest.raises(InputError, match="a cap of 8 images is less than one image for each of 9 identities"):
        mix(given, Rules(shared="separate", caps=Caps(images=8)), seed=0)


def test_one_dataset_as_two_parts_is_refused(root, tmp_path):
    shutil.copytree(root / "photos", tmp_path / "copy")
    photos = open_faces(root / "photos")
    for other in (open_faces(root / "photos"), open_faces(tmp_path / "copy")):
        with pytest.raises(
            InputError, match=r"parts a .*photos.* and b .* hold the same files: 4 people, such as 'ann'"
        ):
            mix([Part("a", photos), Part("b", other)], Rules(shared="separate"), seed=0)
    inside, _ = view(tmp_path / "view", parts(root, "photos", subset=Subset(identities=2)))
    with pytest.raises(InputError, match="hold the same files: 2 people"):
        mix([Part("a", photos), Part("b", inside)], Rules(shared="merge"), seed=0)
    halves = [
        Part("a", open_faces(root / "photos", leave_out={"ann", "bob"})),
        Part("b", open_faces(root / "photos", leave_out={"cyd", "dee"})),
    ]
    assert len(mix(halves, Rules(), seed=0)[1]) == 2
    with pytest.raises(InputError, match="two parts are called a; give each a name of its own"):
        mix([Part("a", photos), Part("a", photos)], Rules(), seed=0)


def test_a_subset_larger_than_its_part_names_the_part(root):
    with pytest.raises(InputError, match="part photos: identities=5, but the dataset has 4"):
        mix(parts(root, "photos", subset=Subset(identities=5)), Rules(), seed=0)


def test_parts_that_are_gone_or_changed_are_refused(root, tmp_path):
    shutil.copytree(root / "photos", tmp_path / "photos")
    view(tmp_path / "view", [Part("photos", open_faces(tmp_path / "photos"))])
    before = content_sha256(tmp_path / "view")
    (tmp_path / "photos" / "ann" / "0.png").write_bytes(encode_jpeg(np.full((16, 16, 3), 255, np.uint8)))
    assert content_sha256(tmp_path / "view") != before, "the content of a view is that of its parts"
    with pytest.raises(InputError, match=r"part photos was changed: the SHA-256 of .*photos is .*make the view again"):
        open_faces(tmp_path / "view")
    shutil.rmtree(tmp_path / "photos")
    with pytest.raises(InputError, match=r"part photos is not at .*photos; put it back there, or make the view again"):
        open_faces(tmp_path / "view")


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (np.zeros((3, 2), np.int32), r"has shape \(3, 2\) and type int32, not \(N, 3\) and int32"),
        (np.zeros((3, 3), np.float32), r"has shape \(3, 3\) and type float32"),
        (np.array([[0, 12, 0]], np.int32), "names a face that no part holds"),
        (np.array([[1, 0, 0]], np.int32), "names a face that no part holds"),
        (np.array([[0, 0, -1]], np.int32), "names a face that no part holds, or a negative identity"),
    ],
)
def test_a_damaged_selection_is_refused(root, tmp_path, selection, message):
    view(tmp_path, parts(root, "photos"))
    np.save(tmp_path / "selection.npy", selection)
    with pytest.raises(InputError, match=message):
        open_faces(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", r"mixture\.json: its top level: .*make the view again"),
        ('{"schema_version": 2}', "has schema 2, this code reads up to 1; update the code"),
        ('{"seed": 0}', r"mixture\.json: num_images: Field required"),
    ],
)
def test_a_damaged_card_is_refused(root, tmp_path, text, message):
    view(tmp_path, parts(root, "photos"))
    (tmp_path / "mixture.json").write_text(text)
    with pytest.raises(InputError, match=message):
        open_faces(tmp_path)
