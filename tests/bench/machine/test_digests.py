"""Digests of files and folders: they count contents, and are remembered until anything about a file changes."""

import os
import time

import pytest

from bench.errors import InputError
from bench.files import sha256
from bench.machine import digests
from bench.machine.digests import check_digest, has_ignored_images, last_change, remembered_sha256


@pytest.fixture
def hashed(tmp_path, monkeypatch):
    """The files that were hashed, in order. Digests are remembered in a file of the test, without the two seconds."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "_SETTLED_NANOSECONDS", 0)
    names = []
    monkeypatch.setattr(digests, "sha256", lambda path: names.append(path.name) or sha256(path))
    return names


@pytest.fixture
def faces(tmp_path):
    folder = tmp_path / "faces"
    for name in ("ann/1.jpg", "ann/2.jpg", "bo/deep/1.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    time.sleep(0.02)  # longer than a tick of the file system's clock
    return folder


def test_a_file_is_hashed_once(hashed, faces):
    path = faces / "ann" / "1.jpg"
    assert remembered_sha256(path) == remembered_sha256(path) == sha256(path)
    assert hashed == ["1.jpg"]


def test_a_folder_is_hashed_once_and_its_place_does_not_count(hashed, faces, tmp_path):
    digest = remembered_sha256(faces)
    assert remembered_sha256(faces) == digest
    assert len(hashed) == 3
    faces.rename(tmp_path / "moved")
    assert remembered_sha256(tmp_path / "moved") == digest


@pytest.mark.parametrize("name", ["ann/1.jpg", "bo/deep/1.jpg"])
def test_a_byte_that_is_changed_in_place_is_noticed_even_if_times_are_set_back(hashed, faces, name):
    before, path = remembered_sha256(faces), faces / name
    status = path.stat()
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_mtime_ns == status.st_mtime_ns
    assert remembered_sha256(faces) != before


@pytest.mark.parametrize("change", ["rename", "add", "remove"])
def test_names_count(hashed, faces, change):
    before = remembered_sha256(faces)
    if change == "rename":
        (faces / "ann" / "1.jpg").rename(faces / "ann" / "3.jpg")
    elif change == "add":
        (faces / "bo" / "new.jpg").write_bytes(b"")
    else:
        (faces / "ann" / "2.jpg").unlink()
    assert remembered_sha256(faces) != before


@pytest.mark.parametrize(
    "name", [".DS_Store", ".git/x.jpg", "__MACOSX/x.jpg", "ann/@eaDir/x.jpg", "ann/._1.jpg", "lock.mdb"]
)
def test_files_of_systems_and_tools_do_not_count(hashed, faces, name):
    before = remembered_sha256(faces)
    assert not has_ignored_images(faces)
    (faces / name).parent.mkdir(exist_ok=True)
    (faces / name).write_bytes(b"x")
    assert remembered_sha256(faces) == before
    assert has_ignored_images(faces) == name.endswith(".jpg")


def test_a_suffix_can_be_left_out(hashed, faces):
    before = remembered_sha256(faces, without=".txt")
    (faces / "pairs.txt").write_text("1")
    assert remembered_sha256(faces, without=".txt") == before != remembered_sha256(faces)


def test_a_recent_file_is_hashed_again(hashed, faces, monkeypatch):
    monkeypatch.setattr(digests, "_SETTLED_NANOSECONDS", 60 * 10**9)
    for _ in range(2):
        remembered_sha256(faces / "ann" / "1.jpg")
    assert len(hashed) == 2


@pytest.mark.parametrize("cache", ["a file", "damaged", "read only"])
def test_a_cache_that_cannot_be_used_costs_time_alone(hashed, faces, tmp_path, cache):
    folder = tmp_path / "cache" / "hsface-bench"
    folder.parent.mkdir()
    if cache == "a file":
        folder.write_bytes(b"x")
    else:
        folder.mkdir()
        (folder / "digests.sqlite").write_bytes(b"no database" * 100 if cache == "damaged" else b"")
        (folder / "digests.sqlite").chmod(0o444)
    assert remembered_sha256(faces / "ann" / "1.jpg") == sha256(faces / "ann" / "1.jpg")


def test_links_are_followed_but_not_in_circles_and_pipes_are_left_out(hashed, faces, tmp_path):
    before = remembered_sha256(faces)
    (faces / "ann" / "loop").symlink_to(faces)
    os.mkfifo(faces / "ann" / "pipe.jpg")
    (faces / "ann" / "gone.jpg").symlink_to(tmp_path / "gone")
    assert remembered_sha256(faces) == before
    (faces / "cy").symlink_to(faces / "bo")
    assert remembered_sha256(faces) != before
    with pytest.raises(InputError, match="is a pipe or a device; give a file or a folder"):
        remembered_sha256(faces / "ann" / "pipe.jpg")


def test_names_that_are_no_text_can_be_hashed(hashed, tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    try:
        with open(os.fsencode(folder) + b"/\xff.jpg", "wb"):  # noqa: PTH123 (a name in bytes)
            pass
    except OSError:
        pytest.skip("the file system takes text alone")
    time.sleep(0.02)
    assert remembered_sha256(folder) == remembered_sha256(folder)
    assert len(hashed) == 1


def test_a_changed_file_is_refused(faces):
    path = faces / "ann" / "1.jpg"
    check_digest(path, sha256(path), "make it again")
    with pytest.raises(InputError, match=r"1\.jpg was changed: its SHA-256 is .*its card says aaa.*; make it again"):
        check_digest(path, "a" * 64, "make it again")
    with pytest.raises(InputError, match=r"2 is missing; make it again"):
        check_digest(faces / "2", "a" * 64, "make it again")


def test_the_last_change_is_that_of_the_newest_file(faces):
    os.utime(faces / "bo" / "deep" / "1.jpg", (0, 2e9))
    assert last_change(faces) == last_change(faces / "bo" / "deep" / "1.jpg") == 2e9
