"""Folders of faces: which files are read, which are counted and told, and which are never looked at."""

import os

import numpy as np
import pytest

from bench.errors import InputError
from bench.faces.face import encode_jpeg
from bench.faces.folders import FolderFaces, FolderWriter
from bench.faces.open import open_faces

JPEG = encode_jpeg(np.zeros((8, 8, 3), np.uint8))


@pytest.fixture
def folder(tmp_path):
    """Three identities with two faces each."""
    for name in ("ann", "bob", "cyd"):
        for number in range(2):
            write(tmp_path / "faces" / name / f"{number}.jpg")
    return tmp_path / "faces"


def write(path, data=JPEG):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def paths(folder):
    faces = open_faces(folder)
    return [faces.name(index).removeprefix(f"{folder}/") for index in range(len(faces))]


@pytest.mark.parametrize(
    "hidden",
    [
        *("ann/.ipynb_checkpoints/0-checkpoint.jpg", ".ipynb_checkpoints/0.jpg", ".Trash-0/files/x.jpg"),
        *("ann/._0.jpg", "ann/deep/._0.jpg", "__MACOSX/ann/._0.jpg", "__MACOSX/ann/0.jpg", "ann/@eaDir/0.jpg/t.jpg"),
        *("@eaDir/0.jpg", ".hidden.jpg", "ann/deep/.cache/0.jpg"),
    ],
)
def test_hidden_files_and_folders_are_never_read(folder, hidden, capsys):
    before = paths(folder)
    write(folder / hidden)
    assert paths(folder) == before
    assert len(before) == 6
    assert "not read" not in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["JPG", "Jpeg", "jpe", "jfif", "PNG", "bmp", "webp", "tif", "TIFF", "gif", "ppm"])
def test_every_suffix_of_images_is_read(folder, suffix, capsys):
    write(folder / "ann" / f"9.{suffix}")
    assert paths(folder)[2] == f"ann/9.{suffix}"
    assert "not read" not in capsys.readouterr().err


def test_what_is_not_read_is_counted_and_told(folder, capsys):
    for name in ("ann/a.heic", "bob/b.HEIC", "bob/notes.txt", "cyd/README", "dan/0.heic", "loose.jpg"):
        write(folder / name)
    os.mkfifo(folder / "ann" / "pipe.jpg")
    assert len(paths(folder)) == 6
    told = capsys.readouterr().err
    assert (
        f"{folder}: 7 files were not read: .heic (3), .txt (1), images outside the identities' folders (1), "
        "no regular files (1), without a suffix (1)\n"
    ) in told
    assert f"{folder}: 1 of 4 identities have no image and are left out\n" in told


def test_only_the_first_of_several_processes_tells(folder, capsys, monkeypatch):
    write(folder / "ann" / "a.heic")
    monkeypatch.setenv("RANK", "1")
    assert len(paths(folder)) == 6
    assert capsys.readouterr().err == ""


def test_links_to_files_and_folders_are_followed(folder, tmp_path):
    more = write(tmp_path / "elsewhere" / "1.jpg").parent
    (folder / "ann" / "more").symlink_to(more)
    (folder / "bob" / "9.jpg").symlink_to(more / "1.jpg")
    (folder / "dan").symlink_to(more)
    plain = {f"{name}/{number}.jpg" for name in ("ann", "bob", "cyd") for number in range(2)}
    assert set(paths(folder)) - plain == {"ann/more/1.jpg", "bob/9.jpg", "dan/1.jpg"}
    assert len(paths(folder)) == 9


@pytest.mark.parametrize("target", ["ann", ".", ".."])
def test_a_link_to_a_folder_above_it_ends(folder, target, capsys):
    (folder / "ann" / "again").symlink_to(folder / target)
    assert len(paths(folder)) == 6
    assert "links to a folder above them (1)" in capsys.readouterr().err


@pytest.mark.parametrize("target", ["gone.jpg", "z.jpg"])
def test_a_broken_link_is_named_when_it_is_read(folder, target):
    (folder / "ann" / "z.jpg").symlink_to(target)
    faces = open_faces(folder)
    assert len(faces) == 7
    with pytest.raises(InputError, match=r"ann/z\.jpg cannot be read \(.*\); replace it or mask it out"):
        faces.image(2)


def test_a_folder_called_like_an_image_is_a_folder(folder):
    write(folder / "ann" / "d.jpg" / "1.png")
    (folder / "bob" / "e.jpg").mkdir()
    assert paths(folder)[:4] == ["ann/0.jpg", "ann/1.jpg", "ann/d.jpg/1.png", "bob/0.jpg"]
    assert len(paths(folder)) == 7


def test_identities_without_images_are_not_counted(folder):
    (folder / "dan").mkdir()
    faces = FolderFaces(folder)
    assert faces.identity_names == ["ann", "bob", "cyd"]
    assert faces.num_identities == 3


@pytest.mark.parametrize(
    ("names", "folders"),
    [
        (["2", "10"], ["02", "10"]),
        (["01", "1"], ["01", "1"]),
        (["01", "1", "10"], ["01", "1", "10"]),
        (["ann", "7"], ["007", "ann"]),
        (["one/ann", "two/ann"], ["one_ann", "two_ann"]),
        (["in/one/ann", "two/bob"], ["in_one_ann", "two_bob"]),
        (["a/b_c", "d", "a_b/c"], ["0_a_b_c", "1_d", "2_a_b_c"]),
        ([".x/ann", "y/ann"], ["_x_ann", "y_ann"]),
    ],
)
def test_identities_never_share_a_folder(tmp_path, names, folders):
    with FolderWriter(tmp_path / "out", names) as writer:
        for identity in (*range(len(names)), 0):
            writer.write(JPEG, identity)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == folders
    assert len(list((tmp_path / "out").rglob("*.jpg"))) == len(names) + 1
    assert open_faces(tmp_path / "out").num_identities == len(names)


def test_equal_names_of_identities_are_refused(tmp_path):
    message = "identity 'ann' has the folder of an earlier one; rename it, or write another layout"
    with pytest.raises(InputError, match=message), FolderWriter(tmp_path / "out", ["ann", "ann"]) as writer:
        for identity in range(2):
            writer.write(JPEG, identity)
    assert not (tmp_path / "out").exists()
