"""``mlflow.json`` beside a card: which run of the store belongs to the folder, and which card that run holds."""

from pathlib import Path

from pydantic import BaseModel, ValidationError

from bench.errors import InputError
from bench.files import read_json, write_json
from bench.runs.tracking.addresses import shown_uri, tracking_uri

SENT_NAME = "mlflow.json"


class Note(BaseModel):
    """Content of ``mlflow.json``."""

    tracking_uri: str
    run_id: str
    card_sha256: str | None = None
    """Of the card that the run holds; None while the stage runs, or where sending it has failed so far."""


def read_note(directory: Path, runs: Path) -> Note | None:
    """The note of a folder; None if it is missing, damaged or of another store."""
    try:
        note = Note.model_validate(read_json(directory / SENT_NAME))
    except (FileNotFoundError, InputError, ValidationError):
        return None
    known = {tracking_uri(runs), shown_uri(runs)}  # older notes hold the address with its password
    return note if note.tracking_uri in known else None


def write_note(directory: Path, runs: Path, run_id: str, card_sha256: str | None = None) -> None:
    """Write the note of a folder."""
    note = Note(tracking_uri=shown_uri(runs), run_id=run_id, card_sha256=card_sha256)
    write_json(directory / SENT_NAME, note.model_dump(exclude_none=True))
