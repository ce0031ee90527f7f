"""Send finished cards: a parent run per benchmark, a child run per stage, one run per audit or generator."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from bench.errors import InputError
from bench.files import flatten, write_json
from bench.runs.cards import (
    CARD_NAMES,
    AuditCard,
    Card,
    DatasetCard,
    GeneratorCard,
    ModelCard,
    ResultCard,
    card_sha256,
    read_card,
)
from bench.runs.parents import parents_of_result
from bench.runs.tracking.addresses import error_reason, shown_uri
from bench.runs.tracking.fields import audit_metrics, is_number, result_metrics, settings_of, tags_of
from bench.runs.tracking.notes import SENT_NAME, read_note
from bench.runs.tracking.registering import register_network
from bench.runs.tracking.store import (
    connect,
    end_ms,
    find_finished,
    log_card,
    log_dataset,
    log_history,
    read_history,
    run_exists,
    start_ms,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

_TAGS: dict[type[Card], str] = {ResultCard: "suite.result_sha256", AuditCard: "suite.audit_sha256"}
"""Kinds of cards that get a run of their own, and the tag that holds the card's SHA-256."""


def sync(runs: Path) -> tuple[int, str | None]:
    """Send every finished result, audit and generator that MLflow does not have yet, each exactly once.

    Returns:
        How many were sent, and the reason (one line) if one could not be sent, else None. The cards on disk are never
        touched.
    """
    cards, num_sent, problems = _finished_cards(runs), 0, []
    if not cards:
        return 0, None
    try:
        with FileLock(runs / ".mlflow.lock"):  # two benchmarks that end together must not send the same result
            client, experiment_id = connect(runs)
            for directory, kind in cards:
                try:
                    num_sent += _send_once(client, experiment_id, directory, kind, runs)
                except InputError as error:  # a broken card; the others are sent all the same
                    problems.append(str(error))
    except Exception as error:  # MLflow, its database and the network raise anything; none of it may end a run
        problems.append(error_reason(error, runs))
    if not problems:
        return num_sent, None
    return num_sent, f"MLflow at {shown_uri(runs)} did not take all results ({problems[0]})"


def sync_generator(directory: Path, runs: Path, name: str) -> str | None:
    """Send what a generator's training wrote since the last call: new lines of train.jsonl, grids, and the card.

    Call it after every epoch, and once more when the card is written, which ends the run in MLflow.

    Args:
        directory: Folder of the training.
        runs: Folder of all runs.
        name: Name of the recipe.

    Returns:
        The reason (one line) if sending failed, else None. What was not sent is sent by the next call.
    """
    try:
        with FileLock(runs / ".mlflow.lock"):
            client, experiment_id = connect(runs)
            _send_training(client, experiment_id, directory, runs, name)
    except Exception as error:  # as in ``sync``: a failing tracking server must not end a training
        return f"MLflow at {shown_uri(runs)} did not take the training ({error_reason(error, runs)})"
    return None


def _send_training(client: "MlflowClient", experiment_id: str, directory: Path, runs: Path, name: str) -> None:
    """Send what is new of a generator's training, and note it in ``mlflow.json``."""
    path = directory / SENT_NAME
    sent: dict[str, Any] = {"tracking_uri": shown_uri(runs), "run_id": None, "step": -1, "files": []}
    if run_exists(client, read_note(directory, runs)):
        sent |= read_note(directory, runs)
    if sent["run_id"] is None:
        sent["run_id"] = client.create_run(experiment_id, run_name=f"generator {name}").info.run_id
        write_json(path, sent)
    run_id = str(sent["run_id"])
    log_history(client, run_id, directory / "train.jsonl", after_step=sent["step"])
    sent["step"] = max((row["step"] for row in read_history(directory / "train.jsonl")), default=-1)
    for file in sorted((directory / "grids").glob("*.png")):
        if file.name not in sent["files"]:
            client.log_artifact(run_id, str(file), "grids")
            sent["files"] = [*sent["files"], file.name]
    if (directory / CARD_NAMES[GeneratorCard]).exists():
        card = read_card(directory, GeneratorCard)
        log_card(client, run_id, card, {"num_parameters": card.num_parameters})
        for key, value in tags_of(card).items():
            client.set_tag(run_id, key, value)
        client.log_artifact(run_id, str(directory / CARD_NAMES[GeneratorCard]))
        client.set_terminated(run_id, end_time=end_ms(card))
        sent["card_sha256"] = card_sha256(directory, GeneratorCard)
    write_json(path, sent)


def _finished_cards(runs: Path) -> list[tuple[Path, type[Card]]]:
    """Folders of all results, audits and generators, with the kind of their card."""
    cards: list[tuple[Path, type[Card]]] = [(path.parent, ResultCard) for path in runs.glob("*/results/*/result.json")]
    cards += [(path.parent, AuditCard) for path in runs.glob("*/audits/*/audit.json")]
    cards += [(path.parent, GeneratorCard) for path in runs.glob("generators/*/generator.json")]
    return sorted(cards, key=lambda card: card[0])


def _send_once(client: "MlflowClient", experiment_id: str, directory: Path, kind: type[Card], runs: Path) -> bool:
    """Send a card unless MLflow has it, and return whether it was sent.

    A note counts only if its run is found: the database may have been wiped.
    """
    note = read_note(directory, runs)
    if note.get("card_sha256") == card_sha256(directory, kind) and run_exists(client, note):
        return False
    if kind is GeneratorCard:
        _send_training(client, experiment_id, directory, runs, read_card(directory, GeneratorCard).recipe)
    else:
        _send(client, experiment_id, directory, kind, runs)
    return True


def _send(client: "MlflowClient", experiment_id: str, directory: Path, kind: type[Card], runs: Path) -> None:
    digest = card_sha256(directory, kind)
    run_id = find_finished(client, experiment_id, f"tags.`{_TAGS[kind]}` = '{digest}'")
    if run_id is None:
        send = _send_audit if kind is AuditCard else _send_result
        run_id = send(client, experiment_id, directory, {_TAGS[kind]: digest})
    note = {"tracking_uri": shown_uri(runs), "run_id": run_id, "card_sha256": digest}
    write_json(directory / SENT_NAME, note)


def _send_audit(client: "MlflowClient", experiment_id: str, directory: Path, tags: dict[str, str]) -> str:
    """Send an audit as one run: metrics, declared inputs, card, page and tables."""
    card = read_card(directory, AuditCard)
    tags = tags_of(card) | tags | {"suite.stage": "audit"}
    name = f"audit {card.name}"
    run_id = client.create_run(experiment_id, start_time=start_ms(card), run_name=name, tags=tags).info.run_id
    log_card(client, run_id, card, audit_metrics(card))
    for file in sorted(directory.iterdir()):
        if file.suffix in {".json", ".html", ".tsv"} and file.name != SENT_NAME:
            client.log_artifact(run_id, str(file))
    client.set_terminated(run_id, end_time=end_ms(card))
    return run_id


def _send_result(client: "MlflowClient", experiment_id: str, directory: Path, tags: dict[str, str]) -> str:
    """Send a result: a parent run with what users compare, a child run per stage, and the registered network."""
    result = read_card(directory, ResultCard)
    stages = list(_stage_cards(result, directory))
    start = min(start_ms(card) for _, card, _ in stages)
    parent = client.create_run(
        experiment_id,
        start_time=start,
        run_name=f"{result.name} seed {result.seed}",
        tags=tags_of(result) | tags | {"suite.row": result.row},
    ).info.run_id
    log_card(client, parent, result, result_metrics(result), settings_of(result, [card for _, card, _ in stages]))
    client.log_artifact(parent, str(directory / "result.json"))
    for stage, card, folder in stages:
        _send_stage(client, experiment_id, parent, stage, card, folder)
    for _, card, folder in stages:
        if isinstance(card, ModelCard) and (folder / "model.safetensors").exists():
            register_network(client, parent, card, folder / "model.safetensors", result)
    client.set_terminated(parent, end_time=end_ms(result))
    return parent


def _send_stage(client: "MlflowClient", experiment_id: str, parent: str, stage: str, card: Card, folder: Path) -> None:
    tags = tags_of(card) | {"mlflow.parentRunId": parent, "suite.stage": stage}
    run_id = client.create_run(experiment_id, start_time=start_ms(card), run_name=stage, tags=tags).info.run_id
    metrics = result_metrics(card) if isinstance(card, ResultCard) else {}
    if isinstance(card, DatasetCard):
        metrics = {"num_images": card.num_images, "num_identities": card.num_identities}
        statistics = flatten(card.statistics.model_dump())
        metrics |= {f"statistics/{key}": value for key, value in statistics.items() if is_number(value)}
    if isinstance(card, ModelCard) and card.final_loss is not None:
        metrics = {"num_parameters": card.num_parameters, "final_loss": card.final_loss}
        log_history(client, run_id, folder / "train.jsonl")
    log_card(client, run_id, card, metrics)
    log_dataset(client, run_id, stage, card)
    for file in sorted(folder.iterdir()):
        if file.suffix in {".json", ".png", ".npz", ".jsonl", ".svg"} and file.name != SENT_NAME:
            client.log_artifact(run_id, str(file))
    client.set_terminated(run_id, end_time=end_ms(card))


def _stage_cards(result: ResultCard, directory: Path) -> Iterator[tuple[str, Card, Path]]:
    """The cards behind a result in the order of the stages, without those that no longer exist."""
    parents = parents_of_result(directory, result)
    if parents.dataset and parents.dataset_dir:
        yield "generate", parents.dataset, parents.dataset_dir
    if parents.model and parents.model_dir:
        yield "train", parents.model, parents.model_dir
    yield "evaluate", result, directory
