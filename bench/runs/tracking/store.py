"""The tracking store: connect, find runs, and log into them what they do not hold yet.

Nothing is stored twice: a run is looked for before it is created, and a value before it is sent.
"""

import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.runs.tracking.addresses import uri_to_open
from bench.runs.tracking.page import EXPERIMENT, experiment_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PARENT_TAG = "mlflow.parentRunId"
_POINTS_PER_CALL = 1000
"""MLflow's limit."""
_MAX_PARAMETERS = 100
_MAX_PARAMETER_LENGTH = 6000
_MAX_NAME_LENGTH = 250


@dataclass(frozen=True)
class Point:
    """One value of a curve."""

    name: str
    value: float
    time_ms: int
    step: int


@dataclass(frozen=True)
class Store:
    """A client of the tracking store, and the experiment of the suite in it."""

    client: "MlflowClient"
    experiment_id: str

    def get_run(self, run_id: str) -> "Run | None":
        """A run; None if the store has none of this id. One that a user deleted is returned."""
        from mlflow.exceptions import MlflowException

        try:
            return self.client.get_run(run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def is_active(self, run_id: str) -> bool:
        """Whether the store has the run, and no user deleted it."""
        run = self.get_run(run_id)
        return run is not None and run.info.lifecycle_stage == "active"

    def find_run(self, **tags: str) -> "Run | None":
        """The newest run with these tags (a dot of a tag's name is written as ``__``); None if there is none."""
        conditions = [f"tags.`{name.replace('__', '.')}` = '{value}'" for name, value in tags.items()]
        runs = self.client.search_runs([self.experiment_id], " and ".join(conditions), max_results=1)
        return runs[0] if runs else None

    def create_run(self, name: str, tags: dict[str, str], *, start_ms: int | None = None) -> str:
        """Create a run, and return its id."""
        return self.client.create_run(self.experiment_id, start_time=start_ms, run_name=name, tags=tags).info.run_id

    def update_run(self, run_id: str, name: str, tags: dict[str, str]) -> None:
        """Set name and tags of a run."""
        self.client.update_run(run_id, name=name)
        for key, value in tags.items():
            self.client.set_tag(run_id, key, value)

    def log_values(self, run_id: str, metrics: dict[str, float], settings: dict[str, Any], time_ms: int) -> None:
        """Log metrics of step 0 and settings that the run does not have yet. At most 100 settings are kept."""
        from mlflow.entities import Param

        data = self.client.get_run(run_id).data
        values = {allowed_name(name): float(value) for name, value in metrics.items()}
        new = [Point(name, value, time_ms, 0) for name, value in values.items() if data.metrics.get(name) != value]
        self.log_points(run_id, new)
        parameters = {allowed_name(name): str(value)[:_MAX_PARAMETER_LENGTH] for name, value in settings.items()}
        missing = [Param(name, value) for name, value in parameters.items() if name not in data.params]
        self.client.log_batch(run_id, params=missing[: max(0, _MAX_PARAMETERS - len(data.params))])

    def known_steps(self, run_id: str, name: str) -> set[int]:
        """Steps at which a run has a value of a metric."""
        return {metric.step for metric in self.client.get_metric_history(run_id, name)}

    def log_points(self, run_id: str, points: list[Point]) -> None:
        """Log points of curves; look for those that are there already with ``known_steps``."""
        from mlflow.entities import Metric

        for start in range(0, len(points), _POINTS_PER_CALL):
            part = points[start : start + _POINTS_PER_CALL]
            metrics = [Metric(point.name, point.value, point.time_ms, point.step) for point in part]
            self.client.log_batch(run_id, metrics=metrics)

    def log_missing_points(self, run_id: str, points: list[Point]) -> None:
        """Log the points of curves at whose steps the run has no value yet."""
        known = {name: self.known_steps(run_id, name) for name in {point.name for point in points}}
        self.log_points(run_id, [point for point in points if point.step not in known[point.name]])

    def log_files(self, run_id: str, files: list[Path], folder: str | None = None) -> None:
        """Upload files into a folder of the run's artifacts; those of the same name are replaced."""
        for file in files:
            self.client.log_artifact(run_id, str(file), folder)

    def log_dataset(self, run_id: str, *, name: str, digest: str, source: str, context: str) -> None:
        """Log a dataset as an input of a run that has none."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        inputs = self.client.get_run(run_id).inputs
        if inputs and inputs.dataset_inputs:
            return
        dataset = Dataset(name=name, digest=digest[:36], source_type="local", source=source)  # MLflow's limit is 36
        self.client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", context)])])


def allowed_name(name: str) -> str:
    """The name of a metric or setting as MLflow takes it: other characters, and parts such as ``..``, become ``_``."""
    parts = re.sub(r"[^\w/. :-]+", "_", name).split("/")
    return "/".join(part if part.strip(".") else "_" for part in parts)[:_MAX_NAME_LENGTH]


def connect(runs: Path) -> Store:
    """Open the store. Its experiment is created if it is missing and restored if a user deleted it."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    import mlflow

    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    uri = uri_to_open(runs)
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        location = (runs / "mlartifacts").resolve().as_uri() if uri.startswith("sqlite") else None
        experiment = client.get_experiment(client.create_experiment(EXPERIMENT, artifact_location=location))
    if experiment.lifecycle_stage == "deleted":  # in the UI; nothing can be sent to it, and its name stays taken
        client.restore_experiment(experiment.experiment_id)
    for name, (value, is_users) in experiment_tags(experiment.experiment_id).items():
        known = experiment.tags.get(name)
        if known is None or (known != value and not is_users):
            client.set_experiment_tag(experiment.experiment_id, name, value)
    return Store(client, experiment.experiment_id)
