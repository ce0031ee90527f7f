"""Weights, identity vectors and published datasets from the Hugging Face Hub into one folder, checked ever after.

Files come from the Vec2Face authors' repositories (names as in their README). The first fetch of a file records its
SHA-256 and commit in ``fetched.json`` beside the files; from then on the same bytes are demanded, of what lies there
and of what the Hub sends. A transfer that breaks goes on where it stopped (huggingface_hub asks for the rest).
``HF_ENDPOINT``, ``HF_HUB_OFFLINE`` and the login of ``hf auth`` count as they do everywhere.
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.config import nearest
from bench.errors import InputError
from bench.files import read_json, sha256, write_json

RECORDS = "fetched.json"


@dataclass(frozen=True)
class HubFile:
    """A file in a repository of the Hub."""

    filename: str
    repo_id: str = "BooBooWu/Vec2Face"
    repo_type: Literal["model", "dataset"] = "model"

    @property
    def local_name(self) -> str:
        """Name in the folder of weights: without the repository's folders."""
        return Path(self.filename).name

    @property
    def page(self) -> str:
        """Where a person finds it."""
        kind = "datasets/" if self.repo_type == "dataset" else ""
        return f"https://huggingface.co/{kind}{self.repo_id}, file {self.filename}"


CATALOGUE = {
    "generator": HubFile("weights/vec2face_generator.pth"),
    "arcface-r100": HubFile("weights/arcface-r100-glint360k.pth"),
    "magface-r100": HubFile("weights/magface-r100-glint360k.pth"),
    "6drepnet": HubFile("weights/6DRepNet_300W_LP_AFLW2000.pth"),
    "center-features": HubFile("weights/center_feature_examples.npy"),
    **{f"fr-{size}": HubFile(f"fr_weights/{size}.pth") for size in ("hsface10k", "hsface20k", "hsface100k")},
    **{f"fr-{size}": HubFile(f"fr_weights/{size}.pth") for size in ("hsface200k", "hsface300k")},
    **{f"faces-{size}": HubFile(f"HSFaces/{size}.lmdb", repo_type="dataset") for size in ("hsface10k", "hsface20k")},
    "faces-webface4m": HubFile("lmdb_dataset/WebFace4M/WebFace4M.lmdb", repo_type="dataset"),
    "mask-webface4m": HubFile("lmdb_dataset/WebFace4M/50000_ids_1022444_ims.npy", repo_type="dataset"),
}
"""What ``python -m generate fetch`` knows by name."""
GENERATION = ("generator", "arcface-r100", "magface-r100", "6drepnet")


def find_file(name: str) -> HubFile:
    """The catalogue's entry.

    Raises:
        InputError: If the name is unknown (says the nearest).
    """
    if name not in CATALOGUE:
        raise InputError(f"file {name!r} is unknown; {nearest(name, list(CATALOGUE))}")
    return CATALOGUE[name]


def fetch(file: HubFile, weights: str | Path, *, revision: str = "main") -> Path:
    """The file in ``weights``; downloaded if it is not there yet.

    A file that was put there by hand is taken as it is, and its SHA-256 recorded.

    Args:
        file: What to fetch.
        weights: Folder of weights.
        revision: Commit, tag or branch of the repository. A branch is followed only at the first fetch; a file that is
            fetched again must have the recorded SHA-256.

    Returns:
        Path of the file.

    Raises:
        InputError: If it cannot be had (says how to place it by hand), or differs from what was recorded.
    """
    weights = Path(weights)
    path = weights / file.local_name
    records: dict[str, dict[str, Any]] = read_json(weights / RECORDS) if (weights / RECORDS).exists() else {}
    known = records.get(file.local_name)
    if path.exists():
        digest, commit = sha256(path), None
        _check(known, digest, f"{path} was changed")
    else:
        weights.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=weights, prefix=".fetch-") as folder:
            downloaded, commit = _download(file, Path(folder), revision)
            digest = sha256(downloaded)
            _check(known, digest, f"{file.page} (revision {revision}) was changed")
            downloaded.replace(path)
    if known is None:
        source = file.page if commit else "placed by hand"
        entry = {"sha256": digest, "bytes": path.stat().st_size, "source": source, "commit": commit}
        write_json(weights / RECORDS, records | {file.local_name: entry})
    return path


def _check(known: dict[str, Any] | None, digest: str, what: str) -> None:
    if known is not None and known["sha256"] != digest:
        raise InputError(
            f"{what}: its SHA-256 is {digest[:16]}..., but {known['sha256'][:16]}... was recorded at the first fetch; "
            f"restore the old file, or delete its entry in {RECORDS} to take the new one"
        )


def _download(file: HubFile, folder: Path, revision: str) -> tuple[Path, str]:
    """Download into a folder; the path, and the commit that the revision stands for."""
    from huggingface_hub import hf_hub_download, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    endpoint = os.environ.get("HF_ENDPOINT") or None
    where: dict[str, Any] = {"repo_id": file.repo_id, "filename": file.filename, "repo_type": file.repo_type}
    by_hand = f"or download {file.page} by hand into the folder of weights as {file.local_name}"
    try:
        downloaded = hf_hub_download(
            **where,
            revision=revision,
            local_dir=folder,
            endpoint=endpoint,
            local_files_only=os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"},
        )
    except LocalEntryNotFoundError:
        host = hf_hub_url(**where, endpoint=endpoint).split("/")[2]
        raise InputError(f"{file.local_name}: {host} cannot be reached (or offline); connect, {by_hand}") from None
    except (EntryNotFoundError, HfHubHTTPError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{file.local_name}: the Hub refuses it ({reason}); check the revision, {by_hand}") from None
    except OSError as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{file.local_name}: the transfer broke ({reason}); try again, {by_hand}") from None
    return Path(downloaded), _commit(folder, file.filename)


def _commit(folder: Path, filename: str) -> str:
    """The commit that huggingface_hub notes beside a download: the first line of its metadata file."""
    metadata = folder / ".cache" / "huggingface" / "download" / f"{filename}.metadata"
    return metadata.read_text().splitlines()[0] if metadata.exists() else "unknown"
