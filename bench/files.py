"""Write files so that they appear whole or not at all; compute digests; read and write text, JSON and arrays."""

import glob
import hashlib
import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path``, renamed to ``path`` when the block ends without an error.

    After an error neither the target nor the temporary file or folder is left. A temporary file of a process that was
    killed is removed the next time the same path is written. The file gets the permissions that the umask allows, since
    some libraries set others (safetensors makes its files private).

    Args:
        path: The file or folder to write; its parent folder is created if it is missing.

    Yields:
        A path that does not exist yet, in the same folder, so that the rename is atomic.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.tmp")
    _remove_abandoned(path)
    _remove(temporary)
    try:
        yield temporary
        if temporary.is_file():
            temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        _remove(temporary)


def _remove_abandoned(path: Path) -> None:
    """Remove temporary files of ``path`` left by processes of this machine that no longer run; they can be large."""
    for old in path.parent.glob(f".{glob.escape(f'{path.name}.{platform.node()}')}.*.tmp"):
        number = old.name.split(".")[-2]
        if number.isdecimal() and not _is_running(int(number)):
            _remove(old)


def _is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)  # signal 0 is not delivered; it only tests whether the process exists
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # it runs as another user
    return True


def _umask() -> int:
    """The umask of this process. It can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


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


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text; the file appears whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write indented JSON with a final newline; the file appears whole or not at all. NaN raises ValueError."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: If the text is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not JSON ({error}); delete it and run the stage again") from None


def read_json_lines(path: str | Path) -> list[dict[str, Any]]:
    """The objects of a JSON Lines file; a last line that was cut short by an interruption is left out."""
    rows = []
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def flatten(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, keys joined by dots: ``{"a": {"b": 1}}`` becomes ``{"a.b": 1}``."""
    flat: dict[str, Any] = {}
    for key, part in value.items():
        flat |= flatten(part, f"{prefix}{key}.") if isinstance(part, dict) else {f"{prefix}{key}": part}
    return flat


def read_array(path: str | Path) -> "NDArray":
    """Read one ``.npy`` without pickled objects.

    Raises:
        InputError: If the file is missing or no regular file, is a ``.npz``, is damaged, or holds Python objects.
    """
    import numpy as np  # here, as in write_array

    path = Path(path)
    if not is_file(path):
        problem = "is not a regular file" if exists(path) else "does not exist"
        raise InputError(f"{path} {problem}; give a .npy file")
    try:
        array = np.load(path, allow_pickle=False)
    except Exception as error:  # NumPy raises errors of many types for a damaged header
        raise InputError(f"{path} is not a whole .npy ({error}); save it with numpy.save") from None
    if not isinstance(array, np.ndarray):
        array.close()
        raise InputError(f"{path} is a .npz, several arrays; save one array with numpy.save")
    return array


def write_array(path: str | Path, array: "NDArray") -> None:
    """Write one ``.npy`` without pickled objects; the file appears whole."""
    import numpy as np  # here, because commands that only print their help read this module too

    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def is_file(path: str | Path) -> bool:
    """Whether a regular file exists there. A name too long for any file is none, where ``Path.is_file`` raises."""
    return os.path.isfile(path)  # noqa: PTH113


def exists(path: str | Path) -> bool:
    """Whether a file or folder exists there. A name too long for any is none, where ``Path.exists`` raises."""
    return os.path.exists(path)  # noqa: PTH110
