"""The tracking store: connect, find and delete runs, log what a card holds."""

import logging
import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.files import flatten, read_json_lines
from bench.runs.cards import Card, DatasetCard, ModelCard
from bench.runs.tracking.addresses import uri_to_open
from bench.runs.tracking.fields import is_number

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "face training data"


def connect(runs: Path) -> tuple["MlflowClient", str]:
    """A client of the store, and the id of the suite's experiment, which is made if it is missing."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    import mlflow

    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    uri = uri_to_open(runs)
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is not None:
        if experiment.lifecycle_stage == "deleted":  # in the UI; nothing can be sent to it, and its name stays taken
            client.restore_experiment(experiment.experiment_id)
        return client, experiment.experiment_id
    location = (runs / "mlartifacts").resolve().as_uri() if uri.startswith("sqlite") else None
    return client, client.create_experiment(EXPERIMENT, artifact_location=location)


def run_exists(client: "MlflowClient", note: dict[str, Any]) -> bool:
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


def find_finished(client: "MlflowClient", experiment_id: str, condition: str) -> str | None:
    """The finished run that holds a card; unfinished runs, which an interruption left, are deleted."""
    for run in client.search_runs([experiment_id], filter_string=condition):
        if run.info.status == "FINISHED":
            return run.info.run_id
        delete_with_children(client, experiment_id, run.info.run_id)
    return None


def delete_with_children(client: "MlflowClient", experiment_id: str, run_id: str) -> None:
    """Delete a run and the runs below it."""
    for child in client.search_runs([experiment_id], filter_string=f"tags.`mlflow.parentRunId` = '{run_id}'"):
        client.delete_run(child.info.run_id)
    client.delete_run(run_id)


def log_card(
    client: "MlflowClient", run_id: str, card: Card, metrics: dict[str, float], settings: dict[str, Any] | None = None
) -> None:
    """Log the settings as flat parameters, the metrics, and the cost of the card itself."""
    from mlflow.entities import Metric, Param

    own = card.cost.model_dump(include={"seconds", "images_per_second", "peak_memory_mb"}, exclude_none=True)
    metrics = {f"cost/{key}": value for key, value in own.items()} | metrics
    parameters = {"seed": card.seed} | (flatten(card.inputs) if settings is None else settings)
    now = end_ms(card)
    client.log_batch(
        run_id,
        metrics=[Metric(key, float(value), now, 0) for key, value in metrics.items()],
        params=[Param(key, str(value)[:6000]) for key, value in list(parameters.items())[:100]],
    )


def log_history(client: "MlflowClient", run_id: str, path: Path, *, after_step: int = -1) -> None:
    """Log the training curve: one point per line of train.jsonl whose step is after ``after_step``."""
    from mlflow.entities import Metric

    points = [
        Metric(
            key if key.startswith("system/") else f"train/{key}",
            float(value),
            int(row.get("time", 0) * 1000),
            int(row["step"]),
        )
        for row in read_history(path)
        for key, value in row.items()
        if row["step"] > after_step and key not in {"step", "time"} and is_number(value)
    ]
    for start in range(0, len(points), 1000):
        client.log_batch(run_id, metrics=points[start : start + 1000])


def read_history(path: Path) -> list[dict[str, Any]]:
    """Lines of train.jsonl that have a step."""
    rows = read_json_lines(path) if path.exists() else []
    return [row for row in rows if isinstance(row.get("step"), int)]


def log_dataset(client: "MlflowClient", run_id: str, stage: str, card: Card) -> None:
    """Log the dataset that a stage made or read as an input of its run."""
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


def end_ms(card: Card) -> int:
    """When the stage of a card ended: Unix time, ms."""
    return int(datetime.fromisoformat(card.created_utc).timestamp() * 1000)


def start_ms(card: Card) -> int:
    """When the stage of a card started: Unix time, ms."""
    return end_ms(card) - int(card.cost.seconds * 1000)
