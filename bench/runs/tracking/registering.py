"""Register trained networks in MLflow's model registry."""

import contextlib
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from bench.runs.cards import ModelCard, ResultCard

if TYPE_CHECKING:
    from mlflow import MlflowClient


def register_network(client: "MlflowClient", run_id: str, card: ModelCard, weights: Path, result: ResultCard) -> None:
    """Register the network as a version of its benchmark's MLflow model, with its signature, unless the run has one."""
    import mlflow
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    if client.search_model_versions(f"run_id = '{run_id}'"):
        return
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
    tags |= {} if result.mean_accuracy is None else {"accuracy/mean": f"{result.mean_accuracy:.4f}"}
    source = f"{client.get_run(run_id).info.artifact_uri}/model"
    client.create_model_version(card.scale, source, run_id, tags=tags)
