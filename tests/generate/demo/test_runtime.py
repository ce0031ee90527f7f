"""onnxruntime-web comes from an archive of known SHA-256, by npm or by hand."""

import io
import os
import tarfile

import pytest

from bench.errors import InputError
from bench.files import sha256
from generate.demo import runtime
from generate.demo.runtime import ARCHIVE, FILES, copy_runtime


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """A small archive in the layout of npm, which counts as the right one."""
    path = tmp_path / "made.tgz"
    with tarfile.open(path, "w:gz") as content:
        for name in (*FILES, "other.js"):
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(name)
            content.addfile(member, io.BytesIO(name.encode()))
    monkeypatch.setattr(runtime, "_SHA256", sha256(path))
    return path


def fake_npm(folder, script, monkeypatch):
    folder.mkdir()
    (folder / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_an_archive_that_was_put_there_by_hand_is_unpacked_without_npm(archive, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    (tmp_path / "weights").mkdir()
    archive.rename(tmp_path / "weights" / ARCHIVE)
    copy_runtime(tmp_path / "weights", tmp_path)
    assert {name: (tmp_path / name).read_text() for name in FILES} == {name: name for name in FILES}


def test_npm_fetches_a_missing_archive_once(archive, tmp_path, monkeypatch):
    fake_npm(tmp_path / "bin", f'echo called >> {tmp_path}/calls; cp {archive} "$4/{ARCHIVE}"', monkeypatch)
    for _ in range(2):
        copy_runtime(tmp_path / "weights", tmp_path)
    assert (tmp_path / "calls").read_text() == "called\n"
    assert [path.name for path in (tmp_path / "weights").iterdir()] == [ARCHIVE]


def test_without_npm_the_message_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(
        InputError, match=rf"npm is not installed; install Node\.js, or fetch it .* save it as .*{ARCHIVE}"
    ):
        copy_runtime(tmp_path / "weights", tmp_path)


def test_an_npm_that_fails_is_told_with_its_reason(tmp_path, monkeypatch):
    fake_npm(tmp_path / "bin", "echo no network >&2; exit 1", monkeypatch)
    with pytest.raises(InputError, match=r"npm could not fetch onnxruntime-web .* \(no network\); try again, or"):
        copy_runtime(tmp_path / "weights", tmp_path)
    assert list((tmp_path / "weights").iterdir()) == []


def test_another_archive_is_refused(tmp_path):
    (tmp_path / ARCHIVE).write_bytes(b"other")
    with pytest.raises(InputError, match=r"is not the archive of onnxruntime-web .* \(other SHA-256\); delete it"):
        copy_runtime(tmp_path, tmp_path)
