"""Reads and writes RecordIO, ``train.rec`` beside ``train.idx``, without mxnet.

In: a ``.rec`` in one of three dialects. Out: faces and identities; or insightface's dialect, written.

| dialect | key 0 | other keys |
|---|---|---|
| insightface ``face2rec2.py`` | header record | images, then one record per identity |
| im2rec | image (or keys start at 1) | images |
| shuffled for DALI | image | images, in random order in the file |

A record is ``magic, flag and length (u32 each), data, zeros up to a multiple of 4``. Where the data contain the magic
at a multiple of 4, the writer drops these 4 bytes and splits the data there into parts. The data of an image record
are ``flag u32, label f32, id u64, id2 u64``, then ``flag`` labels (f32) that replace the label before, then the image
file. Sources: dmlc-core ``recordio.h``, mxnet ``recordio.py``, insightface ``face2rec2.py``.
"""

import bisect
import mmap
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.face import SelectedFaces
from bench.files import atomic_path, write_text
from bench.machine.progress import progress

_MAGIC = 0xCED7230A
_MAGIC_BYTES = struct.pack("<I", _MAGIC)
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
"""Flags of a part: the whole record, or the first, a middle or the last of several parts."""
_FRAME = struct.Struct("<II")
_HEADER = struct.Struct("<IfQQ")
_LENGTH_BITS = 29
_LENGTH_MASK = (1 << _LENGTH_BITS) - 1
_EXACT = 1 << 24
"""Largest integer up to which float32 labels are exact."""
_CHUNK = 1 << 16
"""Records whose labels are read at once."""
_FETCH_AGAIN = "fetch it again"


class RecordFile:
    """Random access to the records of a ``.rec`` by row, their rank in the order of keys. The file is memory-mapped."""

    def __init__(self, path: Path) -> None:
        """Read the index, and check that the last record is complete.

        Raises:
            InputError: If the index is missing or broken, or the file is cut short.
        """
        self.path = path
        self.size = path.stat().st_size
        self.keys, self.offsets = _read_index(path)
        self._map: mmap.mmap | None = None
        if int(self.offsets.max()) + _FRAME.size > self.size:
            row = int(self.offsets.argmax())
            raise InputError(
                f"{path.with_suffix('.idx')} key {self.keys[row]} points to byte {self.offsets[row]}, but {path} ends "
                f"at {self.size}: the .rec is cut short, or the .idx belongs to another .rec; {_FETCH_AGAIN}"
            )
        self.read(int(self.offsets.argmax()))

    def __len__(self) -> int:
        return len(self.keys)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_map": None}

    @property
    def mapped(self) -> mmap.mmap:
        """The whole file, mapped on first use. Forked workers can use the map of their parent."""
        if self._map is None:
            with self.path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._map

    def name(self, row: int) -> str:
        """File and key of a record, for messages."""
        return f"{self.path} key {self.keys[row]}"

    def read(self, row: int) -> tuple[NDArray[np.float32], bytes]:
        """Labels, shape (L,), and image file of one record. Header and identity records have an empty image.

        Raises:
            InputError: If the record is cut short or is not an image record (the message names its key).
        """
        data = self._data(row)
        if len(data) < _HEADER.size:
            raise InputError(f"{self.name(row)} is not an image record ({len(data)} bytes); {_FETCH_AGAIN}")
        flag, label, *_ = _HEADER.unpack_from(data)
        image_start = _HEADER.size + 4 * flag
        if image_start > len(data):
            raise InputError(f"{self.name(row)} announces {flag} labels in {len(data)} bytes; {_FETCH_AGAIN}")
        labels = np.frombuffer(data, "<f4", flag, _HEADER.size) if flag else np.array([label], np.float32)
        return labels, data[image_start:]

    def _data(self, row: int) -> bytes:
        """Data of one record, with its parts joined."""
        parts: list[bytes] = []
        offset, flag = int(self.offsets[row]), _FIRST
        while flag in (_FIRST, _MIDDLE):
            start = offset + _FRAME.size
            if start > self.size:
                raise self._cut_short(row)
            magic, word = _FRAME.unpack_from(self.mapped, offset)
            flag, length = word >> _LENGTH_BITS, word & _LENGTH_MASK
            end = start + length
            if end > self.size:
                raise self._cut_short(row)
            if magic != _MAGIC or flag not in ((_MIDDLE, _LAST) if parts else (_WHOLE, _FIRST)):
                raise InputError(
                    f"{self.name(row)}: no record starts at byte {offset} (it holds {magic:#010x}): "
                    f"the .idx belongs to another file, or the .rec is damaged; {_FETCH_AGAIN}"
                )
            parts.append(self.mapped[start:end])
            offset = end + -length % 4
        return _MAGIC_BYTES.join(parts)

    def _cut_short(self, row: int) -> InputError:
        return InputError(f"{self.name(row)} is cut short: the file ends at byte {self.size}; {_FETCH_AGAIN}")

    def classes(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """First label of each image record, shape of ``rows``.

        Only the first 36 bytes of a record are looked at, unless it has several parts.

        Raises:
            InputError: If a record has no image, or its label is not a class number (the message names its key).
        """
        labels = np.empty(len(rows), dtype=np.float32)
        file_bytes = np.frombuffer(self.mapped, dtype=np.uint8)
        for start in progress(range(0, len(rows), _CHUNK), desc="read labels", unit="chunk"):
            chunk = rows[start : start + _CHUNK]
            labels[start : start + _CHUNK] = self._first_labels(chunk, file_bytes)
        invalid = np.flatnonzero(~((labels >= 0) & (labels == np.floor(labels)) & (labels <= _EXACT)))
        if invalid.size:
            name = self.name(int(rows[invalid[0]]))
            raise InputError(f"{name} has label {labels[invalid[0]]:g}, not a class number 0, 1, ...; {_FETCH_AGAIN}")
        return labels.astype(np.int64)

    def _first_labels(self, rows: NDArray[np.int64], file_bytes: NDArray[np.uint8]) -> NDArray[np.float32]:
        """First label of each record, unchecked; ``file_bytes`` is the whole file."""
        byte_indices = self.offsets[rows, None] + np.arange(36)
        # Nine words: magic, flag and length of the part, flag, label, id (2), id2 (2), first further label
        words = file_bytes[np.minimum(byte_indices, self.size - 1)].view("<u4")
        flags, lengths = words[:, 2].astype(np.int64), words[:, 1] & _LENGTH_MASK
        labels = np.where(flags > 0, words[:, 8], words[:, 3]).view("<f4")
        has_image = lengths > _HEADER.size + 4 * flags
        is_whole = (words[:, 0] == _MAGIC) & (words[:, 1] >> _LENGTH_BITS == _WHOLE)
        for i in np.flatnonzero(~(is_whole & has_image)):  # records in several parts, and broken ones
            row_labels, image = self.read(int(rows[i]))
            if not image:
                raise InputError(
                    f"{self.name(int(rows[i]))} has no image, like insightface's header and identity records, "
                    f"but lies among the images of another dialect; {_FETCH_AGAIN}"
                )
            labels[i] = row_labels[0]
        return labels


class RecordFaces(SelectedFaces):
    """The faces of a ``.rec`` with its ``.idx``, in any of the three dialects, in the order of their keys."""

    def __init__(self, path: Path) -> None:
        """Open the file and read its labels.

        Raises:
            InputError: If one of the two files is missing, broken or cut short.
        """
        self.path = path
        self._file = RecordFile(path)
        labels, image = self._file.read(0)
        has_header = self._file.keys[0] == 0 and len(labels) == 2 and not image
        if has_header:
            self._rows, classes = _read_insightface(self._file, labels)
        else:
            self._rows = np.arange(len(self._file))
            classes = self._file.classes(self._rows)
        self._set_labels(classes)

    def encoded(self, index: int) -> bytes:
        """The image file of one face."""
        return self._file.read(int(self._rows[self._positions[index]]))[1]

    def name(self, index: int) -> str:
        """File and key of the image."""
        return self._file.name(int(self._rows[self._positions[index]]))


def _read_index(path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Keys in ascending order and the offsets of their records, both shape (R,)."""
    index_path = path.with_suffix(".idx")
    if not index_path.is_file():
        raise InputError(f"{path} has no {index_path.name} beside it; fetch both files")
    try:
        numbers = np.array(index_path.read_bytes().split(), dtype=np.int64)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{index_path} is not lines of key and offset ({error}); {_FETCH_AGAIN}") from None
    if not len(numbers) or len(numbers) % 2 or numbers.min() < 0:
        raise InputError(f"{index_path} is not lines of key and offset ({len(numbers)} numbers); {_FETCH_AGAIN}")
    keys, offsets = numbers.reshape(-1, 2).T
    order = np.argsort(keys, kind="stable")
    return keys[order], offsets[order]


def _read_insightface(file: RecordFile, header: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and classes of the images in a file with a header record, both shape (N,).

    The classes come from the identity records if these are consistent: then two images per identity are looked at
    instead of all.
    """
    first_identity_row = _first_row_without_image(file)
    has_identity_records = first_identity_row < len(file)
    last_end = int(file.keys[-1]) + 1
    image_end = int(file.keys[first_identity_row]) if has_identity_records else last_end
    if np.float32(image_end) != header[0] or (has_identity_records and np.float32(last_end) != header[1]):
        raise InputError(
            f"{file.path} key 0 says that images end before key {header[0]:.0f} and identities before {header[1]:.0f}, "
            f"but they end before {image_end} and {last_end}: another dialect, or damaged; {_FETCH_AGAIN}"
        )
    rows = np.arange(1, first_identity_row)
    if image_end < _EXACT and np.array_equal(file.keys[rows], np.arange(1, image_end)):
        classes = _classes_of_ranges(file, first_identity_row)
        if classes is not None:
            return rows, classes
    return rows, file.classes(rows)


def _first_row_without_image(file: RecordFile) -> int:
    """Row of the first identity record, by bisection, or ``len(file)``.

    The header also holds this number, but as a float32, which is exact up to 2**24 only.
    """
    return bisect.bisect_left(range(len(file)), True, lo=1, key=lambda row: not file.read(row)[1])


def _classes_of_ranges(file: RecordFile, first_identity_row: int) -> NDArray[np.int64] | None:
    """Classes of the images in rows 1 .. first_identity_row - 1, from the identity records.

    The labels of an identity record are the first key of its images and the key after the last one. None if these
    ranges do not cover every image exactly once, or if the first and the last image of a range differ in class.
    """
    ranges = [file.read(row)[0][:2] for row in range(first_identity_row, len(file))]
    if not ranges or any(len(labels) != 2 or not (np.abs(labels) <= _EXACT).all() for labels in ranges):
        return None
    starts, ends = np.array(ranges).astype(np.int64).T
    order = np.argsort(starts)
    starts, ends = starts[order], ends[order]
    is_gapless = np.array_equal(np.append(starts, first_identity_row), np.insert(ends, 0, 1))
    if not is_gapless or (ends <= starts).any():
        return None
    first, last = file.classes(starts), file.classes(ends - 1)
    return np.repeat(first, ends - starts) if np.array_equal(first, last) else None


class RecordWriter:
    """Writes a folder with train.rec, train.idx and property, in insightface's dialect.

    The folder appears when the block ends, or not at all after an error.

    Usage: ``with RecordWriter(folder) as writer: writer.write(jpeg, identity_id)``, one identity after the other.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._ranges: list[list[int]] = []
        self._lines: list[str] = []
        self._num_faces = 0

    def __enter__(self) -> "RecordWriter":
        self._atomic = atomic_path(self.path)
        self._folder = self._atomic.__enter__()
        self._folder.mkdir()
        self._file = (self._folder / "train.rec").open("wb")
        return self

    def write(self, encoded: bytes, identity_id: int) -> None:
        """Append one face.

        Raises:
            ValueError: If the identities do not come as 0, 0, ..., 1, 1, ..., 2, ...
        """
        self._num_faces += 1
        if identity_id == len(self._ranges):
            self._ranges.append([self._num_faces, self._num_faces])
        if identity_id != len(self._ranges) - 1:
            raise ValueError(
                f"identity {identity_id} after {len(self._ranges) - 1}: write the faces identity by identity, from 0"
            )
        self._ranges[-1][1] = self._num_faces + 1
        self._write_record(self._num_faces, (identity_id, 1), encoded)  # label 1: the face is aligned

    def __exit__(self, *error: Any) -> None:
        with self._file:
            if error[0] is None:
                first, end = self._num_faces + 1, self._num_faces + 1 + len(self._ranges)
                for key, (start, stop) in enumerate(self._ranges, start=first):
                    self._write_record(key, (start, stop), b"")
                self._write_record(0, (first, end), b"")
                write_text(self._folder / "train.idx", "".join(self._lines))
                write_text(self._folder / "property", f"{len(self._ranges)},112,112\n")
        self._atomic.__exit__(*error)

    def _write_record(self, key: int, labels: tuple[int, int], image: bytes) -> None:
        self._lines.append(f"{key}\t{self._file.tell()}\n")
        self._file.write(framed(_HEADER.pack(2, 0.0, key, 0) + struct.pack("<ff", *labels) + image))


def framed(data: bytes) -> bytes:
    """The record that holds ``data``, in several parts where the magic occurs at a multiple of 4."""
    occurrences = [match.start() for match in re.finditer(re.escape(_MAGIC_BYTES), data)]
    cuts = [offset for offset in occurrences if offset % 4 == 0]
    starts = [0, *(cut + len(_MAGIC_BYTES) for cut in cuts)]
    ends = [*cuts, len(data)]
    record = []
    for start, end in zip(starts, ends, strict=True):
        flag = _part_flag(is_first=start == 0, is_last=end == len(data))
        part = data[start:end]
        record.append(_FRAME.pack(_MAGIC, flag << _LENGTH_BITS | len(part)) + part + b"\0" * (-len(part) % 4))
    return b"".join(record)


def _part_flag(*, is_first: bool, is_last: bool) -> int:
    if is_first:
        return _WHOLE if is_last else _FIRST
    return _LAST if is_last else _MIDDLE
