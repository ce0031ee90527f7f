"""onnxruntime-web, which runs ONNX networks in a browser: its npm archive -> the two files that a page needs.

The archive lies in the folder of weights. npm fetches it there once; where there is no npm, it can be put there by
hand. Its SHA-256 is fixed here.
"""

import shutil
import subprocess
import tarfile
from pathlib import Path

from bench.errors import InputError
from bench.files import atomic_path, sha256

VERSION = "1.30.0"
ARCHIVE = f"onnxruntime-web-{VERSION}.tgz"
_SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
"""The library for the CPU, and the WebAssembly that it loads."""
_TIMEOUT_SECONDS = 300


def copy_runtime(weights: Path, target: Path) -> None:
    """Write the files of ``FILES`` into a folder.

    Args:
        weights: Folder of the archive, which is fetched into it if it is missing.
        target: Folder that gets the files.

    Raises:
        InputError: If the archive is missing and npm cannot fetch it, or if it is another one.
    """
    archive = weights / ARCHIVE
    if not archive.is_file():
        _fetch(archive)
    if sha256(archive) != _SHA256:
        raise InputError(
            f"{archive} is not the archive of onnxruntime-web {VERSION} (other SHA-256); delete it and run the command "
            "again"
        )
    with tarfile.open(archive) as content:
        for name in FILES:
            member = content.extractfile(f"package/dist/{name}")
            if member is None:
                raise InputError(f"{archive} holds no file {name}; delete it and run the command again")
            with atomic_path(target / name) as temporary, temporary.open("wb") as file:
                shutil.copyfileobj(member, file)


def _fetch(archive: Path) -> None:
    by_hand = f"fetch it elsewhere with `npm pack onnxruntime-web@{VERSION}` and save it as {archive}"
    npm = shutil.which("npm")
    if npm is None:
        raise InputError(f"{archive} is missing and npm is not installed; install Node.js, or {by_hand}")
    archive.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(archive) as temporary:
        folder = temporary.parent / f"{temporary.name}.npm"
        folder.mkdir()
        try:
            _pack(npm, folder, by_hand)
            (folder / ARCHIVE).replace(temporary)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _pack(npm: str, folder: Path, by_hand: str) -> None:
    command = [npm, "pack", f"onnxruntime-web@{VERSION}", "--pack-destination", str(folder), "--silent"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        raise InputError(f"npm did not answer in {_TIMEOUT_SECONDS} s; try again, or {by_hand}") from None
    if done.returncode or not (folder / ARCHIVE).is_file():
        reason = " ".join(done.stderr.split())[:160] or f"status {done.returncode}"
        raise InputError(f"npm could not fetch onnxruntime-web {VERSION} ({reason}); try again, or {by_hand}")
