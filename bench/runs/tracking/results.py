"""Results in MLflow: a run with what users compare, a run per stage below it, and the registered network."""

from collections.abc import Iterator
from pathlib import Path

from bench.files import flatten
from bench.runs.cards import Card, DatasetCard, ModelCard, ResultCard, read_card
from bench.runs.parents import parents_of_result
from bench.runs.tracking.curves import points_of_journal
from bench.runs.tracking.fields import (
    card_metrics,
    dataset_metrics,
    end_ms,
    result_metrics,
    run_name,
    settings_of,
    start_ms,
    tags_of,
)
from bench.runs.tracking.nesting import FLOORS, find_parent
from bench.runs.tracking.notes import SENT_NAME, read_note, write_note
from bench.runs.tracking.registering import register_network
from bench.runs.tracking.store import PARENT_TAG, Store

_SENT_SUFFIXES = {".json", ".png", ".npz", ".jsonl", ".svg"}


def send_result(store: Store, directory: Path, tags: dict[str, str], run_id: str | None, runs: Path) -> str:
    """Send a result with its stages, and register its network.

    Args:
        store: The tracking store.
        directory: Folder of result.json.
        tags: Tags of the run besides those of the card.
        run_id: A run that holds a part of the result; None creates one.
        runs: Folder of all runs.

    Returns:
        Id of the result's run.
    """
    result = read_card(directory, ResultCard)
    stages = list(_stage_cards(result, directory))
    start = min((start_ms(card) for _, card, _ in stages), default=start_ms(result))
    tags = tags_of(result) | tags | {"suite.row": result.row, "suite.kind": "result"}
    if result.row == "floor":
        tags |= {PARENT_TAG: find_parent(store, FLOORS, start_ms=start), "suite.kind": "floor"}
    name = run_name("", result)
    run_id = run_id or store.create_run(name, tags, start_ms=start)
    store.update_run(run_id, name, tags)
    settings = {"seed": result.seed} | settings_of(result, [card for _, card, _ in stages])
    store.log_values(run_id, card_metrics(result) | result_metrics(result), settings, end_ms(result))
    store.log_files(run_id, _files(directory))
    for stage, card, folder in stages:
        _send_stage(store, run_id, stage, (card, folder), runs)
    for _, card, folder in stages:
        if isinstance(card, ModelCard) and (folder / "model.safetensors").exists():
            register_network(store.client, run_id, card, folder / "model.safetensors", result)
    store.client.set_terminated(run_id, end_time=end_ms(result))
    return run_id


def _send_stage(store: Store, parent: str, stage: str, card_and_folder: tuple[Card, Path], runs: Path) -> None:
    """Send a stage as a run below its result; a run that followed the stage while it ran is moved there."""
    card, folder = card_and_folder
    tags = tags_of(card) | {PARENT_TAG: parent, "suite.stage": stage, "suite.kind": "stage"}
    name = run_name(stage, card)
    run_id = _find_stage_run(store, parent, stage, folder, runs)
    run_id = run_id or store.create_run(name, tags, start_ms=start_ms(card))
    store.update_run(run_id, name, tags)
    metrics: dict[str, float] = {}
    if isinstance(card, DatasetCard):
        metrics = dataset_metrics(card)
        digest = card.content_sha256 or card.fingerprint
        store.log_dataset(run_id, name=card.name, digest=digest, source=card.path, context="generation")
    if isinstance(card, ModelCard):
        metrics = {"num_parameters": card.num_parameters}
        metrics |= {} if card.final_loss is None else {"final_loss": card.final_loss}
        store.log_missing_points(run_id, points_of_journal(folder))
        name, digest = card.dataset.name or "unnamed", card.dataset.sha256 or "unknown"
        store.log_dataset(run_id, name=name, digest=digest, source=name, context="training")
    store.log_values(run_id, card_metrics(card) | metrics, {"seed": card.seed} | flatten(card.inputs), end_ms(card))
    store.log_files(run_id, _files(folder))
    store.client.set_terminated(run_id, end_time=end_ms(card))
    if read_note(folder, runs) is None:
        write_note(folder, runs, run_id)


def _find_stage_run(store: Store, parent: str, stage: str, folder: Path, runs: Path) -> str | None:
    """The run of a stage below a result, or the one that followed it and belongs to no result yet; else None."""
    found = store.find_run(**{PARENT_TAG.replace(".", "__"): parent, "suite__stage": stage})
    if found is not None:
        return found.info.run_id
    note = read_note(folder, runs)
    run = store.get_run(note.run_id) if note else None
    if run is None or run.info.lifecycle_stage != "active" or PARENT_TAG in run.data.tags:
        return None
    return run.info.run_id


def _stage_cards(result: ResultCard, directory: Path) -> Iterator[tuple[str, Card, Path]]:
    """The cards behind a result in the order of the stages, without those that no longer exist."""
    parents = parents_of_result(directory, result)
    if parents.dataset and parents.dataset_dir:
        yield "generate", parents.dataset, parents.dataset_dir
    if parents.model and parents.model_dir:
        yield "train", parents.model, parents.model_dir


def _files(folder: Path) -> list[Path]:
    """The files of a stage that are small enough to be sent."""
    return [file for file in sorted(folder.iterdir()) if file.suffix in _SENT_SUFFIXES and file.name != SENT_NAME]
