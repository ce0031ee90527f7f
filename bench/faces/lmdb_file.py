"""Opens face datasets in any layout, and reads and writes the suite's own: the LMDB of the HSFace datasets.

In: a path. Out: ``Faces``. This is the only module that imports lmdb.

| key | value (msgpack) |
|---|---|
| ``b"0"``, ``b"1"``, ... | ``[image file, identity]`` |
| the same, to train a generator | ``[image file, .npy of the identity feature, identity]`` |
| ``b"__len__"`` | number of faces |
| ``b"__keys__"`` | all keys of faces |
| ``b"__classnum__"`` | largest identity + 1 |

Source: the datasets and readers of HaiyuWu/Vec2Face. ``folders``, ``recordio`` and ``webdataset`` read other layouts.
"""

import errno
import io
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb
import msgpack
import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError, python_command
from bench.faces.face import SelectedFaces
from bench.files import atomic_path
from bench.machine.progress import progress

_INITIAL_MAP_BYTES = 1 << 26
"""Size of a new LMDB's memory map, which limits the size of the file. It is doubled whenever it is full."""


class _Handle:
    """An LMDB opened for reading by this process. It closes when the last dataset that uses it is garbage."""

    def __init__(self, path: Path) -> None:
        self.pid = os.getpid()
        file = path / "data.mdb" if path.is_dir() else path
        size = file.stat().st_size
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
        num_faces = self._meta(b"__len__")
        if not isinstance(num_faces, int) or num_faces < 1:
            raise InputError(f"{path} has __len__ {num_faces!r}, not a positive number; write the dataset again")
        self._set_labels(self._read_labels(num_faces) if labels is None else labels)

    def encoded(self, index: int) -> bytes:
        """The image file of one face."""
        return self._record(self._positions[index])[0]

    def features(self, index: int) -> NDArray[np.float32]:
        """Identity feature of one face, not normalised, shape (D,). Only records for training a generator have one.

        Raises:
            InputError: If the record holds no feature.
        """
        record = self._record(self._positions[index])
        if len(record) != 3:
            raise InputError(f"{self.path} holds no features; add them with {python_command('generate prepare')}")
        return np.load(io.BytesIO(record[1]), allow_pickle=False)

    def name(self, index: int) -> str:
        """File and key of the image."""
        return f"{self.path} key {self._positions[index]}"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_handle": None}

    def _transaction(self) -> Any:
        if self._handle is None or self._handle.pid != os.getpid():
            self._handle = _open_handle(self.path)
        return self._handle.environment.begin(buffers=True)

    def _meta(self, key: bytes) -> Any:
        with self._transaction() as transaction:
            value = transaction.get(key)
            if value is None:
                raise InputError(f"{self.path} has no key {key.decode()}; give a face LMDB, or fetch it again")
            return msgpack.unpackb(value)

    def _record(self, position: int) -> list:
        with self._transaction() as transaction:
            value = transaction.get(str(position).encode())
            if value is None:
                raise InputError(f"{self.path} has no key {position}; write or fetch it again, or mask it out")
            try:
                return msgpack.unpackb(value)
            except (ValueError, msgpack.UnpackException) as error:
                raise InputError(f"{self.path} key {position} is not msgpack ({error}); fetch it again") from None

    def _read_labels(self, num_faces: int) -> NDArray[np.int64]:
        """Identity of every record, shape (N,). It is the last element, so only the end of each value is read."""
        labels = np.empty(num_faces, dtype=np.int64)
        with self._transaction() as transaction:
            for position in progress(range(num_faces), desc="read labels", total=num_faces):
                value = transaction.get(str(position).encode())
                label = None if value is None else _last_int(value)
                labels[position] = self._record(position)[-1] if label is None else label
        return labels


def _last_int(value: memoryview) -> int | None:
    """Last element of a msgpack record without unpacking the image; None if the record has to be unpacked."""
    try:
        start = 1 + _bin_size(value, 1)
        if value[0] == 0x93:  # an array of three: image file, feature, identity
            start += _bin_size(value, start)
        return msgpack.unpackb(value[start:])
    except (ValueError, IndexError, KeyError, msgpack.UnpackException):
        return None


def _bin_size(value: memoryview, start: int) -> int:
    """Bytes of the msgpack bin at ``start``, including its header."""
    width = {0xC4: 1, 0xC5: 2, 0xC6: 4}[value[start]]
    return 1 + width + int.from_bytes(value[start + 1 : start + 1 + width], "big")


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

    def write(self, encoded: bytes, identity_id: int, feature: NDArray[np.float32] | None = None) -> None:
        """Append one face.

        Args:
            encoded: Image file (JPEG, PNG, ...).
            identity_id: Identity, 0 or more; gaps are allowed.
            feature: Identity feature, not normalised, shape (D,), for training a generator.
        """
        record: list[Any] = [encoded, int(identity_id)]
        if feature is not None:
            buffer = io.BytesIO()
            np.save(buffer, feature)
            record.insert(1, buffer.getvalue())
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
    """Raise an error of LMDB as OSError, whose number ``atomic_path`` finds out; LMDB has none for a full disk."""
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
