"""RecordIO as insightface uses it, ``train.rec`` beside ``train.idx``: read and written without mxnet.

Three dialects exist and are told apart by the record of key 0: insightface's own has a header record there, images
after it and one record per identity at the end; im2rec and the shuffled files made for DALI hold images alone.
Sources: dmlc-core ``recordio.h``, mxnet ``recordio.py``, insightface ``face2rec2.py``; formats.md section 2.

A record is ``magic, flag and length (u32 each), data, zeros up to a multiple of 4``. Data that hold the magic at a
multiple of 4 are cut there into parts. The data of an image record: ``flag u32, label f32, id u64, id2 u64``, then
``flag`` labels (f32) that take the place of the one before, then the image file.
"""

import bisect
import mmap
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
_FRAME = struct.Struct("<II")
_HEADER = struct.Struct("<IfQQ")
_LENGTH_BITS = 29
_EXACT = 1 << 24  # float32 labels count no further
_CHUNK = 1 << 16
_FETCH_AGAIN = "fetch it again"


class RecordFile:
    """Random access to the records of a ``.rec``, in the order of their keys; memory-mapped, opened when needed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        self.keys, self.offsets = _read_index(path)
        self._map: mmap.mmap | None = None
        if self.offsets.max() + _FRAME.size > self.size:
            row = int(self.offsets.argmax())
            raise InputError(
                f"{path.with_suffix('.idx')} key {self.keys[row]} points to byte {self.offsets[row]}, but {path} ends "
                f"at {self.size}: the .rec is cut short, or the .idx belongs to another; {_FETCH_AGAIN}"
            )
        self.read(int(self.offsets.argmax()))  # says it where the last record is cut short

    def __len__(self) -> int:
        return len(self.keys)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_map": None}

    @property
    def mapped(self) -> mmap.mmap:
        """The whole file, mapped; a map that a forked worker inherits is as good as its own."""
        if self._map is None:
            with self.path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._map

    def name(self, row: int) -> str:
        """File and key of a record, for messages."""
        return f"{self.path} key {self.keys[row]}"

    def read(self, row: int) -> tuple[NDArray[np.float32], bytes]:
        """Labels, shape (L,), and image file of one record; the image is empty in a header or identity record.

        Raises:
            InputError: If the record is cut short or is no image record; names its key.
        """
        data = self._data(row)
        if len(data) < _HEADER.size:
            raise InputError(f"{self.name(row)} is no image record ({len(data)} bytes); {_FETCH_AGAIN}")
        flag, label, *_ = _HEADER.unpack_from(data)
        image_start = _HEADER.size + 4 * flag
        if image_start > len(data):
            raise InputError(f"{self.name(row)} says {flag} labels in {len(data)} bytes; {_FETCH_AGAIN}")
        labels = np.frombuffer(data, "<f4", flag, _HEADER.size) if flag else np.array([label], np.float32)
        return labels, data[image_start:]

    def _data(self, row: int) -> bytes:
        """The data of one record, its parts put together."""
        parts: list[bytes] = []
        offset, flag = int(self.offsets[row]), _FIRST
        while flag in (_FIRST, _MIDDLE):
            magic, word = _FRAME.unpack_from(self.mapped, offset) if offset + _FRAME.size <= self.size else (None, 0)
            flag, length = word >> _LENGTH_BITS, word & ((1 << _LENGTH_BITS) - 1)
            end = offset + _FRAME.size + length
            if magic is None or end > self.size:
                raise InputError(f"{self.name(row)} is cut short: the file ends at {self.size}; {_FETCH_AGAIN}")
            if magic != _MAGIC or flag not in ((_MIDDLE, _LAST) if parts else (_WHOLE, _FIRST)):
                raise InputError(
                    f"{self.name(row)}: no record starts at byte {offset} (found {magic:#010x}); "
                    f"the .idx belongs to another file, or this one is damaged; {_FETCH_AGAIN}"
                )
            parts.append(self.mapped[offset + _FRAME.size : end])
            offset = end + -length % 4
        return _MAGIC_BYTES.join(parts)

    def classes(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """First label of many image records, shape of ``rows``, from their first 36 bytes alone.

        Raises:
            InputError: If a record holds no image or no class number; names its key.
        """
        labels = np.empty(len(rows), dtype=np.float32)
        everything = np.frombuffer(self.mapped, dtype=np.uint8)
        for start in progress(range(0, len(rows), _CHUNK), desc="read labels", unit="chunk"):
            chunk = rows[start : start + _CHUNK]
            where = self.offsets[chunk, None] + np.arange(36)  # frame, header, first label: nine words
            words = everything[np.minimum(where, self.size - 1)].view("<u4")
            flags, lengths = words[:, 2], words[:, 1] & ((1 << _LENGTH_BITS) - 1)
            values = np.where(flags > 0, words[:, 8], words[:, 3]).view("<f4")
            usual = (words[:, 0] == _MAGIC) & (words[:, 1] >> _LENGTH_BITS == _WHOLE) & (lengths > 24 + 4 * flags)
            for i in np.flatnonzero(~usual):  # in parts, or broken
                row_labels, image = self.read(int(chunk[i]))
                if not image:
                    raise InputError(
                        f"{self.name(int(chunk[i]))} holds no image, as insightface's header and identity records do, "
                        f"but stands among the images of another dialect; {_FETCH_AGAIN}"
                    )
                values[i] = row_labels[0]
            labels[start : start + _CHUNK] = values
        wrong = np.flatnonzero(~((labels >= 0) & (labels == np.floor(labels)) & (labels <= _EXACT)))
        if wrong.size:
            name = self.name(int(rows[wrong[0]]))
            raise InputError(f"{name} has label {labels[wrong[0]]:g}, not a class number 0, 1, ...; {_FETCH_AGAIN}")
        return labels.astype(np.int64)


class RecordFaces(SelectedFaces):
    """A ``.rec`` with its ``.idx``, in any of the three dialects. A position is a rank in the order of image keys."""

    def __init__(self, path: Path) -> None:
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
    """Keys, ascending, and the offsets of their records, both shape (R,)."""
    index_path = path.with_suffix(".idx")
    if not index_path.exists():
        raise InputError(f"{path} has no {index_path.name} beside it; fetch both files")
    try:
        numbers = np.array(index_path.read_bytes().split(), dtype=np.int64)
    except ValueError as error:
        raise InputError(f"{index_path} is not lines of key and offset ({error}); {_FETCH_AGAIN}") from None
    if not len(numbers) or len(numbers) % 2 or numbers.min() < 0:
        raise InputError(f"{index_path} is not lines of key and offset ({len(numbers)} numbers); {_FETCH_AGAIN}")
    keys, offsets = numbers.reshape(-1, 2).T
    order = np.argsort(keys, kind="stable")
    return keys[order], offsets[order]


def _read_insightface(file: RecordFile, header: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and classes of the images, both shape (N,), of a file with a header record.

    The header's counts are float32 and exact up to 2**24 only, hence the border between images and identity records
    is looked for. Classes come from the identity records, a record of each identity in place of one of each image.
    """
    end = bisect.bisect_left(range(len(file)), True, lo=1, key=lambda row: not file.read(row)[1])
    border = file.keys[end] if end < len(file) else file.keys[-1] + 1
    if np.float32(border) != header[0] or (end < len(file) and np.float32(file.keys[-1] + 1) != header[1]):
        raise InputError(
            f"{file.path} key 0 says that images end before key {header[0]:.0f} and identities before {header[1]:.0f}, "
            f"but they end before {border} and {file.keys[-1] + 1}: another dialect, or damaged; {_FETCH_AGAIN}"
        )
    rows = np.arange(1, end)
    ranges = np.array([file.read(row)[0][:2] for row in range(end, len(file))]).reshape(-1, 2).astype(np.int64)
    ranges = ranges[np.argsort(ranges[:, 0])]
    tiles = len(ranges) > 0 and border < _EXACT and np.array_equal(file.keys[rows], np.arange(1, border))
    tiles = tiles and np.array_equal(np.append(ranges[:, 0], border), np.insert(ranges[:, 1], 0, 1))
    if tiles and (ranges[:, 1] > ranges[:, 0]).all():
        first, last = file.classes(ranges[:, 0]), file.classes(ranges[:, 1] - 1)
        if np.array_equal(first, last):
            return rows, np.repeat(first, ranges[:, 1] - ranges[:, 0])
    return rows, file.classes(rows)


class RecordWriter:
    """Writes a folder with train.rec, train.idx and property, in insightface's dialect; it appears whole or not at all.

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
        """Append one face; identities are 0, 1, ... in this order."""
        self._num_faces += 1
        if identity_id == len(self._ranges):
            self._ranges.append([self._num_faces, self._num_faces])
        if identity_id != len(self._ranges) - 1:
            raise ValueError(
                f"identity {identity_id} after {len(self._ranges) - 1}: faces must come identity by identity"
            )
        self._ranges[-1][1] = self._num_faces + 1
        self._write_record(self._num_faces, (identity_id, 1), encoded)  # 1: the face is aligned

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
    """One record of a ``.rec`` around ``data``, cut into parts where the magic stands at a multiple of 4."""
    cuts, start = [-4], 0
    while (found := data.find(_MAGIC_BYTES, start)) >= 0:
        if found % 4 == 0:
            cuts.append(found)
        start = found + (4 if found % 4 == 0 else 1)
    record = []
    for number, (cut, stop) in enumerate(zip(cuts, [*cuts[1:], len(data)], strict=True)):
        is_last = number == len(cuts) - 1
        flag = (_LAST if is_last else _MIDDLE) if number else (_WHOLE if is_last else _FIRST)
        part = data[cut + 4 : stop]
        record.append(_FRAME.pack(_MAGIC, flag << _LENGTH_BITS | len(part)) + part + b"\0" * (-len(part) % 4))
    return b"".join(record)
