"""``mlflow.json`` beside a card: what was sent of the folder, and where to."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from bench.errors import InputError
from bench.files import read_json
from bench.runs.tracking.addresses import shown_uri, tracking_uri

SENT_NAME = "mlflow.json"


class _SentNote(BaseModel):
    """``mlflow.json``: what was sent of a folder, and where to."""

    tracking_uri: str
    run_id: str
    card_sha256: str | None = None
    step: int = -1
    files: list[str] = []


def read_note(directory: Path, runs: Path) -> dict[str, Any]:
    """What ``mlflow.json`` says was sent to this store; empty if the file is missing, damaged or of another store."""
    try:
        note = _SentNote.model_validate(read_json(directory / SENT_NAME))
    except (FileNotFoundError, InputError, ValidationError):
        return {}
    known = {tracking_uri(runs), shown_uri(runs)}  # older notes hold the address with its password
    return note.model_dump(exclude_none=True) if note.tracking_uri in known else {}
