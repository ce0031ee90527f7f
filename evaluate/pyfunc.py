"""MLflow's loader of registered networks: ``mlflow.pyfunc.load_model("models:/smoke/1").predict(images)``.

Registered models name this module (``evaluate.pyfunc``), so it must stay importable under this name.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluate.measure.embed import FaceNetwork, embed, load_network


class EmbeddingModel:
    """Aligned faces -> unit embeddings, the features of the mirrored image added as in every evaluation here."""

    def __init__(self, network: FaceNetwork) -> None:
        self.network = network

    def predict(
        self, images: NDArray[np.uint8] | dict[str, NDArray[np.uint8]], params: Any = None
    ) -> NDArray[np.float32]:
        """Unit embeddings, float32, shape (N, D).

        Args:
            images: uint8 RGB, shape (N, 112, 112, 3), or a dict that holds them as ``images``.
            params: Part of MLflow's interface; not used.
        """
        return embed(self.network, images["images"] if isinstance(images, dict) else images)


def _load_pyfunc(path: str) -> EmbeddingModel:
    """MLflow calls this with the path of the weights."""
    return EmbeddingModel(load_network(path))
