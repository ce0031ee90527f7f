"""The three dialects of .rec, our writer against a byte-by-byte reader, and messages for broken files."""

import pickle
import struct

import numpy as np
import pytest

from bench.errors import InputError
from bench.faces import recordio
from bench.faces.face import encode_jpeg
from bench.faces.open import open_faces
from bench.faces.recordio import RecordWriter, framed

MAGIC = bytes.fromhex("0a23d7ce")
JPEGS = [encode_jpeg(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)) for seed in range(6)]
CLASSES = [0, 0, 1, 2, 2, 2]


def image_record(key, labels, image, *, flag=None):
    flag = len(labels) if flag is None else flag
    head = struct.pack("<IfQQ", flag, 0.0 if flag else labels[0], key, 0)
    return head + (struct.pack(f"<{len(labels)}f", *labels) if flag else b"") + image


def write_rec(folder, records):
    """Records, (key, data), in this order, and their index."""
    data, lines = b"", ""
    for key, record in records:
        lines += f"{key}\t{len(data)}\n"
        data += framed(record)
    (folder / "train.rec").write_bytes(data)
    (folder / "train.idx").write_text(lines)
    return folder / "train.rec"


def insightface_records():
    images = [(i + 1, image_record(i + 1, [CLASSES[i], 1], JPEGS[i])) for i in range(6)]
    ranges = [(7, [1, 3]), (8, [3, 4]), (9, [4, 7])]
    identities = [(key, image_record(key, labels, b"")) for key, labels in ranges]
    return [*images, *identities, (0, image_record(0, [7, 10], b""))]


def im2rec_records(first_key=0):
    return [(i + first_key, image_record(i, [CLASSES[i]], JPEGS[i], flag=0)) for i in range(6)]


def walk(data):
    """Every record of a .rec, read from the first byte to the last as the format is defined."""
    records, parts, offset = [], [], 0
    while offset < len(data):
        assert data[offset : offset + 4] == MAGIC
        (word,) = struct.unpack_from("<I", data, offset + 4)
        part_flag, length = word >> 29, word & (2**29 - 1)
        parts.append(data[offset + 8 : offset + 8 + length])
        if part_flag in (0, 3):
            records.append(MAGIC.join(parts))
            parts = []
        offset += 8 + length + -length % 4
    return records


def assert_is_the_toy(faces):
    assert faces.identity_ids.tolist() == CLASSES
    assert [faces.encoded(i) for i in range(6)] == JPEGS
    assert faces.image(3).shape == (8, 8, 3)


def test_insightface_dialect(tmp_path):
    path = write_rec(tmp_path, insightface_records())
    assert_is_the_toy(open_faces(path))
    assert_is_the_toy(open_faces(tmp_path))  # its folder
    assert_is_the_toy(pickle.loads(pickle.dumps(open_faces(path))))


@pytest.mark.parametrize("first_key", [0, 1])
def test_im2rec_dialect_from_key_0_or_1(tmp_path, first_key):
    assert_is_the_toy(open_faces(write_rec(tmp_path, im2rec_records(first_key))))


def test_shuffled_dialect_keeps_the_order_of_keys(tmp_path):
    records = im2rec_records()
    assert_is_the_toy(open_faces(write_rec(tmp_path, [records[i] for i in (3, 0, 5, 1, 4, 2)])))


def test_label_vectors_without_a_header_record(tmp_path):
    records = [(i, image_record(i, [CLASSES[i], 1], JPEGS[i])) for i in range(6)]
    assert_is_the_toy(open_faces(write_rec(tmp_path, records)))


def test_identity_records_and_image_labels_agree_and_either_may_be_used(tmp_path, monkeypatch):
    path = write_rec(tmp_path, insightface_records())
    from_identity_records = open_faces(path).identity_ids.tolist()
    monkeypatch.setattr(recordio, "_EXACT", 3)  # as if the keys were too large for float32
    assert open_faces(path).identity_ids.tolist() == from_identity_records


def test_identity_records_that_contradict_the_images_are_ignored(tmp_path):
    records = insightface_records()
    records[6] = (7, image_record(7, [1, 4], b""))
    records[7] = (8, image_record(8, [4, 4], b""))
    assert_is_the_toy(open_faces(write_rec(tmp_path, records)))


def test_the_magic_inside_the_data_survives_a_round_trip():
    rng = np.random.default_rng(0)
    for trial in range(2000):
        words = [rng.bytes(4) if rng.random() < 0.6 else MAGIC for _ in range(rng.integers(0, 8))]
        data = rng.bytes(trial % 5) + b"".join(words) + rng.bytes(trial % 7)
        assert walk(framed(data)) == [data]


def test_records_in_parts_are_read_by_key(tmp_path):
    images = [jpeg + b"\0" * (-len(jpeg) % 4) + MAGIC * 2 + b"end" for jpeg in JPEGS]
    records = [(i, image_record(i, [CLASSES[i]], images[i], flag=0)) for i in range(6)]
    faces = open_faces(write_rec(tmp_path, records))
    assert [faces.encoded(i) for i in range(6)] == images
    assert faces.identity_ids.tolist() == CLASSES


def test_the_writer_follows_the_definition(tmp_path):
    with RecordWriter(tmp_path / "written") as writer:
        for jpeg, identity in zip(JPEGS, CLASSES, strict=True):
            writer.write(jpeg, identity)
    assert walk((tmp_path / "written" / "train.rec").read_bytes()) == [data for _, data in insightface_records()]
    assert (tmp_path / "written" / "property").read_text() == "3,112,112\n"
    assert_is_the_toy(open_faces(tmp_path / "written"))


def test_the_writer_refuses_identities_out_of_order_and_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="identity by identity"), RecordWriter(tmp_path / "written") as writer:
        for identity in (0, 1, 0):
            writer.write(JPEGS[0], identity)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("records", [insightface_records(), im2rec_records()])
def test_a_rec_cut_short_is_named_with_its_key(tmp_path, records):
    path = write_rec(tmp_path, records)
    whole = path.read_bytes()
    for size in range(len(whole) - 4, 0, -331):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"train\.(rec|idx) key \d.*cut short"):
            open_faces(path)


def test_an_index_that_points_past_the_end_is_named(tmp_path):
    path = write_rec(tmp_path, im2rec_records())
    with (tmp_path / "train.idx").open("a") as file:
        file.write("6\t123456\n")
    with pytest.raises(InputError, match=r"train\.idx key 6 points to byte 123456, but .*train\.rec ends at \d+"):
        open_faces(path)


def test_an_index_of_another_file_is_named(tmp_path):
    path = write_rec(tmp_path, im2rec_records())
    lines = (tmp_path / "train.idx").read_text().splitlines()
    key, offset = map(int, lines[2].split())
    (tmp_path / "train.idx").write_text("\n".join([*lines[:2], f"{key}\t{offset + 4}", *lines[3:]]))
    with pytest.raises(InputError, match=r"train\.rec key 2: no record starts at byte"):
        open_faces(path)


@pytest.mark.parametrize(("content", "message"), [("", "0 numbers"), ("0\t0\n1\n", "3 numbers"), ("a\tb\n", "invalid")])
def test_an_index_without_keys_and_offsets_is_named(tmp_path, content, message):
    path = write_rec(tmp_path, im2rec_records())
    (tmp_path / "train.idx").write_text(content)
    with pytest.raises(InputError, match=rf"train\.idx is not lines of key and offset \(.*{message}"):
        open_faces(path)


def test_a_missing_index_is_named(tmp_path):
    path = write_rec(tmp_path, im2rec_records())
    (tmp_path / "train.idx").unlink()
    with pytest.raises(InputError, match=r"train\.rec has no train\.idx beside it; fetch both"):
        open_faces(path)


@pytest.mark.parametrize("header", [[5, 10], [7, 12], [3, 4]])
def test_a_header_with_other_counts_is_refused(tmp_path, header):
    records = [*insightface_records()[:-1], (0, image_record(0, header, b""))]
    with pytest.raises(InputError, match=r"key 0 says that images end before key .* another dialect, or damaged"):
        open_faces(write_rec(tmp_path, records))


def test_a_header_without_identity_records(tmp_path):
    records = [(0, image_record(0, [7, 10], b"")), *im2rec_records(1)]
    assert_is_the_toy(open_faces(write_rec(tmp_path, records)))
    with pytest.raises(InputError, match=r"images end before key 7 and identities before 10, but .* 6 and 6"):
        open_faces(write_rec(tmp_path, records[:-1]))


def test_identity_records_without_a_header_are_refused(tmp_path):
    records = [record for record in insightface_records() if record[0] != 0]
    with pytest.raises(InputError, match=r"key 7 has no image, like insightface's header and identity records"):
        open_faces(write_rec(tmp_path, records))


@pytest.mark.parametrize("label", [-1.0, 0.5, float("nan")])
def test_a_label_that_is_not_a_class_number_is_named(tmp_path, label):
    records = im2rec_records()
    records[4] = (4, image_record(4, [label], JPEGS[4], flag=0))
    with pytest.raises(InputError, match=rf"key 4 has label {label:g}, not a class number"):
        open_faces(write_rec(tmp_path, records))


def test_a_record_that_is_not_an_image_record_is_named(tmp_path):
    for data, message in (
        (b"short", "is not an image record"),
        (struct.pack("<IfQQ", 99, 0, 0, 0), "announces 99 labels"),
    ):
        records = im2rec_records()
        records[2] = (2, data)
        with pytest.raises(InputError, match=rf"key 2 {message}"):
            open_faces(write_rec(tmp_path, records))


def test_a_damaged_image_is_named_with_file_and_key(tmp_path):
    records = insightface_records()
    records[3] = (4, image_record(4, [2, 1], JPEGS[3][:200]))
    with pytest.raises(InputError, match=r"train\.rec key 4 does not decode"):
        open_faces(write_rec(tmp_path, records)).image(3)


@pytest.mark.parametrize("number", ["9223372036854775808", "-1", "9" * 5000, "\N{SUPERSCRIPT TWO}", "1e3"])
@pytest.mark.parametrize("column", [0, 1])
def test_numbers_of_an_index_that_cannot_be_are_refused(tmp_path, number, column):
    path = write_rec(tmp_path, im2rec_records())
    row = ["3", "200"]
    row[column] = number
    with (tmp_path / "train.idx").open("a") as file:
        file.write("\t".join(row) + "\n")
    with pytest.raises(InputError, match=r"train\.idx is not lines of key and offset"):
        open_faces(path)


def test_the_largest_offset_and_key_do_not_wrap_round(tmp_path):
    path = write_rec(tmp_path, im2rec_records())
    index = tmp_path / "train.idx"
    whole = index.read_text()
    index.write_text(f"{whole}7\t{2**63 - 1}\n")
    with pytest.raises(InputError, match=r"key 7 points to byte 9223372036854775807, but .* ends at"):
        open_faces(path)
    index.write_text(f"{whole}{2**63 - 1}\t0\n")
    assert len(open_faces(path)) == 7


def test_a_number_of_labels_that_wraps_round_is_refused(tmp_path):
    records = im2rec_records()
    records[2] = (2, struct.pack("<IfQQ", 1 << 30, 0, 2, 0) + JPEGS[2])
    with pytest.raises(InputError, match=r"key 2 announces 1073741824 labels"):
        open_faces(write_rec(tmp_path, records))


@pytest.mark.parametrize("labels", [[1], [float("nan"), 3], [1, float("inf")]])
def test_identity_records_without_two_keys_are_ignored(tmp_path, labels):
    records = insightface_records()
    records[6] = (7, image_record(7, labels, b""))
    assert_is_the_toy(open_faces(write_rec(tmp_path, records)))
