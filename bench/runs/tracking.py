"""Send finished cards to MLflow: one parent run per benchmark, a child run per stage, one run per audit or generator.

The only module that imports mlflow. The cards on disk are the record and MLflow mirrors them, so the tracking server
may be down, unreachable or wiped without losing a number. ``mlflow.json`` beside a result says what has been sent;
where that file is lost, the run is found again by its tag. ``python -m bench.runs.tracking RUNS`` prints the address
of the store, for ``make ui``.
"""

import contextlib
import logging
import os
import shlex
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from filelock import FileLock
from pydantic import BaseModel, ValidationError

from bench.errors import InputError, python_command
from bench.files import flatten, read_json, read_json_lines, write_json
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
from bench.runs.tracked_fields import audit_metrics, is_number, result_metrics, settings_of, tags_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "face training data"
SENT_NAME = "mlflow.json"


class _SentNote(BaseModel):
    """``mlflow.json``: what was sent of a folder, and where to."""

    tracking_uri: str
    run_id: str
    card_sha256: str | None = None
    step: int = -1
    files: list[str] = []


_TAGS: dict[type[Card], str] = {ResultCard: "suite.result_sha256", AuditCard: "suite.audit_sha256"}
"""Kinds of cards that get a run of their own, and the tag that holds the card's SHA-256."""
_times_created: Counter[Path] = Counter()
"""How often this process created each database."""


def tracking_uri(runs: Path) -> str:
    """Address of the tracking store: MLFLOW_TRACKING_URI, or else the SQLite file ``runs/mlflow.db``."""
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        return uri
    database = str((runs / "mlflow.db").resolve())
    if not set(database) & set("?%#"):
        return f"sqlite:///{database}"
    # These characters must be escaped. With the driver in the address, MLflow makes no folder of the escaped name
    return f"sqlite+pysqlite:///{quote(database)}"


def shown_uri(runs: Path) -> str:
    """Address of the tracking store as it is printed and written into files: without its password."""
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        return f"sqlite:///{(runs / 'mlflow.db').resolve()}"
    return _hide_password(tracking_uri(runs), tracking_uri(runs))


def sync_command(runs: Path) -> str:
    """The command that sends later what could not be sent, for messages."""
    return python_command("bench sync" if runs == Path("runs") else f"bench sync --runs {shlex.quote(str(runs))}")


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
            client, experiment_id = _connect(runs)
            for directory, kind in cards:
                try:
                    num_sent += _send_once(client, experiment_id, directory, kind, runs)
                except InputError as error:  # a broken card; the others are sent all the same
                    problems.append(str(error))
    except Exception as error:  # MLflow, its database and the network raise anything; none of it may end a run
        problems.append(_reason(error, runs))
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
            client, experiment_id = _connect(runs)
            _send_training(client, experiment_id, directory, runs, name)
    except Exception as error:  # as in ``sync``: a failing tracking server must not end a training
        return f"MLflow at {shown_uri(runs)} did not take the training ({_reason(error, runs)})"
    return None


def _send_training(client: "MlflowClient", experiment_id: str, directory: Path, runs: Path, name: str) -> None:
    """Send what is new of a generator's training, and note it in ``mlflow.json``."""
    path = directory / SENT_NAME
    sent: dict[str, Any] = {"tracking_uri": shown_uri(runs), "run_id": None, "step": -1, "files": []}
    if _run_exists(client, _read_note(directory, runs)):
        sent |= _read_note(directory, runs)
    if sent["run_id"] is None:
        sent["run_id"] = client.create_run(experiment_id, run_name=f"generator {name}").info.run_id
        write_json(path, sent)
    run_id = str(sent["run_id"])
    _log_history(client, run_id, directory / "train.jsonl", after_step=sent["step"])
    sent["step"] = max((row["step"] for row in _read_history(directory / "train.jsonl")), default=-1)
    for file in sorted((directory / "grids").glob("*.png")):
        if file.name not in sent["files"]:
            client.log_artifact(run_id, str(file), "grids")
            sent["files"] = [*sent["files"], file.name]
    if (directory / CARD_NAMES[GeneratorCard]).exists():
        card = read_card(directory, GeneratorCard)
        _log(client, run_id, card, {"num_parameters": card.num_parameters})
        for key, value in tags_of(card).items():
            client.set_tag(run_id, key, value)
        client.log_artifact(run_id, str(directory / CARD_NAMES[GeneratorCard]))
        client.set_terminated(run_id, end_time=_end_ms(card))
        sent["card_sha256"] = card_sha256(directory, GeneratorCard)
    write_json(path, sent)


def group_results(directory: Path, results: Sequence[Path], runs: Path, name: str, about: str) -> str | None:
    """Put the runs of results that were sent under one parent run, which is made if MLflow does not have it.

    A run has one parent: a result of two groups stays under the first. The tag ``suite.sweep.NAME`` marks it for each.

    Args:
        directory: Folder of the group; its name is that of the group, its ``mlflow.json`` says which run is the parent.
        results: Folders of results. Those that were not sent yet are left out.
        runs: Folder of all runs.
        name: Name of the parent run.
        about: What the group is about, the description of the parent run.

    Returns:
        The reason (one line) if MLflow failed, else None.
    """
    try:
        with FileLock(runs / ".mlflow.lock"):
            client, experiment_id = _connect(runs)
            note = _read_note(directory, runs)
            if not _run_exists(client, note):
                tags = {"suite.row": "sweep", "mlflow.note.content": about}
                run_id = client.create_run(experiment_id, run_name=name, tags=tags).info.run_id
                note = {"tracking_uri": shown_uri(runs), "run_id": run_id, "files": []}
            sent = list(note.get("files", []))
            for result in results:
                child = _read_note(result, runs).get("run_id")
                if child and child not in sent:
                    parent = client.get_run(child).data.tags.get("mlflow.parentRunId")
                    if parent is None or not _run_exists(client, {"run_id": parent}):
                        client.set_tag(child, "mlflow.parentRunId", note["run_id"])
                    client.set_tag(child, f"suite.sweep.{directory.name}", "yes")
                    sent.append(child)
            client.set_terminated(note["run_id"])
            write_json(directory / SENT_NAME, note | {"files": sent})
    except Exception as error:  # as in ``sync``: a failing tracking server must not end a sweep
        return f"MLflow at {shown_uri(runs)} did not take {name} ({_reason(error, runs)})"
    return None


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
    note = _read_note(directory, runs)
    if note.get("card_sha256") == card_sha256(directory, kind) and _run_exists(client, note):
        return False
    if kind is GeneratorCard:
        _send_training(client, experiment_id, directory, runs, read_card(directory, GeneratorCard).recipe)
    else:
        _send(client, experiment_id, directory, kind, runs)
    return True


def _read_note(directory: Path, runs: Path) -> dict[str, Any]:
    """What ``mlflow.json`` says was sent to this store; empty if the file is missing, damaged or of another store."""
    try:
        note = _SentNote.model_validate(read_json(directory / SENT_NAME))
    except (FileNotFoundError, InputError, ValidationError):
        return {}
    known = {tracking_uri(runs), shown_uri(runs)}  # older notes hold the address with its password
    return note.model_dump(exclude_none=True) if note.tracking_uri in known else {}


def _run_exists(client: "MlflowClient", note: dict[str, Any]) -> bool:
    """Whether MLflow has the run of a note; one that a user deleted counts, so that it is not sent again."""
    from mlflow.exceptions import MlflowException

    if "run_id" not in note:
        return False
    try:
        client.get_run(note["run_id"])
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
    return True


def _reason(error: Exception, runs: Path) -> str:
    """An error in one line, without the password of the tracking store."""
    return _hide_password(" ".join(str(error).split()), tracking_uri(runs))[:200]


def _hide_password(text: str, uri: str) -> str:
    """A text with the password of an address replaced by ``***``, quoted or not."""
    secrets = [urlsplit(uri).password, *parse_qs(urlsplit(uri).query).get("password", [])]
    for secret in filter(None, secrets):
        for form in (secret, unquote(secret), quote(secret, safe="")):
            text = text.replace(form, "***")
    return text


def _uri_to_open(runs: Path) -> str:
    """The address of the store for MLflow, which keeps a database open under its address as long as the process lives.

    A database that does not exist gets another spelling of its address, so that one that was deleted is not written.
    """
    uri, database = tracking_uri(runs), (runs / "mlflow.db").resolve()
    if os.environ.get("MLFLOW_TRACKING_URI"):
        return uri
    if not database.exists():
        _times_created[database] += 1
    return uri.removesuffix("/mlflow.db") + "/." * _times_created[database] + "/mlflow.db"


def _connect(runs: Path) -> tuple["MlflowClient", str]:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    import mlflow

    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    uri = _uri_to_open(runs)
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is not None:
        if experiment.lifecycle_stage == "deleted":  # in the UI; nothing can be sent to it, and its name stays taken
            client.restore_experiment(experiment.experiment_id)
        return client, experiment.experiment_id
    location = (runs / "mlartifacts").resolve().as_uri() if uri.startswith("sqlite") else None
    return client, client.create_experiment(EXPERIMENT, artifact_location=location)


def _send(client: "MlflowClient", experiment_id: str, directory: Path, kind: type[Card], runs: Path) -> None:
    digest = card_sha256(directory, kind)
    run_id = _find_finished(client, experiment_id, f"tags.`{_TAGS[kind]}` = '{digest}'")
    if run_id is None:
        send = _send_audit if kind is AuditCard else _send_result
        run_id = send(client, experiment_id, directory, {_TAGS[kind]: digest})
    note = {"tracking_uri": shown_uri(runs), "run_id": run_id, "card_sha256": digest}
    write_json(directory / SENT_NAME, note)


def _find_finished(client: "MlflowClient", experiment_id: str, condition: str) -> str | None:
    """The finished run that holds a card; unfinished runs, which an interruption left, are deleted."""
    for run in client.search_runs([experiment_id], filter_string=condition):
        if run.info.status == "FINISHED":
            return run.info.run_id
        _delete_with_children(client, experiment_id, run.info.run_id)
    return None


def _send_audit(client: "MlflowClient", experiment_id: str, directory: Path, tags: dict[str, str]) -> str:
    """Send an audit as one run: metrics, declared inputs, card, page and tables."""
    card = read_card(directory, AuditCard)
    tags = tags_of(card) | tags | {"suite.stage": "audit"}
    name = f"audit {card.name}"
    run_id = client.create_run(experiment_id, start_time=_start_ms(card), run_name=name, tags=tags).info.run_id
    _log(client, run_id, card, audit_metrics(card))
    for file in sorted(directory.iterdir()):
        if file.suffix in {".json", ".html", ".tsv"} and file.name != SENT_NAME:
            client.log_artifact(run_id, str(file))
    client.set_terminated(run_id, end_time=_end_ms(card))
    return run_id


def _send_result(client: "MlflowClient", experiment_id: str, directory: Path, tags: dict[str, str]) -> str:
    """Send a result: a parent run with what users compare, a child run per stage, and the registered network."""
    result = read_card(directory, ResultCard)
    stages = list(_stage_cards(result, directory))
    start = min(_start_ms(card) for _, card, _ in stages)
    parent = client.create_run(
        experiment_id,
        start_time=start,
        run_name=f"{result.name} seed {result.seed}",
        tags=tags_of(result) | tags | {"suite.row": result.row},
    ).info.run_id
    _log(client, parent, result, result_metrics(result), settings_of(result, [card for _, card, _ in stages]))
    client.log_artifact(parent, str(directory / "result.json"))
    for stage, card, folder in stages:
        _send_stage(client, experiment_id, parent, stage, card, folder)
    for _, card, folder in stages:
        if isinstance(card, ModelCard) and (folder / "model.safetensors").exists():
            _register(client, parent, card, folder / "model.safetensors", result)
    client.set_terminated(parent, end_time=_end_ms(result))
    return parent


def _send_stage(client: "MlflowClient", experiment_id: str, parent: str, stage: str, card: Card, folder: Path) -> None:
    tags = tags_of(card) | {"mlflow.parentRunId": parent, "suite.stage": stage}
    run_id = client.create_run(experiment_id, start_time=_start_ms(card), run_name=stage, tags=tags).info.run_id
    metrics = result_metrics(card) if isinstance(card, ResultCard) else {}
    if isinstance(card, DatasetCard):
        metrics = {"num_images": card.num_images, "num_identities": card.num_identities}
        statistics = flatten(card.statistics.model_dump())
        metrics |= {f"statistics/{key}": value for key, value in statistics.items() if is_number(value)}
    if isinstance(card, ModelCard) and card.final_loss is not None:
        metrics = {"num_parameters": card.num_parameters, "final_loss": card.final_loss}
        _log_history(client, run_id, folder / "train.jsonl")
    _log(client, run_id, card, metrics)
    _log_dataset(client, run_id, stage, card)
    for file in sorted(folder.iterdir()):
        if file.suffix in {".json", ".png", ".npz", ".jsonl", ".svg"} and file.name != SENT_NAME:
            client.log_artifact(run_id, str(file))
    client.set_terminated(run_id, end_time=_end_ms(card))


def _stage_cards(result: ResultCard, directory: Path) -> Iterator[tuple[str, Card, Path]]:
    """The cards behind a result in the order of the stages, without those that no longer exist."""
    parents = parents_of_result(directory, result)
    if parents.dataset and parents.dataset_dir:
        yield "generate", parents.dataset, parents.dataset_dir
    if parents.model and parents.model_dir:
        yield "train", parents.model, parents.model_dir
    yield "evaluate", result, directory


def _register(client: "MlflowClient", run_id: str, card: ModelCard, weights: Path, result: ResultCard) -> None:
    """Register the network as a new version of its benchmark's MLflow model, with its input and output signature."""
    import mlflow
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    embedding_dim = card.inputs.get("recipe", {}).get("backbone", {}).get("embedding_dim", -1)
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, 112, 112, 3), "images")]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, embedding_dim))]),
    )
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*An input example was not provided")  # the signature is explicit
        mlflow.pyfunc.save_model(
            f"{folder}/model",
            loader_module="evaluate.pyfunc",  # MLflow imports it by this name wherever the model is loaded
            data_path=str(weights),
            signature=signature,
            pip_requirements=["torch"],
        )
        client.log_artifacts(run_id, f"{folder}/model", "model")
    with contextlib.suppress(mlflow.MlflowException):  # an earlier seed registered it
        client.create_registered_model(card.scale)
    tags = {"suite.recipe_sha256": card.recipe_sha256, "suite.weights_sha256": card.weights_sha256}
    tags |= {"suite.seed": str(card.seed)}
    tags |= {} if result.mean_accuracy is None else {"mean/accuracy": f"{result.mean_accuracy:.4f}"}
    source = f"{client.get_run(run_id).info.artifact_uri}/model"
    client.create_model_version(card.scale, source, run_id, tags=tags)


def _log(
    client: "MlflowClient", run_id: str, card: Card, metrics: dict[str, float], settings: dict[str, Any] | None = None
) -> None:
    """Log the settings as flat parameters, the metrics, and the cost of the card itself."""
    from mlflow.entities import Metric, Param

    own = card.cost.model_dump(include={"seconds", "images_per_second", "peak_memory_mb"}, exclude_none=True)
    metrics = {f"cost/{key}": value for key, value in own.items()} | metrics
    parameters = {"seed": card.seed} | (flatten(card.inputs) if settings is None else settings)
    now = _end_ms(card)
    client.log_batch(
        run_id,
        metrics=[Metric(key, float(value), now, 0) for key, value in metrics.items()],
        params=[Param(key, str(value)[:6000]) for key, value in list(parameters.items())[:100]],
    )


def _log_history(client: "MlflowClient", run_id: str, path: Path, *, after_step: int = -1) -> None:
    """Log the training curve: one point per line of train.jsonl whose step is after ``after_step``."""
    from mlflow.entities import Metric

    points = [
        Metric(
            key if key.startswith("system/") else f"train/{key}",
            float(value),
            int(row.get("time", 0) * 1000),
            int(row["step"]),
        )
        for row in _read_history(path)
        for key, value in row.items()
        if row["step"] > after_step and key not in {"step", "time"} and is_number(value)
    ]
    for start in range(0, len(points), 1000):
        client.log_batch(run_id, metrics=points[start : start + 1000])


def _read_history(path: Path) -> list[dict[str, Any]]:
    """Lines of train.jsonl that have a step."""
    rows = read_json_lines(path) if path.exists() else []
    return [row for row in rows if isinstance(row.get("step"), int)]


def _log_dataset(client: "MlflowClient", run_id: str, stage: str, card: Card) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    if isinstance(card, DatasetCard):
        name, digest, source = card.name, card.content_sha256 or card.fingerprint, card.path
    elif isinstance(card, ModelCard):
        name = source = card.dataset.name or "unnamed"
        digest = card.dataset.sha256 or "unknown"
    else:
        return
    dataset = Dataset(name=name, digest=digest[:36], source_type="local", source=source)  # MLflow's limit is 36
    context = "training" if stage == "train" else "generation"
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", context)])])


def _delete_with_children(client: "MlflowClient", experiment_id: str, run_id: str) -> None:
    for child in client.search_runs([experiment_id], filter_string=f"tags.`mlflow.parentRunId` = '{run_id}'"):
        client.delete_run(child.info.run_id)
    client.delete_run(run_id)


def _end_ms(card: Card) -> int:
    return int(datetime.fromisoformat(card.created_utc).timestamp() * 1000)


def _start_ms(card: Card) -> int:
    return _end_ms(card) - int(card.cost.seconds * 1000)


if __name__ == "__main__":
    sys.stdout.write(tracking_uri(Path(sys.argv[1])))
