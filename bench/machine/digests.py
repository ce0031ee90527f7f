"""SHA-256 of files and folders, cached: an unchanged file is not read again.

Digests are kept in one SQLite file per user (``$XDG_CACHE_HOME/hsface-bench/digests.sqlite``, by default below
``~/.cache``), under the path of the file together with its size, inode, and times of change. Deleting that file is
always safe. A file that changed less than two seconds ago is hashed every time, because a second change might leave
the same time.
"""

import hashlib
import os
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from bench.errors import InputError
from bench.files import is_hidden, sha256
from bench.machine.progress import progress

_LMDB_LOCK = "lock.mdb"
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
_SETTLED_NANOSECONDS = 2 * 10**9
_FILES_AT_ONCE = 10_000
"""Files that are handed to the threads at once; a folder may hold millions."""


def is_ignored(name: str) -> bool:
    """Whether an entry of a folder holds no data: hidden, or the lock of an LMDB, which changes when it is read."""
    return is_hidden(name) or name == _LMDB_LOCK


def remembered_sha256(path: str | Path, *, without: str | None = None) -> str:
    """SHA-256 of a file's bytes, or of a folder's contents.

    The digest of a folder is that of the relative paths and the bytes of its files, at any depth, without ignored ones
    (``is_ignored``). It does not depend on where the folder lies, nor on times or permissions.

    Args:
        path: The file or folder.
        without: Suffix of files of a folder that do not count, such as ``.txt``.

    Raises:
        InputError: If the path is neither a file nor a folder.
        FileNotFoundError: If the path does not exist.
        PermissionError: If it cannot be read.
    """
    path = Path(path).resolve(strict=True)
    if not (path.is_file() or path.is_dir()):
        raise InputError(f"{path} is a pipe or a device; give a file or a folder")
    key = os.fsencode(path) + (f"\0without {without}".encode() if without else b"")
    started = time.time_ns()
    state, newest = _state(path, without)
    known = _recall(key, state)
    if known is not None:
        return known
    digest = _folder_sha256(path, without) if path.is_dir() else sha256(path)
    if newest < started - _SETTLED_NANOSECONDS and _state(path, without)[0] == state:
        _remember(key, state, digest)
    return digest


def check_digest(path: Path, expected: str, remedy: str) -> None:
    """Refuse a file whose bytes are not those that its card records.

    Args:
        path: The file.
        expected: SHA-256 in the card.
        remedy: What to do about a changed file, as an instruction.

    Raises:
        InputError: If the file is missing, or its SHA-256 is another.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing; {remedy}")
    digest = remembered_sha256(path)
    if digest != expected:
        raise InputError(
            f"{path} was changed: its SHA-256 is {digest[:16]}..., its card says {expected[:16]}...; {remedy}"
        )


def last_change(path: Path) -> float:
    """Time in seconds (as ``time.time``) when the content of a file, or of any file of a folder, was last changed."""
    files = data_files(path) if path.is_dir() else [path]
    return max((file.stat().st_mtime for file in files), default=0.0)


def has_ignored_images(folder: Path) -> bool:
    """Whether images lie among the ignored files of a folder."""
    for directory, _, names in os.walk(folder):
        is_hidden = any(is_ignored(part) for part in Path(directory).relative_to(folder).parts)
        for name in names:
            if name.lower().endswith(_IMAGE_SUFFIXES) and (is_hidden or is_ignored(name)):
                return True
    return False


def data_files(folder: Path) -> Iterator[Path]:
    """Every file below a folder at any depth, in the order of their names, without ignored files and folders.

    Links are followed, but a link to a folder above itself is not. Pipes and devices are left out.
    """
    yield from (Path(entry.path) for entry in _data_entries(str(folder), ()))


def _data_entries(folder: str, above: tuple[str, ...]) -> Iterator["os.DirEntry[str]"]:
    above = (*above, os.path.realpath(folder))
    with os.scandir(folder) as scanned:
        entries = sorted((entry for entry in scanned if not is_ignored(entry.name)), key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_file():
            yield entry
        elif entry.is_dir() and not (entry.is_symlink() and os.path.realpath(entry.path) in above):
            yield from _data_entries(entry.path, above)


def _state(path: Path, without: str | None) -> tuple[str, int]:
    """Text that changes with the content of a file or folder, and the newest of its times in nanoseconds."""
    if not path.is_dir():
        status = path.stat()
        return _describe(status), max(status.st_mtime_ns, status.st_ctime_ns)
    total, newest = hashlib.sha256(), 0
    for entry in _data_entries(str(path), ()):
        if without and entry.name.endswith(without):
            continue
        status = entry.stat()
        newest = max(newest, status.st_mtime_ns, status.st_ctime_ns)
        total.update(os.fsencode(f"{entry.path.removeprefix(str(path))}\0{_describe(status)}\n"))
    return f"folder {total.hexdigest()}", newest


def _describe(status: os.stat_result) -> str:
    """Size, inode and times of a file. Programs can set mtime back, but not ctime."""
    return f"{status.st_size} {status.st_ino} {status.st_mtime_ns} {status.st_ctime_ns}"


def _folder_sha256(folder: Path, without: str | None) -> str:
    files = [file for file in data_files(folder) if not (without and file.name.endswith(without))]
    total = hashlib.sha256()
    with ThreadPoolExecutor() as pool, progress(desc=f"digest of {folder.name}", total=len(files), unit="file") as bar:
        for start in range(0, len(files), _FILES_AT_ONCE):
            batch = files[start : start + _FILES_AT_ONCE]
            for file, digest in zip(batch, pool.map(sha256, batch), strict=True):
                total.update(os.fsencode(f"{file.relative_to(folder).as_posix()}\0{digest}\n"))
            bar.update(len(batch))
    return total.hexdigest()


def _cache_path() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "hsface-bench" / "digests.sqlite"


def _connect() -> sqlite3.Connection:
    path = _cache_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=10)
    connection.execute("CREATE TABLE IF NOT EXISTS digests (path BLOB PRIMARY KEY, state TEXT, sha256 TEXT)")
    return connection


def _recall(key: bytes, state: str) -> str | None:
    question = "SELECT sha256 FROM digests WHERE path = ? AND state = ?"
    try:
        with closing(_connect()) as connection:
            row = connection.execute(question, (key, state)).fetchone()
    except (sqlite3.Error, OSError, RuntimeError):  # RuntimeError: the user has no home directory
        return None
    return row[0] if row else None


def _remember(key: bytes, state: str, digest: str) -> None:
    """Store a digest. Errors are ignored: without the cache, a digest is only computed again."""
    try:
        with closing(_connect()) as connection, connection:
            connection.execute("INSERT OR REPLACE INTO digests VALUES (?, ?, ?)", (key, state, digest))
    except (sqlite3.Error, OSError, RuntimeError):
        return
