"""Upload a finished dataset to a dataset repository on the Hub.

Without an explicit flag nothing leaves this machine: the files are checked, and the upload is only described.
"""

import os
from pathlib import Path
from typing import Any

from bench.errors import InputError, python_command
from bench.machine.digests import check_digest
from bench.runs.cards import DatasetCard, read_card
from generate.hub.card import README_NAME
from generate.hub.croissant import CROISSANT_NAME, write_croissant

FILES = (README_NAME, CROISSANT_NAME, "dataset.json", "faces.lmdb", "faces.parquet", "grid.png")
"""Files of a dataset that are uploaded."""


def push(directory: str | Path, repo_id: str, *, upload: bool = False, public: bool = False) -> str:
    """Upload a dataset with its card, or say what would be uploaded.

    The address of the Hub is ``HF_ENDPOINT`` if set; the account is the one of ``hf auth login``.

    Args:
        directory: Folder of the dataset, with ``dataset.json``.
        repo_id: Repository ``user/name`` on the Hub, created if it does not exist.
        upload: Whether to upload; False only checks the files and describes the upload.
        public: Whether a repository that is created becomes public; it is private otherwise.

    Returns:
        One line that says what was uploaded, or would be.

    Raises:
        InputError: If a file is missing, faces.lmdb was changed after generation, ``repo_id`` is not ``user/name``, or
            the Hub refuses the upload.
    """
    directory = Path(directory)
    if repo_id.count("/") != 1 or not all(repo_id.split("/")):
        raise InputError(f"repository {repo_id!r} is not user/name; give one such as somebody/vec2face-mini")
    card = _check_files(directory)
    num_bytes = sum((directory / name).stat().st_size for name in FILES)
    description = f"{len(FILES)} files ({num_bytes / 1e6:.1f} MB) of {directory} to dataset {repo_id}"
    if not upload:
        return f"would upload {description}, {'public' if public else 'private'}; add --upload to do it"
    return f"uploaded {description}: {_upload(directory, repo_id, name=card.name, public=public)}"


def _check_files(directory: Path) -> DatasetCard:
    """The card of a dataset whose files are all there and unchanged.

    Raises:
        InputError: If they are not.
    """
    card = read_card(directory, DatasetCard)
    if (directory / "faces.lmdb").is_file() and not (directory / CROISSANT_NAME).exists():
        write_croissant(directory, card)  # a dataset that was finished before these files were written
    missing = [name for name in FILES if not (directory / name).is_file()]
    if missing:
        raise InputError(
            f"{directory} has no {missing[0]}; give the folder of a dataset that {python_command('generate')} finished"
        )
    check_digest(directory / "faces.lmdb", card.content_sha256 or "none", "make the faces again")
    return card


def _upload(directory: Path, repo_id: str, *, name: str, public: bool) -> str:
    """Commit the files to the repository; returns the address of the commit."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    # the base of HfHubHTTPError is the error of the HTTP library that the installed huggingface_hub uses
    transport_errors: tuple[Any, ...] = HfHubHTTPError.__bases__
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)
    try:
        api.create_repo(repo_id, repo_type="dataset", private=not public, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo_id,
            repo_type="dataset",
            folder_path=directory,
            allow_patterns=list(FILES),
            commit_message=f"Upload {name}",
        )
    except (*transport_errors, OSError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"the Hub did not take {repo_id} ({reason}); log in with hf auth login, try again") from None
    return str(commit.commit_url)
