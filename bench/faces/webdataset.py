"""Reads and writes WebDataset shards: tar files with members ``KEY.jpg`` and ``KEY.cls`` (the class number).

In: shards in which these members come in any order. Out: faces and identities; or shards, written.

The tar headers are read once. Afterwards a face is a slice of a memory-mapped shard. Training needs this random access,
because the order and the augmentation of its faces depend on seed, epoch and index alone; a stream of shards cannot
give that. Layout: github.com/webdataset/webdataset, with the index of its ``wids``.
"""

import io
import mmap
import re
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import InputError
from bench.faces.face import IMAGE_SUFFIXES, SelectedFaces, image_suffix
from bench.files import atomic_path, is_hidden, write_json
from bench.machine.progress import progress

_FACES_PER_SHARD = 10_000
_LABEL = re.compile(rb"\s*-?[0-9]{1,18}\s*")
"""A class number that fits 64 bits."""
_MAX_LABEL_BYTES = 64
_FETCH_AGAIN = "fetch or write it again"


def find_shards(folder: Path) -> list[Path]:
    """The ``.tar`` files of a folder, sorted by name; hidden files are left out."""
    files = (file for file in folder.iterdir() if file.suffix.lower() == ".tar" and not is_hidden(file.name))
    return sorted(file for file in files if file.is_file())


class ShardFaces(SelectedFaces):
    """The faces of one ``.tar`` shard, or of all shards in a folder in the order of their names."""

    def __init__(self, path: Path) -> None:
        """Read the headers of all shards.

        Raises:
            InputError: If a shard is broken, or there is no face.
        """
        self.path = path
        self._shards = find_shards(path) if path.is_dir() else [path]
        self._maps: dict[int, mmap.mmap] = {}
        labels: list[int] = []
        slices: list[tuple[int, int, int]] = []
        self._names: list[str] = []
        for shard, file in enumerate(progress(self._shards, desc="read shards", unit="shard")):
            for name, start, size, label in _read_shard(file):
                slices.append((shard, start, size))
                self._names.append(name)
                labels.append(label)
        if not labels:
            raise InputError(f"{path} holds no face; a shard has members KEY.jpg and KEY.cls; {_FETCH_AGAIN}")
        self._slices = np.array(slices, dtype=np.int64)  # (N, 3): shard, first byte, size
        self._set_labels(np.array(labels, dtype=np.int64))

    def encoded(self, index: int) -> bytes:
        """The image file of one face."""
        shard, start, size = map(int, self._slices[self._positions[index]])
        if shard not in self._maps:
            with self._shards[shard].open("rb") as file:
                self._maps[shard] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._maps[shard][start : start + size]

    def name(self, index: int) -> str:
        """Shard and member of the image."""
        position = self._positions[index]
        return f"{self._shards[self._slices[position, 0]]} member {self._names[position]}"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_maps": {}}


def _read_shard(path: Path) -> list[tuple[str, int, int, int]]:
    """Name, first byte, size and label of every face of a shard, in the order of its images.

    Raises:
        InputError: If the shard is cut short or compressed, or if an image or its label is missing, broken or there
            twice.
    """
    images: dict[str, tuple[str, int, int]] = {}
    labels: dict[str, int] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                key, kind = _split(member.name)
                is_used = member.isreg() and (f".{kind}" in IMAGE_SUFFIXES or kind == "cls")
                if not is_used or _is_hidden_member(member.name):
                    continue
                if member.issparse():
                    raise InputError(f"{path} member {member.name} is stored with holes (sparse); {_FETCH_AGAIN}")
                same_kind = labels if kind == "cls" else images
                if key in same_kind:
                    raise InputError(f"{path} member {member.name} has the key of an earlier one; {_FETCH_AGAIN}")
                if kind == "cls":
                    labels[key] = _read_label(tar, member, path)
                else:
                    images[key] = member.name, member.offset_data, member.size
            end = tar.offset
    except InputError:
        raise
    except Exception as error:  # tarfile raises errors of many types for damaged headers
        raise InputError(f"{path} is not a whole, uncompressed tar ({error}); unpack or {_FETCH_AGAIN}") from None
    if not _has_end_mark(path, end):
        raise InputError(f"{path} is cut short after {len(images)} images: it has no end mark; {_FETCH_AGAIN}")
    for key, (name, *_) in images.items():
        if key not in labels:
            raise InputError(f"{path} member {name} has no label; put its class number into a member {key}.cls")
    for key in labels.keys() - images.keys():
        raise InputError(f"{path} member {key}.cls has no image beside it; {_FETCH_AGAIN}")
    return [(*image, labels[key]) for key, image in images.items()]


def _has_end_mark(path: Path, end: int) -> bool:
    """Whether a block of zeros, the end mark of a tar, lies at byte ``end``. Without it the shard is cut short."""
    with path.open("rb") as file:
        file.seek(end)
        return file.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE)


def _split(name: str) -> tuple[str, str]:
    """Key, up to the first dot of the file name, and kind: ``a/b`` and ``jpg`` of a member ``a/b.seg.JPG``."""
    folder, slash, file = name.rpartition("/")
    key, _, extensions = file.partition(".")
    return folder + slash + key, extensions.rpartition(".")[2].lower()


def _is_hidden_member(name: str) -> bool:
    """Whether a file or a folder on the path of a member is hidden (``./._0.jpg``, ``__MACOSX/0.jpg``)."""
    return any(is_hidden(part) for part in name.split("/") if part not in (".", ".."))


def _read_label(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> int:
    file = tar.extractfile(member)
    text = file.read(_MAX_LABEL_BYTES) if file else b""
    if not _LABEL.fullmatch(text):
        raise InputError(f"{path} member {member.name} holds {text[:20]!r}, not a class number; {_FETCH_AGAIN}")
    return int(text)


class ShardWriter:
    """Writes a folder of shards and their wids index. It appears when the block ends, or not at all after an error.

    Usage: ``with ShardWriter(folder) as writer: writer.write(jpeg, identity_id)``. Equal faces give equal bytes.
    """

    def __init__(self, path: str | Path, faces_per_shard: int = _FACES_PER_SHARD) -> None:
        self.path = Path(path)
        self._faces_per_shard = faces_per_shard
        self._num_faces = 0
        self._index: list[dict[str, Any]] = []
        self._tars: list[tarfile.TarFile] = []

    def __enter__(self) -> "ShardWriter":
        self._atomic = atomic_path(self.path)
        self._folder = self._atomic.__enter__()
        self._folder.mkdir()
        return self

    def write(self, encoded: bytes, identity_id: int) -> None:
        """Append one face."""
        if self._num_faces % self._faces_per_shard == 0:
            self._start_shard()
        key = f"{self._num_faces:09d}"
        self._add(key + image_suffix(encoded, f"face {self._num_faces}"), encoded)
        self._add(f"{key}.cls", str(identity_id).encode())
        self._index[-1]["nsamples"] += 1
        self._num_faces += 1

    def __exit__(self, *error: Any) -> None:
        self._close_shard()
        if error[0] is None:
            write_json(self._folder / "index.json", {"wids_version": 1, "shardlist": self._index})
        self._atomic.__exit__(*error)

    def _start_shard(self) -> None:
        self._close_shard()
        name = f"faces-{len(self._index):06d}.tar"
        self._index.append({"url": name, "nsamples": 0})
        self._tars = [tarfile.open(self._folder / name, "w", format=tarfile.USTAR_FORMAT)]  # noqa: SIM115 (_close_shard)

    def _close_shard(self) -> None:
        for tar in self._tars:
            tar.close()

    def _add(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        (tar,) = self._tars
        tar.addfile(member, io.BytesIO(data))
        tar.members = []  # type: ignore[attr-defined]  # tarfile would keep every member in memory
