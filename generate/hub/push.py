"""A finished dataset -> a dataset repository on the Hub; nothing leaves this machine without an explicit flag."""

import os
from pathlib import Path
from typing import Any

from bench.errors import InputError
from bench.files import sha256
from bench.runs.cards import DatasetCard, read_card
from generate.hub.card import README_NAME

FILES = (README_NAME, "dataset.json", "faces.lmdb", "faces.parquet", "grid.png")


def push(directory: str | Path, repo_id: str, *, upload: bool = False, public: bool = False) -> str:
    """Upload a dataset with its card, or say what would be uploaded.

    ``HF_ENDPOINT`` and the login of ``hf auth`` count as they do everywhere.

    Args:
        directory: Folder of the dataset, with ``dataset.json``.
        repo_id: ``user/name`` on the Hub; made if it is not there.
        upload: False only describes.
        public: Whether a new repository can be seen by everybody.

    Returns:
        One line: what was done, or would be.

    Raises:
        InputError: If the dataset is not finished or was changed since, the name is none, or the Hub refuses.
    """
    directory = Path(directory)
    if repo_id.count("/") != 1 or not all(repo_id.split("/")):
        raise InputError(f"repository {repo_id!r} is not user/name; give one such as somebody/hsface10k")
    _check_whole(directory)
    num_bytes = sum((directory / name).stat().st_size for name in FILES)
    what = f"{len(FILES)} files ({num_bytes / 1e6:.1f} MB) of {directory} to dataset {repo_id}"
    if not upload:
        return f"would upload {what}, {'public' if public else 'private'}; add --upload to do it"
    return f"uploaded {what}: {_upload(directory, repo_id, public=public)}"


def _check_whole(directory: Path) -> None:
    card = read_card(directory, DatasetCard)
    missing = [name for name in FILES if not (directory / name).is_file()]
    if missing:
        raise InputError(f"{directory} has no {missing[0]}; push a dataset that python -m generate made and finished")
    digest = sha256(directory / "faces.lmdb")
    if digest != card.content_sha256:
        raise InputError(
            f"{directory}/faces.lmdb was changed: its SHA-256 is {digest[:16]}..., its card says "
            f"{(card.content_sha256 or 'none')[:16]}...; generate it again"
        )


def _upload(directory: Path, repo_id: str, *, public: bool) -> str:
    """Commit the files; the address of the commit."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    transport_errors: tuple[Any, ...] = (
        HfHubHTTPError.__bases__
    )  # of whichever HTTP library this huggingface_hub uses, and OSError
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)
    try:
        api.create_repo(repo_id, repo_type="dataset", private=not public, exist_ok=True)
        done = api.upload_folder(
            repo_id=repo_id,
            repo_type="dataset",
            folder_path=directory,
            allow_patterns=list(FILES),
            commit_message=f"Upload {read_card(directory, DatasetCard).name}",
        )
    except (*transport_errors, OSError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"the Hub did not take {repo_id} ({reason}); log in with hf auth login, try again") from None
    return str(done.commit_url)
