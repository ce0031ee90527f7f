"""Reads and writes a folder with one sub-folder of face images per identity."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import InputError
from bench.faces.face import IMAGE_SUFFIXES, SelectedFaces, image_suffix
from bench.files import atomic_path


class FolderFaces(SelectedFaces):
    """A folder with one sub-folder of images per identity, in the order of the names of folders and files.

    Images in deeper folders (``ann/profile/1.jpg``) belong to the identity of the first level.
    """

    def __init__(self, path: Path) -> None:
        """List the images.

        Raises:
            InputError: If there is none.
        """
        self.path = path
        self.identity_names = sorted(entry.name for entry in path.iterdir() if entry.is_dir())
        self._files: list[Path] = []
        labels: list[int] = []
        for label, name in enumerate(self.identity_names):
            files = sorted(file for file in (path / name).rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
            self._files += files
            labels += [label] * len(files)
        if not self._files:
            raise InputError(f"{path} holds no image in any sub-folder; give a folder with one sub-folder per identity")
        self.identity_ids = np.asarray(labels, dtype=np.int64)
        self._positions = np.arange(len(labels))

    def encoded(self, index: int) -> bytes:
        """The image file of one face."""
        return self._files[self._positions[index]].read_bytes()

    def name(self, index: int) -> str:
        """Path of the image."""
        return str(self._files[self._positions[index]])


class FolderWriter:
    """Writes a folder with one sub-folder per identity. It appears when the block ends, or not at all after an error.

    Usage: ``with FolderWriter(folder, names) as writer: writer.write(jpeg, identity_id)``. Names that are numbers are
    padded with zeros, so that sorting the sub-folders by name keeps the order of the identities.
    """

    def __init__(self, path: str | Path, identity_names: Sequence[str]) -> None:
        self.path = Path(path)
        width = max(map(len, identity_names))
        self._names = [name.zfill(width) if name.isdecimal() else name for name in identity_names]
        self._num_faces = 0

    def __enter__(self) -> "FolderWriter":
        self._atomic = atomic_path(self.path)
        self._folder = self._atomic.__enter__()
        self._folder.mkdir()
        return self

    def write(self, encoded: bytes, identity_id: int) -> None:
        """Append one face; ``identity_id`` is a position in ``identity_names``."""
        folder = self._folder / self._names[identity_id]
        folder.mkdir(exist_ok=True)
        suffix = image_suffix(encoded, f"face {self._num_faces}")
        (folder / f"{self._num_faces:09d}{suffix}").write_bytes(encoded)
        self._num_faces += 1

    def __exit__(self, *error: Any) -> None:
        self._atomic.__exit__(*error)
