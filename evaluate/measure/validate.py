"""Accuracies of a network while it is being trained: the faces are shared out over the processes, no one waits.

Not a result: no card, no floors. The images stay encoded or memory-mapped uint8 between validations.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch.distributed as dist
from numpy.typing import NDArray

from evaluate.layouts.images import LazyImages
from evaluate.measure.embed import FaceNetwork, embed
from evaluate.metrics import fold_accuracies
from evaluate.protocol import Protocol, load_protocol


class Validation:
    """Measures networks on the same protocols again and again; every process must call at once.

    Args:
        find: Paths of the verification sets; called at the first validation, first by the first process alone, so that
            it may make sets that are not there.
        device: Torch device of the networks in this process.
        precision: bf16 embeds under autocast.
    """

    def __init__(
        self, find: Callable[[], Sequence[Path]], *, device: str, precision: Literal["float32", "bf16"] = "float32"
    ) -> None:
        self._find, self._device, self._precision = find, device, precision
        self._protocols: list[Protocol] = []

    def __call__(self, network: FaceNetwork) -> dict[str, float]:
        """Accuracy by the published 10-fold protocol, a fraction, of each set; the same in every process."""
        if not self._protocols:
            self._protocols = [load_protocol(path) for path in self._found()]
        return {one.name: self._accuracy(network, one) for one in self._protocols}

    def _found(self) -> Sequence[Path]:
        if dist.is_initialized():
            if dist.get_rank() == 0:
                self._find()
            dist.barrier()
        return self._find()

    def _accuracy(self, network: FaceNetwork, protocol: Protocol) -> float:
        rank, world_size = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        start, stop = (len(protocol.faces) * (rank + i) // world_size for i in (0, 1))
        mine = LazyImages(protocol.faces.read, protocol.faces.positions[start:stop])
        embeddings = _gathered(embed(network, mine, device=self._device, precision=self._precision))
        return float(fold_accuracies(embeddings[protocol.pairs.ravel()], protocol.is_genuine).mean())


def _gathered(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """The embeddings of all processes in their order, (K, D)."""
    if not dist.is_initialized():
        return embeddings
    parts: list[NDArray[np.float32]] = [embeddings] * dist.get_world_size()
    dist.all_gather_object(parts, embeddings)
    return np.concatenate([part for part in parts if len(part)])
