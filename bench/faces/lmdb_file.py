"""Reads and writes face datasets in the suite's own layout, the LMDB of the HSFace datasets.

In: a path. Out: ``Faces``. This is the only module that imports lmdb. ``open.py`` opens any layout.

| key | value (msgpack) |
|---|---|
| ``b"0"``, ``b"1"``, ... | ``[image file, identity]`` |
| the same, to train a generator | ``[image file, .npy of the identity feature, identity]`` |
| the same, to train a pose model | ``[image file, .npy of the identity feature, identity, landmark image file]`` |
| ``b"__len__"`` | number of faces |
| ``b"__keys__"`` | all keys of faces |
| ``b"__classnum__"`` | largest identity + 1 |

Source: the datasets and readers of HaiyuWu/Vec2Face.
"""

import errno
import io
import os
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import lmdb
import msgpack
import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError, python_command
from bench.faces.face import FACE_SIZE, SelectedFaces, decode_image
from bench.faces.lmdb_record import RECORD_LENGTHS, as_label, label_place, quick_label, shorten
from bench.files import atomic_path
from bench.machine.progress import progress

_LMDB_MAGIC = (0xBEEFC0DE).to_bytes(4, "little")
_REWRITE = f"write it as {python_command('bench convert')} does, or fetch it again"
_HEADER_BYTES = 152
"""Page header (16 bytes) and header (136 bytes), as on 64-bit machines. The magic is at 16, the page size at 40."""
_PAGE_SIZES = {1 << bits for bits in range(9, 17)}
_LABELS_PER_OPENING = 100_000
"""Records whose labels are read before the file is closed and opened again."""
_INITIAL_MAP_BYTES = 1 << 26
"""Size of a new LMDB's memory map, which limits the size of the file. It is doubled whenever it is full."""


class _Handle:
    """An LMDB opened for reading by this process. It closes when the last dataset that uses it is garbage."""

    def __init__(self, path: Path) -> None:
        self.pid = os.getpid()
        file = path / "data.mdb" if path.is_dir() else path
        size = file.stat().st_size
        _check_header(file, size)
        try:
            self.environment = lmdb.open(
                str(path), subdir=path.is_dir(), readonly=True, lock=False, readahead=False, meminit=False
            )
        except lmdb.Error as error:
            raise InputError(f"{path} ({size} bytes) is not a whole LMDB: {error}; fetch it again") from None
        # Reading past the end of a truncated file would kill the process (SIGBUS), so compare the sizes first
        needed = (self.environment.info()["last_pgno"] + 1) * self.environment.stat()["psize"]
        if size < needed:
            self.environment.close()
            raise InputError(f"{file} is cut short: {size} bytes of at least {needed}; fetch or write it again")


def _check_header(file: Path, size: int) -> None:
    """Refuse a file whose two header pages are damaged, since liblmdb would kill the process (SIGFPE, SIGBUS).

    Raises:
        InputError: If a header page has another magic, or a page size that cannot be.
    """
    with file.open("rb") as opened:
        start = opened.read(_HEADER_BYTES)
        page_size = int.from_bytes(start[40:44], "little")
        opened.seek(page_size if page_size in _PAGE_SIZES else 0)
        second = opened.read(_HEADER_BYTES)
    for page in (start, second):
        has_magic = page[16:20] == _LMDB_MAGIC and len(page) == _HEADER_BYTES
        if not has_magic or page_size not in _PAGE_SIZES or page[40:44] != start[40:44]:
            raise InputError(f"{file} ({size} bytes) is not a whole LMDB: its header is damaged; fetch it again")


_handles: weakref.WeakValueDictionary[Path, _Handle] = weakref.WeakValueDictionary()


def _open_handle(path: Path) -> _Handle:
    """The handle of this process for a file. LMDB lets a process open a file only once, so datasets share it."""
    key = path.resolve()
    handle = _handles.get(key)
    if handle is None:
        handle = _handles[key] = _Handle(path)
    return handle


def _close_inherited() -> None:
    """Close the handles that a forked process inherited: LMDB forbids their use. They are opened again when needed."""
    for handle in list(_handles.values()):
        handle.environment.close()
    _handles.clear()


os.register_at_fork(after_in_child=_close_inherited)


class LmdbFaces(SelectedFaces):
    """The faces of an LMDB in the layout above. Each worker process opens the file for itself when it first reads."""

    def __init__(self, path: Path, labels: NDArray[np.int64] | None = None) -> None:
        """Open the file and read the identity of every record.

        Args:
            path: The LMDB file, or a folder with ``data.mdb``.
            labels: Identity of every record, shape (N,), if already known; the records are then not read.

        Raises:
            InputError: If the file is not a face LMDB or is cut short, or a record is missing or broken.
        """
        self.path = path
        self._handle: _Handle | None = None
        num_faces = self._read_length()
        self._set_labels(self._read_labels(num_faces) if labels is None else labels)

    def encoded(self, index: int) -> bytes:
        """The image file of one face."""
        return self._record(self._positions[index])[0]

    def features(self, index: int) -> NDArray[np.float32]:
        """Identity feature of one face, not normalised, shape (D,). Only records for training a generator have one.

        Raises:
            InputError: If the record holds no feature.
        """
        position = self._positions[index]
        record = self._record(position)
        if len(record) < 3:
            raise InputError(f"{self.path} holds no features; add them with {python_command('generate prepare')}")
        try:
            feature = np.load(io.BytesIO(record[1]), allow_pickle=False)
        except Exception as error:  # NumPy raises errors of many types for a damaged header
            raise InputError(f"{self.path} key {position} has a damaged feature ({error}); fetch it again") from None
        if not isinstance(feature, np.ndarray) or feature.dtype.kind != "f" or not feature.size:
            raise InputError(f"{self.path} key {position} has a feature that is no array of floats; fetch it again")
        return feature

    def landmark_picture(self, index: int) -> NDArray[np.uint8]:
        """Picture of the five landmarks of one face, uint8 RGB, shape (112, 112, 3).

        Only records for training a pose model have one.

        Raises:
            InputError: If the record holds no landmark picture, or it does not decode or has another size.
        """
        position = self._positions[index]
        record = self._record(position)
        if len(record) != 4:
            raise InputError(
                f"{self.path} holds no landmark pictures (key {position} has {len(record)} elements, not 4); make a "
                f"training set with {python_command('generate prepare')} --landmarks"
            )
        name = f"landmark picture of {self.path} key {position}"
        picture = decode_image(record[3], name)
        if picture.shape != (FACE_SIZE, FACE_SIZE, 3):
            height, width = picture.shape[:2]
            raise InputError(f"{name} is {width} x {height} pixels; give pictures of {FACE_SIZE} x {FACE_SIZE}")
        return picture

    def name(self, index: int) -> str:
        """File and key of the image."""
        return f"{self.path} key {self._positions[index]}"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_handle": None}

    @contextmanager
    def _reading(self) -> Iterator[Any]:
        """A transaction for reading; what LMDB reports of damaged pages becomes ``InputError``."""
        if self._handle is None or self._handle.pid != os.getpid():
            self._handle = _open_handle(self.path)
        try:
            with self._handle.environment.begin(buffers=True) as transaction:
                yield transaction
        except lmdb.Error as error:
            raise InputError(f"{self.path} is damaged ({error}); fetch or write it again") from None

    def _read_length(self) -> int:
        """Number of faces, from the key ``__len__``."""
        with self._reading() as transaction:
            value = transaction.get(b"__len__")
            num_entries = transaction.stat()["entries"]
            if value is None:
                raise InputError(f"{self.path} has no key __len__; give a face LMDB, or fetch it again")
            num_faces = self._unpack(value, "__len__")
        if type(num_faces) is not int or num_faces < 1:
            raise InputError(f"{self.path} has __len__ {shorten(num_faces)}, not a positive number; {_REWRITE}")
        if num_faces > num_entries:
            raise InputError(f"{self.path} has __len__ {num_faces}, but holds {num_entries} entries; {_REWRITE}")
        return num_faces

    def _record(self, position: int) -> list:
        """The elements of one face's record (see the top of this module), checked."""
        with self._reading() as transaction:
            value = transaction.get(str(position).encode())
            if value is None:
                raise InputError(f"{self.path} has no key {position}; write or fetch it again, or mask it out")
            record = self._unpack(value, str(position))
        is_whole = isinstance(record, list) and len(record) in RECORD_LENGTHS
        parts = [part for place, part in enumerate(record) if place != label_place(len(record))] if is_whole else []
        if is_whole and not isinstance(parts[0], bytes):
            raise InputError(
                f"{self.path} key {position} starts with {shorten(parts[0])}, not with an image file; {_REWRITE}"
            )
        if not is_whole or not all(isinstance(part, bytes) for part in parts):
            raise InputError(
                f"{self.path} key {position} holds {shorten(record)}, not [image file, identity]; {_REWRITE}"
            )
        label = record[label_place(len(record))]
        if as_label(label) is None:
            raise InputError(f"{self.path} key {position} has identity {shorten(label)}, not a number; {_REWRITE}")
        return record

    def _unpack(self, value: memoryview, key: str) -> Any:
        try:
            return msgpack.unpackb(value, raw=True, strict_map_key=False)
        except Exception as error:  # msgpack raises errors of many types
            reason = str(error) or type(error).__name__
            raise InputError(
                f"{self.path} key {key} is not msgpack ({reason}; it starts {bytes(value[:8]).hex()}); {_REWRITE}"
            ) from None

    def _read_labels(self, num_faces: int) -> NDArray[np.int64]:
        """Identity of every record, shape (N,).

        The file is closed after every block, since the pages read would count as memory of this process until then.
        """
        labels = np.empty(num_faces, dtype=np.int64)
        positions = iter(progress(range(num_faces), desc="read labels", total=num_faces))
        while block := list(islice(positions, _LABELS_PER_OPENING)):
            labels[block] = self._read_block(block)
            self._handle = None
        return labels

    def _read_block(self, positions: Sequence[int]) -> list[int]:
        """Identities of these records. Image and feature are skipped by their lengths, not unpacked."""
        labels = []
        with self._reading() as transaction:
            for position in positions:
                value = transaction.get(str(position).encode())
                label = None if value is None else quick_label(value)
                if label is None:
                    record = self._record(position)
                    label = int(record[label_place(len(record))])
                labels.append(label)
        return labels


class FaceWriter:
    """Writes an LMDB in the layout above. It appears when the block ends, or not at all after an error.

    Usage: ``with FaceWriter(path) as writer: writer.write(jpeg, identity_id)``. Equal faces give equal bytes.
    """

    def __init__(self, path: str | Path, batch: int = 1000) -> None:
        """Prepare a file; ``batch`` faces are written per LMDB transaction."""
        self.path = Path(path)
        self._batch = batch
        self._pending: list[tuple[bytes, bytes]] = []
        self._num_faces = 0
        self._identities: set[int] = set()

    def __enter__(self) -> "FaceWriter":
        self._atomic = atomic_path(self.path)
        self._temporary = self._atomic.__enter__()
        try:
            with _disk_errors(self.path):
                self._environment = lmdb.open(
                    str(self._temporary), subdir=False, lock=False, map_size=_INITIAL_MAP_BYTES, sync=False
                )
        except OSError as error:
            self._atomic.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def write(
        self,
        encoded: bytes,
        identity_id: int,
        feature: NDArray[np.float32] | None = None,
        landmark_picture: bytes | None = None,
    ) -> None:
        """Append one face.

        Args:
            encoded: Image file (JPEG, PNG, ...).
            identity_id: Identity, 0 or more; gaps are allowed.
            feature: Identity feature, not normalised, shape (D,), for training a generator.
            landmark_picture: Image file of the landmarks, for training a pose model; only beside a feature.

        Raises:
            ValueError: If a landmark picture comes without a feature.
        """
        record: list[Any] = [encoded, int(identity_id)]
        if feature is not None:
            buffer = io.BytesIO()
            np.save(buffer, feature)
            record.insert(1, buffer.getvalue())
        if landmark_picture is not None:
            if feature is None:
                raise ValueError("a face with a landmark picture needs a feature too; give both, or neither")
            record.append(landmark_picture)
        self._pending.append((str(self._num_faces).encode(), msgpack.packb(record)))
        self._num_faces += 1
        self._identities.add(int(identity_id))
        if len(self._pending) >= self._batch:
            self._flush()

    def __exit__(self, *error: Any) -> None:
        try:
            if error[0] is None:
                keys = (str(index).encode() for index in range(self._num_faces))
                self._pending.append((b"__keys__", _pack_array(keys, self._num_faces)))
                self._pending.append((b"__len__", msgpack.packb(self._num_faces)))
                self._pending.append((b"__classnum__", msgpack.packb(max(self._identities, default=-1) + 1)))
                self._flush()
                with _disk_errors(self.path):
                    self._environment.sync(True)
        except BaseException as failure:
            self._environment.close()
            self._atomic.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._environment.close()
        self._atomic.__exit__(*error)

    def _flush(self) -> None:
        while True:
            try:
                with _disk_errors(self.path), self._environment.begin(write=True) as transaction:
                    for key, value in self._pending:
                        transaction.put(key, value)
                break
            except lmdb.MapFullError:
                self._environment.set_mapsize(2 * self._environment.info()["map_size"])
        self._pending.clear()


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Raise an error of LMDB as OSError. LMDB has no error number for a full disk; ``atomic_path`` finds it."""
    try:
        yield
    except lmdb.MapFullError:
        raise
    except lmdb.Error as error:
        raise OSError(errno.EIO, str(error), str(path)) from error


def _pack_array(items: Iterator[bytes], length: int) -> bytes:
    """Msgpack array of many items, without a list of them in memory."""
    packer = msgpack.Packer(autoreset=False)
    packer.pack_array_header(length)
    for item in items:
        packer.pack(item)
    return packer.bytes()
