"""Files that appear whole or not at all, their digests, JSON and arrays."""

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
    """A temporary path beside ``path`` that becomes ``path`` when the block ends well.

    On an error nothing is left: neither the target nor the temporary file or folder. What a killed process left is
    removed when the same path is written again. A file gets the permissions of the umask, whatever the library that
    wrote it gave it (safetensors makes its files private).

    Args:
        path: The file or folder that shall appear; its folder is made if it is missing.

    Yields:
        A path that does not exist yet, in the same folder (so that the rename is atomic).
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.tmp")
    _remove_left_behind(path)
    _remove(temporary)
    try:
        yield temporary
        if temporary.is_file():
            temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        _remove(temporary)


def _remove_left_behind(path: Path) -> None:
    """Remove the temporaries of ``path`` whose process, of this machine, is gone: a dataset's can be of any size."""
    for old in path.parent.glob(f".{glob.escape(f'{path.name}.{platform.node()}')}.*.tmp"):
        number = old.name.split(".")[-2]
        if number.isdecimal() and not _is_running(int(number)):
            _remove(old)


def _is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)  # sends nothing, only asks
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's
    return True


def _umask() -> int:
    """The umask of this process, which can only be read by setting it."""
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


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text; the file appears whole."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write indented JSON with a final newline; the file appears whole. NaN is refused."""
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
    """Rows of a file with one JSON object per line; an unfinished last line is left out."""
    rows = []
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def write_array(path: str | Path, array: "NDArray") -> None:
    """Write one ``.npy`` without pickled objects; the file appears whole."""
    import numpy as np  # here, because commands that only print their help read this module too

    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)
