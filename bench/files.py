"""Write files so that they appear whole or not at all; compute digests; read and write text, JSON and arrays."""

import errno
import hashlib
import json
import os
import platform
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bench.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydantic import BaseModel

Model = TypeVar("Model", bound="BaseModel")
DISK_ERRORS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EIO: "the disk reports an error",
    errno.EFBIG: "the file is too large for this disk or for ulimit -f",
}
"""Error number of a disk that takes no more data -> words for messages."""
_TEMPORARY = re.compile(r"\.(?P<stem>.+)\.(?P<process>\d+)\.tmp")
_PROBE_BYTES = 1 << 16
_CLOCK_TOLERANCE_SECONDS = 2.0
_POLL_SECONDS = 0.2
PARTS_NAME = "parts"
"""Sub-folder of the shards of a dataset that is being made; ``remove_parts`` deletes it."""


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path``, renamed to ``path`` when the block ends without an error.

    If the block raises, the temporary file or folder is removed and ``path`` stays as it was. What a killed process
    left is removed the next time the same path is written. The file gets the permissions that the umask allows, since
    some libraries set others (safetensors makes its files private).

    Args:
        path: The file or folder to write; its parent folder is created if it is missing.

    Yields:
        A path that does not exist yet, in the same folder, so that the rename is atomic.

    Raises:
        OSError: If the disk takes no more data, also where a library reports that in another way.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.tmp")
    remove_abandoned(path.parent, path.name)
    _remove(temporary)
    try:
        yield temporary
        if temporary.is_file():
            temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except InputError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in (None, *DISK_ERRORS):
            raise
        number = error.errno if isinstance(error, OSError) else None
        if number in (None, errno.EIO):
            number = _errno_in_text(error) or _errno_of_writing(temporary) or number
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error
    finally:
        _remove(temporary)


def refuse_overwriting(source: str | Path, target: str | Path) -> None:
    """Refuse to write a result over what it is made from.

    Raises:
        InputError: If both are the same file or folder.
    """
    if Path(source).resolve() == Path(target).resolve():
        raise InputError(f"{target} is what the result is made from, and would be lost; give another --out")


def _errno_in_text(error: Exception) -> int | None:
    """The number of a disk's error in the text of an error of a Rust library such as safetensors, else None."""
    match = re.search(r"\(os error (\d+)\)", str(error))
    return int(match[1]) if match and int(match[1]) in DISK_ERRORS else None


def _errno_of_writing(temporary: Path) -> int | None:
    """The error number of the disk if it takes no more data, else None.

    torch, lmdb, NumPy and Pillow hide the number in errors of their own, so this writes a few more bytes to find it.
    """
    file = temporary / ".more" if temporary.is_dir() else temporary
    try:
        with file.open("ab", buffering=0) as stream:
            stream.write(bytes(_PROBE_BYTES))
            os.fsync(stream.fileno())
    except OSError as error:
        return error.errno
    return None


def remove_abandoned(folder: Path, name: str | None = None, *, also_of_other_machines: bool = False) -> None:
    """Remove the temporary files in a folder that killed processes left; they can be large.

    Args:
        folder: The folder.
        name: Only temporary files of this file; None for those of all files, in sub-folders too.
        also_of_other_machines: Whether to remove those of other machines, whose processes cannot be looked up. Only for
            a caller that holds the lock of the folder.
    """
    for old in folder.glob(".*.tmp") if name is not None else folder.rglob(".*.tmp"):
        match = _TEMPORARY.fullmatch(old.name)
        if not match or (name is not None and match["stem"] != f"{name}.{platform.node()}"):
            continue
        if match["stem"].endswith(f".{platform.node()}"):
            is_abandoned = _has_no_writer(old, int(match["process"]))
        else:
            is_abandoned = also_of_other_machines
        if is_abandoned:
            _remove(old)


def _has_no_writer(temporary: Path, process_id: int) -> bool:
    """Whether no process of this number runs, or only a zombie, or one that started after the file was written."""
    import psutil  # here, because commands that only print their help read this module too

    try:
        process = psutil.Process(process_id)
        is_other = process.create_time() > temporary.stat().st_mtime + _CLOCK_TOLERANCE_SECONDS
        return process.status() == psutil.STATUS_ZOMBIE or is_other
    except (psutil.NoSuchProcess, FileNotFoundError):
        return True
    except psutil.AccessDenied:
        return False  # it runs as another user


def _umask() -> int:
    """The umask of this process. It can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _remove(path: Path) -> None:
    """Remove a file or a folder; another process may remove it at the same time."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def wait_for_files(paths: Sequence[Path], is_over: Callable[[], bool] = lambda: False) -> None:
    """Return when all files exist, which other processes write.

    Args:
        paths: The files.
        is_over: Whether the files will not appear any more.

    Raises:
        FileNotFoundError: If a file does not exist and ``is_over`` is true.
    """
    for path in paths:
        while not path.exists():
            if is_over():
                raise FileNotFoundError(path)
            time.sleep(_POLL_SECONDS)


def wait_for_any_file(paths: Sequence[Path], is_over: Callable[[], bool] = lambda: False) -> None:
    """As ``wait_for_files``, but return when one of the files exists."""
    while not any(path.exists() for path in paths):
        if is_over():
            raise FileNotFoundError(paths[0])
        time.sleep(_POLL_SECONDS)


def remove_parts(directory: str | Path) -> None:
    """Delete the shards of a dataset whose card is written."""
    shutil.rmtree(Path(directory) / PARTS_NAME, ignore_errors=True)


def sha256(path: str | Path) -> str:
    """SHA-256 of a file, in lower-case hexadecimal (64 characters)."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name belongs to the system or a tool, not to the data.

    These are names that start with a dot (``._0.jpg`` of macOS, ``.ipynb_checkpoints``, ``.Trash-0``), ``__MACOSX``
    of zip files and ``@eaDir`` of Synology's disks. Folders, shards and archives are read as if they were not there.
    """
    return name.startswith(".") or name in ("__MACOSX", "@eaDir")


def read_text(path: str | Path) -> str:
    r"""Read UTF-8 text, with or without a byte-order mark; every line end becomes ``\n``.

    Raises:
        InputError: If the file is missing or no regular file, or if its text has another encoding.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} is missing; give an existing text file")
    if not path.is_file():
        raise InputError(f"{path} is not a regular file; give a text file")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from None
    if "\0" in text:  # UTF-16 without its mark decodes as UTF-8, with a zero byte beside every letter
        raise InputError(f"{path} holds zero bytes, so it is not UTF-8 text; save it as UTF-8")
    return text


def append_text(path: Path, text: str) -> None:
    """Append to a text file, which is created if it is missing.

    Raises:
        OSError: If the disk takes no more data; unlike Python's own error it names the file.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text; the file appears whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write indented JSON with a final newline; the file appears whole or not at all. NaN raises ValueError."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file. As the JSON that this suite writes, it may not hold NaN or an infinity.

    Raises:
        InputError: If the file is missing or its text is not JSON.
    """
    text = read_text(path)
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:  # ValueError also for numbers of thousands of digits
        raise InputError(f"{path} is not JSON ({error}); delete it and run the stage again") from None


def read_model(path: Path, model: type[Model], *, schema_version: int, advice: str) -> Model:
    """Read a JSON file that has a schema.

    Args:
        path: The file.
        model: The schema, a pydantic model with a field ``schema_version``.
        schema_version: The newest version that this code reads.
        advice: What to do with a file that does not fit, as an instruction.

    Raises:
        InputError: If the file is no JSON, of a newer version, or does not fit the schema.
    """
    from pydantic import ValidationError  # here, so that the command lines start before it is loaded

    content = read_json(path)
    version = content.get("schema_version") if isinstance(content, dict) else None
    if isinstance(version, int) and version > schema_version:
        raise InputError(f"{path} has schema {version}, this code reads up to {schema_version}; update the code")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "its top level"
        mistakes = f" ({error.error_count()} mistakes)"
        raise InputError(f"{path}: {field}: {first['msg'][:200]}{mistakes}; {advice}") from None


def read_json_object(path: str | Path) -> dict[str, Any]:
    """Read a JSON file whose top level is an object.

    Raises:
        InputError: If the file is missing, its text is not JSON, or its top level is another value.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a {type(content).__name__}, not an object; delete it and run the stage again")
    return content


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def read_json_lines(path: str | Path) -> list[dict[str, Any]]:
    """The objects of a JSON Lines file up to the first broken line, which an interruption may have cut short."""
    rows = []
    for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not isinstance(row, dict):
            break
        rows.append(row)
    return rows


def flatten(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, keys joined by dots: ``{"a": {"b": 1}}`` becomes ``{"a.b": 1}``."""
    flat: dict[str, Any] = {}
    for key, part in value.items():
        flat |= flatten(part, f"{prefix}{key}.") if isinstance(part, dict) else {f"{prefix}{key}": part}
    return flat


def read_array(path: str | Path, *, is_mapped: bool = False, fix: str = "save it with numpy.save") -> "NDArray":
    """Read one ``.npy`` without pickled objects.

    Args:
        path: The file.
        is_mapped: Map it into memory, read-only: a damaged header then cannot ask for more than the file holds.
        fix: What the user can do about a damaged file, for the message.

    Raises:
        InputError: If the file is missing or no regular file, is a ``.npz``, is damaged, or holds Python objects.
    """
    import numpy as np  # here, as in write_array

    path = Path(path)
    if not is_file(path):
        problem = "is not a regular file" if exists(path) else "does not exist"
        raise InputError(f"{path} {problem}; give a .npy file")
    try:
        array = np.load(path, mmap_mode="r" if is_mapped else None, allow_pickle=False)
    except Exception as error:  # NumPy raises errors of many types for a damaged header: it is parsed as Python
        reason = f"{type(error).__name__}: {error}"[:200]
        raise InputError(f"{path} is not a whole .npy ({reason}); {fix}") from None
    if not isinstance(array, np.ndarray):
        array.close()
        raise InputError(f"{path} is a .npz, several arrays; give a .npy file, one array")
    return array


def read_arrays(path: str | Path, *, fix: str) -> "dict[str, NDArray]":
    """Read all arrays of a ``.npz`` without pickled objects.

    Args:
        path: The file.
        fix: What the user can do about a missing or damaged file, for the message.

    Raises:
        InputError: If the file is missing or damaged, or holds anything but arrays.
    """
    import numpy as np  # here, as in write_array

    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as error:  # zipfile and NumPy raise errors of many types for damaged files
        raise InputError(f"{path} is not a whole .npz ({str(error)[:200]}); {fix}") from None
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):
        raise InputError(f"{path} holds files that are no arrays; {fix}")  # NumPy returns these as bytes
    return arrays


def write_array(path: str | Path, array: "NDArray") -> None:
    """Write one ``.npy`` without pickled objects; the file appears whole."""
    import numpy as np  # imported late, so that --help of the commands stays quick

    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def is_file(path: str | Path) -> bool:
    """Whether a regular file exists there; False for a name too long for any file, where ``Path.is_file`` raises."""
    return os.path.isfile(path)  # noqa: PTH113


def exists(path: str | Path) -> bool:
    """Whether a file or folder exists there; False for a name too long for either, where ``Path.exists`` raises."""
    return os.path.exists(path)  # noqa: PTH110
