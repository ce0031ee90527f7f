"""Audits in MLflow: one run each, with metrics, declared inputs, card, page and tables."""

from pathlib import Path

from bench.files import flatten
from bench.runs.cards import AuditCard, read_card
from bench.runs.tracking.fields import audit_metrics, card_metrics, end_ms, run_name, start_ms, tags_of
from bench.runs.tracking.notes import SENT_NAME
from bench.runs.tracking.store import Store


def send_audit(store: Store, directory: Path, tags: dict[str, str], run_id: str | None) -> str:
    """Send an audit.

    Args:
        store: The tracking store.
        directory: Folder of audit.json.
        tags: Tags of the run besides those of the card.
        run_id: A run that holds a part of the audit; None creates one.

    Returns:
        Id of the audit's run.
    """
    card = read_card(directory, AuditCard)
    tags = tags_of(card) | tags | {"suite.stage": "audit", "suite.kind": "audit"}
    name = run_name("audit", card)
    run_id = run_id or store.create_run(name, tags, start_ms=start_ms(card))
    store.update_run(run_id, name, tags)
    settings = {"seed": card.seed} | flatten(card.inputs)
    store.log_values(run_id, card_metrics(card) | audit_metrics(card), settings, end_ms(card))
    files = [file for file in sorted(directory.iterdir()) if file.suffix in {".json", ".html", ".tsv"}]
    store.log_files(run_id, [file for file in files if file.name != SENT_NAME])
    store.client.set_terminated(run_id, end_time=end_ms(card))
    return run_id
