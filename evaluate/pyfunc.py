"""A registered network as MLflow loads it: ``mlflow.pyfunc.load_model("models:/smoke/1").predict(images)``."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluate.measure.embed import FaceNetwork, embed, load_network


class Embedder:
    """Aligned faces -> unit embeddings, mirror image added as in every evaluation here."""

    def __init__(self, network: FaceNetwork) -> None:
        self.network = network

    def predict(self, images: NDArray[np.uint8] | dict[str, NDArray[np.uint8]], params: Any = None) -> NDArray:
        """uint8 images, shape (N, 112, 112, 3) RGB, or a dict with them as ``images`` -> float32 (N, D)."""
        return embed(self.network, images["images"] if isinstance(images, dict) else images)


def _load_pyfunc(path: str) -> Embedder:
    """What MLflow calls, with the path of the weights."""
    return Embedder(load_network(path))
