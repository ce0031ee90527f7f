"""Accuracies of a network during its training. In: a network and test sets. Out: one accuracy per set, no card.

The processes of a distributed training share the faces of each set, so none waits while another validates. Between
validations the images stay encoded, or memory-mapped as uint8.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import torch.distributed as dist

from evaluate.measure.embed import FaceNetwork, Precision, shared_embeddings
from evaluate.metrics import fold_accuracies
from evaluate.protocol import Protocol, load_protocol


class Validation:
    """Measures networks on the same test sets again and again. All processes must call it at the same time.

    Args:
        find: Returns name -> path of the test sets; called by all processes at the first validation. It may
            write sets that do not exist yet.
        device: Torch device of the networks in this process.
        precision: ``bf16`` embeds under autocast.
    """

    def __init__(
        self, find: Callable[[], Mapping[str, Path]], *, device: str, precision: Precision = "float32"
    ) -> None:
        self._find, self._device, self._precision = find, device, precision
        self._protocols: list[Protocol] = []

    def __call__(self, network: FaceNetwork) -> dict[str, float]:
        """Accuracy on each set by the published 10-fold protocol, a fraction; equal in every process."""
        if not self._protocols:
            self._protocols = [load_protocol(path, name) for name, path in self._find().items()]
        _use_statistics_of_rank0(network)
        return {protocol.name: self._accuracy(network, protocol) for protocol in self._protocols}

    def _accuracy(self, network: FaceNetwork, protocol: Protocol) -> float:
        embeddings = shared_embeddings(network, protocol.faces, device=self._device, precision=self._precision)
        return float(fold_accuracies(embeddings[protocol.pairs.ravel()], protocol.is_genuine).mean())


def _use_statistics_of_rank0(network: FaceNetwork) -> None:
    """Copy rank 0's buffers, which hold the batch-norm statistics, to all processes.

    Each process collects batch-norm statistics of its own faces. Rank 0 saves the network, so the network is measured
    with the statistics of rank 0. Training does not read them.
    """
    if dist.is_initialized() and isinstance(network, torch.nn.Module):
        for buffer in network.buffers():
            dist.broadcast(buffer, 0)
