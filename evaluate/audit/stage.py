"""A dataset and the files of the networks -> a finished audit, and its summary for the terminal.

Loads the networks, skips an audit whose inputs are unchanged, and sends the card to MLflow.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import InputError
from bench.machine.device import choose_device
from bench.machine.digests import remembered_sha256
from bench.runs.cards import AuditCard
from bench.runs.fingerprints import audit_stage
from bench.runs.tracking.addresses import sync_command
from bench.runs.tracking.sending import sync
from evaluate.audit.embeddings import Embedder
from evaluate.audit.page import at_a_glance
from evaluate.audit.run import Comparisons, audit
from evaluate.audit.source import Source
from evaluate.measure.embed import FaceNetwork, load_network


@dataclass(frozen=True)
class NetworkFiles:
    """Files of the networks that an audit uses."""

    recognition: Path | None
    """Recognition network; None audits the images only."""
    estimators: Mapping[str, Path]
    """Name of a property of an image (quality, yaw) -> file of its estimator."""
    load_estimator: Callable[[str, Path, str], FaceNetwork]
    """Name, file and device -> estimator."""


def audit_unless_finished(
    source: Source, others: Comparisons, networks: NetworkFiles, *, scale_dir: Path, device: str, seed: int
) -> str:
    """Audit a dataset unless the same audit exists already.

    Args:
        source: The dataset.
        others: Datasets and test sets to compare with; they need a recognition network.
        networks: Files of the networks.
        scale_dir: ``runs/<scale>``; the audit is written to its folder ``audits``.
        device: auto, cpu, cuda or cuda:N.
        seed: Seed of all samples.

    Returns:
        The main figures and the path of the page, one per line.

    Raises:
        InputError: If sets to compare with or estimators are given without a recognition network, or an image or a
            network cannot be read.
    """
    needing = {"--against": others.references, "--against-real": others.real}
    inputs = _network_inputs(networks, [flag for flag, sources in needing.items() if sources])
    states = {reference.name: reference.state for reference in others.references}
    more = {"real": {others.real.name: others.real.state}} if others.real else {}
    runs = scale_dir.parent
    stage = audit_stage(scale_dir.name, (source.name, source.state), states, inputs, others=more, runs=runs)
    page = stage.directory / "audit.html"
    if stage.is_finished:
        return f"audit: skip, unchanged ({page})"
    embedder = _load_embedder(networks, inputs, choose_device(device))
    card = audit(stage, source, others, embedder, cache=runs / "embeddings", seed=seed)
    _, problem = sync(runs)
    warnings = [f"warning: {problem}; the card is kept, send it later with: {sync_command(runs)}"] if problem else []
    return "\n".join([*_describe(card, page), *warnings])


def _network_inputs(networks: NetworkFiles, needing: Sequence[str]) -> dict[str, str] | None:
    """The networks as declared inputs of the audit: name and hash of the network, hash of each estimator.

    Args:
        networks: Files of the networks.
        needing: Flags that were given and need a recognition network.
    """
    if networks.recognition is None:
        if flags := [*needing, *(f"--{name}" for name in networks.estimators)]:
            raise InputError(
                f"{', '.join(flags)} was given without --network; give the file of a recognition network too"
            )
        return None
    hashes = {name: remembered_sha256(path) for name, path in networks.estimators.items()}
    return {"name": networks.recognition.name, "sha256": remembered_sha256(networks.recognition)} | hashes


def _load_embedder(networks: NetworkFiles, inputs: dict[str, str] | None, device: str) -> Embedder | None:
    if networks.recognition is None or inputs is None:
        return None
    estimators = {name: networks.load_estimator(name, path, device) for name, path in networks.estimators.items()}
    return Embedder(load_network(networks.recognition, device), inputs["sha256"], device, estimators)


def _describe(card: AuditCard, page: Path) -> list[str]:
    lines = [f"{name:<28} {value:>9}  {meaning}" for name, value, meaning in at_a_glance(card)]
    return [*lines, f"report {page}"]
