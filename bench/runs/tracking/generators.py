"""Trained generators in MLflow: one run each, with the curves of the training, its grids of faces and the card."""

from pathlib import Path

from bench.files import flatten
from bench.runs.cards import CARD_NAMES, GeneratorCard, read_card
from bench.runs.tracking.curves import points_of_journal
from bench.runs.tracking.fields import card_metrics, end_ms, run_name, start_ms, tags_of
from bench.runs.tracking.store import Store

GRIDS = "grids"
"""Folder of the pictures that a training draws after every epoch."""


def send_generator(store: Store, directory: Path, tags: dict[str, str], run_id: str | None) -> str:
    """Send a finished generator.

    Args:
        store: The tracking store.
        directory: Folder of generator.json.
        tags: Tags of the run besides those of the card.
        run_id: The run that followed the training; None creates one.

    Returns:
        Id of the generator's run.
    """
    card = read_card(directory, GeneratorCard)
    tags = tags_of(card) | tags | {"suite.stage": "train generator", "suite.kind": "generator"}
    name = run_name("generator", card)
    run_id = run_id or store.create_run(name, tags, start_ms=start_ms(card))
    store.update_run(run_id, name, tags)
    store.log_missing_points(run_id, points_of_journal(directory))
    metrics = card_metrics(card) | {"num_parameters": card.num_parameters}
    store.log_values(run_id, metrics, {"seed": card.seed} | flatten(card.inputs), end_ms(card))
    store.log_files(run_id, sorted((directory / GRIDS).glob("*.png")), GRIDS)
    store.log_files(run_id, [directory / CARD_NAMES[GeneratorCard]])
    store.client.set_terminated(run_id, end_time=end_ms(card))
    return run_id
