"""Download files from the Hugging Face Hub into a folder, and check their digests at every later use.

The first fetch of a file records its SHA-256 and commit in ``fetched.json`` beside the files. Every later use demands
the same bytes, from the file on disk and from the Hub. A transfer that breaks is continued a few times by
huggingface_hub; a command that ends before the file is complete begins the file anew. ``HF_ENDPOINT``,
``HF_HUB_OFFLINE`` and the login of ``hf auth`` work as usual.
"""

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict

from filelock import FileLock

from bench.config.catalogue import Address, load_catalogue
from bench.errors import InputError
from bench.files import read_json_object, sha256, write_json
from bench.machine.digests import remembered_sha256
from bench.markdown import markdown_table

RECORDS = "fetched.json"
_TEMPORARY = ".fetch-"
"""Prefix of the folders of downloads that are not complete."""


class FetchRecord(TypedDict):
    """Entry of a file in ``fetched.json``."""

    sha256: str
    bytes: int
    source: str
    commit: str | None
    """None for a file that was placed by hand."""


@dataclass(frozen=True)
class HubFile:
    """A file in a repository of the Hub."""

    filename: str
    repo_id: str
    repo_type: Literal["model", "dataset"] = "model"

    @property
    def local_name(self) -> str:
        """Name in the local folder, without the repository's folders."""
        return Path(self.filename).name

    @property
    def page(self) -> str:
        """Address of the repository and name of the file, for messages."""
        kind = "datasets/" if self.repo_type == "dataset" else ""
        return f"https://huggingface.co/{kind}{self.repo_id}, file {self.filename}"

    @property
    def address(self) -> Address:
        """Key of the file in catalogue.yaml."""
        return self.repo_type, self.repo_id, self.filename


def list_files(files: Mapping[str, HubFile]) -> str:
    """A Markdown table of files with what catalogue.yaml states: repository, size, licence, SHA-256 and purpose.

    Args:
        files: Name that the command takes -> file. A dash stands for what no source states.
    """
    rows = []
    for name, file in files.items():
        found = load_catalogue().find(file.address)
        licence, size, digest, purpose = None, None, None, None
        if found:
            repository, facts = found
            licence, size, digest, purpose = repository.licence, facts.size, facts.sha256, facts.purpose
        rows.append((name, f"{file.repo_type} {file.repo_id}", file.filename, size, licence, digest, purpose))
    return markdown_table(("name", "repository", "file", "size", "licence", "SHA-256", "what it is for"), rows)


def fetch(file: HubFile, folder: str | Path, *, revision: str = "main") -> Path:
    """Path of the file in ``folder``; it is downloaded if it does not exist.

    A file that was put there by hand is accepted unless catalogue.yaml states another SHA-256; its own is recorded.

    Args:
        file: File of a Hub repository.
        folder: Folder of the file.
        revision: Commit, tag or branch of the repository. A branch is followed only at the first fetch; a file that is
            fetched again must have the recorded SHA-256.

    Returns:
        Path of the file.

    Raises:
        InputError: If it cannot be downloaded (the message says how to place it by hand), if its SHA-256 is not the
            recorded one, or if none is recorded and it is not the one that catalogue.yaml states.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{RECORDS}.lock"):  # a second process waits, then finds the file of the first
        return _fetch(file, folder, revision)


def _fetch(file: HubFile, folder: Path, revision: str) -> Path:
    path = folder / file.local_name
    records = _records(folder)
    known = records.get(file.local_name)
    if path.exists():
        digest, commit = remembered_sha256(path), None
        _check(known, digest, f"{path} was changed")
        if known is None:
            _check_stated(file, digest, str(path), f"delete it to download {file.page}")
    else:
        for abandoned in folder.glob(f"{_TEMPORARY}*"):  # of a killed process; the lock is held
            shutil.rmtree(abandoned)
        with tempfile.TemporaryDirectory(dir=folder, prefix=_TEMPORARY) as temporary:
            downloaded, commit = _download(file, Path(temporary), revision, path)
            digest = sha256(downloaded)
            _check(known, digest, f"{file.page} (revision {revision}) was changed")
            _check_stated(file, digest, file.page, "give the --revision of the file that is stated")
            downloaded.replace(path)
    if known is None:
        source = file.page if commit else "placed by hand"
        entry = FetchRecord(sha256=digest, bytes=path.stat().st_size, source=source, commit=commit)
        write_json(folder / RECORDS, records | {file.local_name: entry})
    return path


def fetched_from(path: Path, digest: str) -> str | None:
    """Repository and commit that a file was fetched from; None if it came otherwise or was changed since.

    Args:
        path: The file.
        digest: Its SHA-256.
    """
    known = _records(path.parent).get(path.name)
    if known is None or known["commit"] is None or known["sha256"] != digest:
        return None
    return f"{known['source']}, commit {known['commit'][:12]}"


def check_fetched(path: Path, digest: str) -> None:
    """Refuse a fetched file whose bytes were changed since. Files that were never fetched pass.

    Args:
        path: The file.
        digest: Its SHA-256.

    Raises:
        InputError: If it was changed since.
    """
    _check(_records(path.parent).get(path.name), digest, f"{path} was changed")


def _records(folder: Path) -> dict[str, FetchRecord]:
    path = folder / RECORDS
    records = read_json_object(path) if path.exists() else {}
    for name, record in records.items():
        if not isinstance(record, dict) or not {"sha256", "source", "commit"} <= record.keys():
            raise InputError(f"{path}: the entry {name!r:.100} has no sha256, source and commit; delete that entry")
    return records


def _check(known: FetchRecord | None, digest: str, what: str) -> None:
    if known is not None and known["sha256"] != digest:
        raise InputError(
            f"{what}: its SHA-256 is {digest[:16]}..., but {known['sha256'][:16]}... was recorded at the first fetch; "
            f"restore the old file, or delete its entry in {RECORDS} to take the new one"
        )


def _check_stated(file: HubFile, digest: str, what: str, remedy: str) -> None:
    """Refuse a file that is new here and has another SHA-256 than catalogue.yaml states, where it states one."""
    found = load_catalogue().find(file.address)
    stated = found[1].sha256 if found else None
    if stated not in (None, digest):
        raise InputError(
            f"{what} has the SHA-256 {digest[:16]}..., but catalogue.yaml states {stated[:16]}...; {remedy}, or "
            "correct the catalogue to take this one"
        )


def _download(file: HubFile, folder: Path, revision: str, target: Path) -> tuple[Path, str]:
    """Download into a folder. Returns the path, and the commit of the revision."""
    from huggingface_hub import hf_hub_download, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    endpoint = os.environ.get("HF_ENDPOINT") or None
    by_hand = f"or download {file.page} by hand to {target}"
    try:
        downloaded = hf_hub_download(
            file.repo_id,
            file.filename,
            repo_type=file.repo_type,
            revision=revision,
            local_dir=folder,
            endpoint=endpoint,
            local_files_only=os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"},
        )
    except LocalEntryNotFoundError:
        host = hf_hub_url(file.repo_id, file.filename, repo_type=file.repo_type, endpoint=endpoint).split("/")[2]
        raise InputError(f"{file.local_name}: {host} cannot be reached (or offline); connect, {by_hand}") from None
    except (EntryNotFoundError, HfHubHTTPError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{file.local_name}: the Hub refuses it ({reason}); check the revision, {by_hand}") from None
    except Exception as error:  # httpx2 and hf_xet raise errors of their own when a transfer breaks
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{file.local_name}: the transfer broke ({reason}); try again, {by_hand}") from error
    return Path(downloaded), _commit(folder, file.filename)


def _commit(folder: Path, filename: str) -> str:
    """The commit of a download: the first line of the metadata file that huggingface_hub writes beside it."""
    metadata = folder / ".cache" / "huggingface" / "download" / f"{filename}.metadata"
    return metadata.read_text().splitlines()[0] if metadata.exists() else "unknown"
