"""Reads and writes a folder with one sub-folder of face images per identity."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import InputError
from bench.faces.face import IMAGE_SUFFIXES, SelectedFaces, image_suffix
from bench.files import atomic_path, is_hidden
from bench.machine.progress import note


def has_image_suffix(name: str) -> bool:
    """Whether a file of this name is read as an image, by its suffix in upper or lower case."""
    return name[name.rfind(".") :].lower() in IMAGE_SUFFIXES


def sub_folders(path: Path) -> list[Path]:
    """Sub-folders and links to folders that are not hidden, sorted by name."""
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not is_hidden(entry.name))


def list_images(folder: Path, unread: Counter[str], *, recursive: bool = True) -> list[Path]:
    """Image files of a folder and the folders below it, sorted by path. Links are followed; hidden names are left out.

    A broken link counts as an image if it is named like one, so that reading it says what is wrong.

    Args:
        folder: Where to look.
        unread: Receives the number of files that are not read, by the reason that ``note_unread`` prints.
        recursive: Whether to look into folders below.
    """
    images: list[Path] = []
    resolved = folder.resolve()
    waiting = [(folder, {resolved, *resolved.parents})]  # each with the folders above it, to which no link is followed
    while waiting:
        current, above = waiting.pop()
        with os.scandir(current) as entries:
            for entry in entries:
                if is_hidden(entry.name):
                    continue
                path, is_link = current / entry.name, entry.is_symlink()
                is_folder = path.is_dir() if is_link else entry.is_dir()  # entry.is_dir() raises at a circular link
                if is_folder and is_link and path.resolve() in above:
                    unread["links to a folder above them"] += 1
                elif is_folder:
                    if recursive:
                        waiting.append((path, above | {path.resolve()}))
                elif not has_image_suffix(entry.name):
                    unread[path.suffix.lower() or "without a suffix"] += 1
                elif (path.is_file() or not path.exists()) if is_link else entry.is_file():
                    images.append(path)
                else:
                    unread["no regular files"] += 1
    return sorted(images)


def note_unread(folder: Path, unread: Counter[str]) -> None:
    """Print one line with the files of a folder that are not read, if there are any."""
    if unread:
        reasons = ", ".join(f"{reason} ({count})" for reason, count in sorted(unread.items()))
        _note_once(f"{folder}: {unread.total()} files were not read: {reasons}")


def _note_once(text: str) -> None:
    """Print a line on stderr, by the first of several processes only."""
    if os.environ.get("RANK", "0") == "0":
        note(text)


def read_image_file(path: Path) -> bytes:
    """The bytes of an image file.

    Raises:
        InputError: If the file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); replace it or mask it out") from None


class FolderFaces(SelectedFaces):
    """A folder with one sub-folder of images per identity, in the order of the names of folders and files.

    Images in deeper folders (``ann/profile/1.jpg``) belong to the identity of the first level.
    """

    has_names = True

    def __init__(self, path: Path) -> None:
        """List the images. Identities without images, and files that are not read, are counted on stderr.

        Raises:
            InputError: If there is no image.
        """
        self.path = path
        self.identity_names = []
        self._files: list[Path] = []
        labels: list[int] = []
        unread: Counter[str] = Counter()
        folders = sub_folders(path)
        for folder in folders:
            files = list_images(folder, unread)
            if files:
                self._files += files
                labels += [len(self.identity_names)] * len(files)
                self.identity_names.append(folder.name)
        if unread_images := list_images(path, Counter(), recursive=False):
            unread["images outside the identities' folders"] = len(unread_images)
        note_unread(path, unread)
        if not self._files:
            raise InputError(f"{path} holds no image in any sub-folder; give a folder with one sub-folder per identity")
        if num_empty := len(folders) - len(self.identity_names):
            _note_once(f"{path}: {num_empty} of {len(folders)} identities have no image and are left out")
        self.identity_ids = np.asarray(labels, dtype=np.int64)
        self._positions = np.arange(len(labels))

    def encoded(self, index: int) -> bytes:
        """The image file of one face."""
        return read_image_file(self._files[self._positions[index]])

    def name(self, index: int) -> str:
        """Path of the image."""
        return str(self._files[self._positions[index]])


class FolderWriter:
    """Writes a folder with one sub-folder per identity. It appears when the block ends, or not at all after an error.

    Usage: ``with FolderWriter(folder, names) as writer: writer.write(jpeg, identity_id)``. Names that are numbers are
    padded with zeros, so that sorting the sub-folders by name keeps the order of the identities; not where two would
    become one (``1`` and ``01``). PART/NAME of a mixture becomes PART_NAME; where two would become one, the number of
    the identity is put before every name.
    """

    def __init__(self, path: str | Path, identity_names: Sequence[str]) -> None:
        self.path = Path(path)
        self._names = _folder_names(identity_names)
        self._written: set[int] = set()
        self._num_faces = 0

    def __enter__(self) -> "FolderWriter":
        self._atomic = atomic_path(self.path)
        self._folder = self._atomic.__enter__()
        self._folder.mkdir()
        return self

    def write(self, encoded: bytes, identity_id: int, *, number: int | None = None) -> None:
        """Append one face.

        Args:
            encoded: The image file.
            identity_id: Position in ``identity_names``.
            number: Names the file within its identity's folder; None takes the number of faces written so far.

        Raises:
            InputError: If another identity has the same folder, since their names are equal, or differ in case only
                on a disk that ignores case.
        """
        folder = self._folder / self._names[identity_id]
        if identity_id not in self._written:
            try:
                folder.mkdir()
            except FileExistsError:
                raise InputError(
                    f"identity {folder.name!r} has the folder of an earlier one; rename it, or write another layout"
                ) from None
            self._written.add(identity_id)
        suffix = image_suffix(encoded, f"face {self._num_faces}")
        (folder / f"{self._num_faces if number is None else number:09d}{suffix}").write_bytes(encoded)
        self._num_faces += 1

    def __exit__(self, *error: Any) -> None:
        self._atomic.__exit__(*error)


def _folder_names(identity_names: Sequence[str]) -> list[str]:
    """Name of each identity's folder, see ``FolderWriter``. Folders whose name begins with a dot would not be read."""
    names = [re.sub(r"^\.|/", "_", name) for name in identity_names]
    if len(set(names)) < len(set(identity_names)):
        names = [f"{number:0{len(str(len(names)))}d}_{name}" for number, name in enumerate(names)]
    width = max(map(len, names))
    padded = [name.zfill(width) if name.isdecimal() else name for name in names]
    return padded if len(set(padded)) == len(padded) else names
