"""WebDataset shards, tar files of ``KEY.jpg`` and ``KEY.cls``: read in any order, and written.

The headers are read once, after which a face is a slice of a shard: order and augmentation depend on seed, epoch and
index alone, which a stream of shards cannot give. Layout: github.com/webdataset/webdataset; formats.md section 5.
"""

import io
import mmap
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import InputError
from bench.faces.face import IMAGE_SUFFIXES, SelectedFaces, image_suffix
from bench.files import atomic_path, write_json
from bench.machine.progress import progress

_BLOCK = tarfile.BLOCKSIZE
_FACES_PER_SHARD = 10_000
_FETCH_AGAIN = "fetch or write it again"


class ShardFaces(SelectedFaces):
    """A folder of ``.tar`` shards, in the order of their names, or a single one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._shards = sorted(path.glob("*.tar")) if path.is_dir() else [path]
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
        self._slices = np.array(slices, dtype=np.int64)
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
        InputError: If the shard is cut short or compressed, or an image or its label is missing, broken or there twice.
    """
    images: dict[str, tuple[str, int, int]] = {}
    labels: dict[str, int] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                key, _, kind = _split(member.name)
                if not member.isreg() or not (f".{kind}" in IMAGE_SUFFIXES or kind == "cls"):
                    continue
                if key in (labels if kind == "cls" else images):
                    raise InputError(f"{path} member {member.name} stands beside another of its key; {_FETCH_AGAIN}")
                if kind == "cls":
                    labels[key] = _read_label(tar, member, path)
                else:
                    images[key] = member.name, member.offset_data, member.size
            end = tar.offset
    except tarfile.TarError as error:
        raise InputError(f"{path} is not a whole, uncompressed tar ({error}); unpack or {_FETCH_AGAIN}") from None
    with path.open("rb") as file:
        file.seek(end)
        if file.read(_BLOCK) != bytes(_BLOCK):  # a tar ends with blocks of zeros
            raise InputError(f"{path} is cut short after {len(images)} images: it has no end mark; {_FETCH_AGAIN}")
    for key, (name, *_) in images.items():
        if key not in labels:
            raise InputError(f"{path} member {name} has no label; put its class number into a member {key}.cls")
    for key in labels.keys() - images.keys():
        raise InputError(f"{path} member {key}.cls has no image beside it; {_FETCH_AGAIN}")
    return [(*image, labels[key]) for key, image in images.items()]


def _split(name: str) -> tuple[str, str, str]:
    """Key, all extensions and the last of them, in lower case: the key ends at the first dot of the file's name."""
    folder, slash, file = name.rpartition("/")
    key, _, extensions = file.partition(".")
    return folder + slash + key, extensions, extensions.rpartition(".")[2].lower()


def _read_label(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> int:
    file = tar.extractfile(member)
    text = file.read() if file else b""
    try:
        return int(text)
    except ValueError:
        raise InputError(
            f"{path} member {member.name} holds {text[:20]!r}, not a class number; {_FETCH_AGAIN}"
        ) from None


class ShardWriter:
    """Writes a folder of shards and their wids index; it appears whole when the block ends, and not at all on an error.

    Usage: ``with ShardWriter(folder) as writer: writer.write(jpeg, identity_id)``. Equal faces give equal bytes.
    """

    def __init__(self, path: str | Path, faces_per_shard: int = _FACES_PER_SHARD) -> None:
        self.path = Path(path)
        self._faces_per_shard = faces_per_shard
        self._num_faces = 0
        self._shards: list[tarfile.TarFile] = []

    def __enter__(self) -> "ShardWriter":
        self._atomic = atomic_path(self.path)
        self._folder = self._atomic.__enter__()
        self._folder.mkdir()
        return self

    def write(self, encoded: bytes, identity_id: int) -> None:
        """Append one face."""
        if self._num_faces % self._faces_per_shard == 0:
            self._close_last()
            path = self._folder / f"faces-{len(self._shards):06d}.tar"
            self._shards.append(tarfile.open(path, "w", format=tarfile.USTAR_FORMAT))  # noqa: SIM115 (closed in __exit__)
        key = f"{self._num_faces:09d}"
        self._add(key + image_suffix(encoded, f"face {self._num_faces}"), encoded)
        self._add(f"{key}.cls", str(identity_id).encode())
        self._num_faces += 1

    def __exit__(self, *error: Any) -> None:
        self._close_last()
        if error[0] is None:
            left = self._num_faces - self._faces_per_shard * (len(self._shards) - 1)
            counts = [self._faces_per_shard] * (len(self._shards) - 1) + [left]
            shards = [
                {"url": Path(str(tar.name)).name, "nsamples": n} for tar, n in zip(self._shards, counts, strict=True)
            ]
            write_json(self._folder / "index.json", {"wids_version": 1, "shardlist": shards})
        self._atomic.__exit__(*error)

    def _add(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        self._shards[-1].addfile(member, io.BytesIO(data))
        self._shards[-1].members = []  # type: ignore[attr-defined]  # else it remembers every member

    def _close_last(self) -> None:
        if self._shards:
            self._shards[-1].close()
