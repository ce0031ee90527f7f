"""Send finished cards to MLflow: a run per result with a run per stage below it, one run per audit or generator.

A stage that was followed while it ran (``live.py``) has a run already; it gets what it lacks. The same repairs a run
whose sending was interrupted, so that nothing is sent twice.
"""

import os
from pathlib import Path

from filelock import FileLock

from bench.errors import InputError
from bench.runs.cards import AuditCard, Card, GeneratorCard, ResultCard, card_sha256
from bench.runs.tracking.addresses import error_reason, shown_uri
from bench.runs.tracking.audits import send_audit
from bench.runs.tracking.generators import send_generator
from bench.runs.tracking.notes import SENT_NAME, read_note, write_note
from bench.runs.tracking.results import send_result
from bench.runs.tracking.store import Store, connect

_TAGS: dict[type[Card], str] = {
    ResultCard: "suite.result_sha256",
    AuditCard: "suite.audit_sha256",
    GeneratorCard: "suite.generator_sha256",
}
"""Kinds of cards that get a run of their own, and the tag that holds the card's SHA-256."""


def sync(runs: Path) -> tuple[int, str | None]:
    """Send every finished result, audit and generator that MLflow does not have yet, each exactly once.

    Returns:
        How many were sent, and the reason (one line) if one could not be sent, else None. The cards on disk are never
        touched.
    """
    return _send_all(_finished_cards(runs), runs)


def sync_generator(directory: Path, runs: Path) -> str | None:
    """Send the card of a generator, and what its training wrote that MLflow does not have yet.

    Args:
        directory: Folder of the finished training.
        runs: Folder of all runs.

    Returns:
        The reason (one line) if sending failed, else None.
    """
    return _send_all([(directory, GeneratorCard)], runs)[1]


def _send_all(cards: list[tuple[Path, type[Card]]], runs: Path) -> tuple[int, str | None]:
    num_sent, problems = 0, []
    try:
        if _are_all_sent(cards, runs):
            return 0, None
        with FileLock(runs / ".mlflow.lock"):  # two benchmarks that end together must not send the same result
            store = connect(runs)
            for directory, kind in cards:
                try:
                    num_sent += _send_once(store, directory, kind, runs)
                except InputError as error:  # a broken card; the others are sent all the same
                    problems.append(str(error))
                except Exception as error:
                    if getattr(error, "error_code", None) != "INVALID_PARAMETER_VALUE":
                        raise
                    problems.append(f"{directory}: {error_reason(error, runs)}")  # MLflow refuses this card alone
    except Exception as error:  # MLflow, its database and the network raise anything; none of it may end a run
        problems.append(error_reason(error, runs))
    if not problems:
        return num_sent, None
    return num_sent, f"MLflow at {shown_uri(runs)} did not take all results ({problems[0]})"


def _are_all_sent(cards: list[tuple[Path, type[Card]]], runs: Path) -> bool:
    """Whether the notes say that the database file holds every card, and it was not touched after the last note.

    Then mlflow, whose import takes seconds, is not needed. Of a server only a connection can tell.
    """
    if not cards:
        return True
    database = runs / "mlflow.db"
    if os.environ.get("MLFLOW_TRACKING_URI") or not database.exists():
        return False
    for directory, kind in cards:
        note = read_note(directory, runs)
        if note is None or note.card_sha256 is None or note.card_sha256 != card_sha256(directory, kind):
            return False
    state = database.stat()  # the time of the last change of its file entry too: a copy keeps that of its content
    return max(state.st_mtime_ns, state.st_ctime_ns) <= max(
        (directory / SENT_NAME).stat().st_mtime_ns for directory, _ in cards
    )


def _finished_cards(runs: Path) -> list[tuple[Path, type[Card]]]:
    """Folders of all results, audits and generators, with the kind of their card."""
    cards: list[tuple[Path, type[Card]]] = [(path.parent, ResultCard) for path in runs.glob("*/results/*/result.json")]
    cards += [(path.parent, AuditCard) for path in runs.glob("*/audits/*/audit.json")]
    cards += [(path.parent, GeneratorCard) for path in runs.glob("generators/*/generator.json")]
    return sorted(cards, key=lambda card: card[0])


def _send_once(store: Store, directory: Path, kind: type[Card], runs: Path) -> bool:
    """Send a card unless MLflow has it, and return whether it was sent or found again.

    A note counts only if its run is found: the database may have been wiped. A run that a user deleted stays deleted.
    """
    digest, note = card_sha256(directory, kind), read_note(directory, runs)
    if note and note.card_sha256 == digest and store.get_run(note.run_id) is not None:
        return False
    found = store.find_run(**{_TAGS[kind].replace(".", "__"): digest})
    if found is not None and found.info.status == "FINISHED":  # only the note was lost
        run_id = found.info.run_id
    else:
        unfinished = found.info.run_id if found else None
        if unfinished is None and note and note.card_sha256 is None and store.is_active(note.run_id):
            unfinished = note.run_id
        run_id = _send(store, directory, kind, unfinished, runs)
    write_note(directory, runs, run_id, digest)
    return True


def _send(store: Store, directory: Path, kind: type[Card], run_id: str | None, runs: Path) -> str:
    """Send a card into a run, which is created if it is None; return the id of the run."""
    tags = {_TAGS[kind]: card_sha256(directory, kind)}
    if kind is ResultCard:
        return send_result(store, directory, tags, run_id, runs)
    if kind is AuditCard:
        return send_audit(store, directory, tags, run_id)
    return send_generator(store, directory, tags, run_id)
