"""WebDataset shards: foreign ones, our own, and broken ones."""

import io
import json
import pickle
import tarfile

import numpy as np
import pytest

from bench.errors import InputError
from bench.faces.face import encode_jpeg
from bench.faces.open import open_faces
from bench.faces.webdataset import ShardWriter

JPEGS = [encode_jpeg(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)) for seed in range(6)]
CLASSES = [4, 4, 9, 7, 7, 7]


def write_tar(path, members, **options):
    with tarfile.open(path, "w", **options) as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), 1700000000.25  # a fraction of a second needs an extended header
            tar.addfile(member, io.BytesIO(data))
    return path


def members(start=0, stop=6):
    for i in range(start, stop):
        yield f"part.1/face_{i:04d}.jpg", JPEGS[i]
        yield f"part.1/face_{i:04d}.cls", str(CLASSES[i]).encode()


def assert_is_the_toy(faces):
    assert faces.identity_names == ["4", "7", "9"]
    assert faces.identity_ids.tolist() == [0, 0, 2, 1, 1, 1]
    assert [faces.encoded(i) for i in range(6)] == JPEGS


def test_shards_in_the_order_of_their_names(tmp_path):
    write_tar(tmp_path / "b.tar", members(2, 6))
    write_tar(tmp_path / "a.tar", members(0, 2))
    faces = open_faces(tmp_path)
    assert_is_the_toy(faces)
    assert_is_the_toy(pickle.loads(pickle.dumps(faces)))
    assert faces.name(3).endswith("b.tar member part.1/face_0003.jpg")


def test_one_shard_with_labels_first_and_other_members(tmp_path):
    others = [("part.1/face_0000.json", b"{}"), ("README.md", b"hello")]
    path = write_tar(tmp_path / "faces.tar", [*others, *reversed(list(members()))])
    faces = open_faces(path)
    assert [faces.encoded(i) for i in range(6)] == JPEGS[::-1]


def test_round_trip_and_equal_bytes(tmp_path):
    for name in ("one", "two"):
        with ShardWriter(tmp_path / name, faces_per_shard=4) as writer:
            for jpeg, label in zip(JPEGS, CLASSES, strict=True):
                writer.write(jpeg, label)
    assert_is_the_toy(open_faces(tmp_path / "one"))
    index = json.loads((tmp_path / "one" / "index.json").read_text())
    assert [(shard["url"], shard["nsamples"]) for shard in index["shardlist"]] == [
        ("faces-000000.tar", 4),
        ("faces-000001.tar", 2),
    ]
    for shard in ("faces-000000.tar", "faces-000001.tar"):
        assert (tmp_path / "one" / shard).read_bytes() == (tmp_path / "two" / shard).read_bytes()


def test_nothing_is_left_after_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="stop"), ShardWriter(tmp_path / "out") as writer:
        writer.write(JPEGS[0], 0)
        raise RuntimeError("stop")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: [x for x in m if x[0] != "part.1/face_0003.cls"], r"member part\.1/face_0003\.jpg has no label"),
        (lambda m: [x for x in m if x[0] != "part.1/face_0003.jpg"], r"member part\.1/face_0003\.cls has no image"),
        (lambda m: [*m, ("part.1/face_0003.png", b"")], r"face_0003\.png has the key of an earlier one"),
        (lambda m: [*m[:1], (m[1][0], b"ann"), *m[2:]], r"face_0000\.cls holds b'ann', not a class number"),
        (lambda m: [*m[:1], (m[1][0], "\N{SUPERSCRIPT TWO}".encode()), *m[2:]], r"holds b'\\xc2\\xb2', not a class"),
        (lambda m: [*m[:1], (m[1][0], b"1_0"), *m[2:]], r"holds b'1_0', not a class number"),
        (lambda m: [*m[:1], (m[1][0], b"9" * 30), *m[2:]], r"holds b'9+', not a class number"),
        (lambda m: [*m[:1], (m[1][0], b"9" * 9000), *m[2:]], r"holds b'9{20}', not a class number"),
        (lambda m: [("readme.txt", b"")], r"holds no face; a shard has members KEY\.jpg and KEY\.cls"),
    ],
)
def test_members_without_their_partner_are_named(tmp_path, change, message):
    path = write_tar(tmp_path / "faces.tar", change(list(members())))
    with pytest.raises(InputError, match=r"faces\.tar.*" + message):
        open_faces(path)


@pytest.mark.parametrize("prefix", ["part.1/._", "./._", ".cache/", "__MACOSX/part.1/", "a/@eaDir/"])
def test_hidden_members_are_not_read(tmp_path, prefix):
    hidden = [(f"{prefix}face_0000.{kind}", b"\0\5\x16\7") for kind in ("jpg", "cls")]
    assert_is_the_toy(open_faces(write_tar(tmp_path / "faces.tar", [*hidden, *members()])))


def test_hidden_shards_and_folders_called_tar_are_not_read(tmp_path):
    write_tar(tmp_path / "a.TAR", [(f"./{name}", data) for name, data in members()])
    (tmp_path / "._a.TAR").write_bytes(b"\0\5\x16\7")
    (tmp_path / "b.tar").mkdir()
    assert_is_the_toy(open_faces(tmp_path))


def test_names_of_five_thousand_characters_are_read(tmp_path):
    long = [(f"{'x' * 5000}/{name}", data) for name, data in members()]
    assert_is_the_toy(open_faces(write_tar(tmp_path / "faces.tar", long)))


def test_a_shard_cut_short_is_refused(tmp_path):
    path = write_tar(tmp_path / "faces.tar", members())
    whole = path.read_bytes()
    with tarfile.open(path) as tar:
        border = tar.getmembers()[4].offset  # exactly between two faces: what is left looks like a smaller shard
    for size in (100, border - 300, border, border + 512):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"faces\.tar (is cut short|is not a whole, uncompressed tar)"):
            open_faces(path)


def test_a_compressed_shard_is_refused(tmp_path):
    write_tar(tmp_path / "x.tar.gz", members())
    with tarfile.open(tmp_path / "x.tar", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("a.jpg"))
    with pytest.raises(InputError, match=r"x\.tar is not a whole, uncompressed tar .* unpack"):
        open_faces(tmp_path / "x.tar")
