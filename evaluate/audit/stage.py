"""A dataset and the files of the networks -> a finished audit, and its summary for the terminal.

Loads the networks, skips an audit whose inputs are unchanged, and sends the card to MLflow.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.errors import InputError
from bench.machine.agreement import refuse_different_processes
from bench.machine.device import choose_device, process_rank, use_every_core
from bench.machine.digests import remembered_sha256
from bench.runs.cards import AuditCard
from bench.runs.fingerprints import audit_stage
from bench.runs.tracking.addresses import sync_command
from bench.runs.tracking.sending import sync
from evaluate.audit.embeddings import Embedder
from evaluate.audit.page import at_a_glance
from evaluate.audit.quality.perceptual import load_lpips
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
    second_judge: Path | None = None
    """A second recognition network, for the privacy of training people."""
    lpips: Path | None = None
    """AlexNet's weights, for perceptual distances."""


def audit_unless_finished(
    source: Source, others: Comparisons, networks: NetworkFiles, *, scale_dir: Path, device: str, seed: int
) -> str | None:
    """Audit a dataset unless the same audit exists already. All processes of torchrun must call this.

    Args:
        source: The dataset.
        others: Datasets and test sets to compare with; they need a recognition network.
        networks: Files of the networks.
        scale_dir: ``runs/<scale>``; the audit is written to its folder ``audits``.
        device: auto, cpu, cuda or cuda:N.
        seed: Seed of all samples.

    Returns:
        The main numbers and the path of the page, one per line. None in all processes but the first.

    Raises:
        InputError: If sets to compare with or estimators are given without a recognition network, or an image or a
            network cannot be read.
    """
    needing = {
        "--against": others.references,
        "--against-real": others.real,
        "--members": others.people,
        "--lpips": networks.lpips,
    }
    inputs = _network_inputs(networks, [flag for flag, sources in needing.items() if sources])
    states = {reference.name: reference.state for reference in others.references}
    other_inputs = _other_inputs(others, networks)
    other_inputs["seed"] = seed
    if source.attributes:
        other_inputs["makeup"] = {attribute.name: attribute.state for attribute in source.attributes}
    runs = scale_dir.parent
    stage = audit_stage(scale_dir.name, (source.name, source.state), states, inputs, others=other_inputs, runs=runs)
    page = stage.directory / "audit.html"
    rank, world_size, _ = process_rank()
    refuse_different_processes(stage.inputs)
    if stage.is_finished:
        return f"audit: skip, unchanged ({page})" if rank == 0 else None
    _, _, device = process_rank(choose_device(device))
    if device == "cpu":
        use_every_core(world_size)
    embedder = _load_embedder(networks, inputs, device)
    if second := networks.second_judge:
        network = load_network(second, device)
        judge = Embedder(network, remembered_sha256(second), device, name=second.name)
        others = replace(others, second_judge=judge)
    card = audit(stage, source, others, embedder, cache=runs / "embeddings", seed=seed)
    if card is None or rank != 0:
        return None
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


def _other_inputs(others: Comparisons, networks: NetworkFiles) -> dict[str, Any]:
    """Further declared inputs, by their role."""
    inputs: dict[str, Any] = {}
    if networks.lpips and networks.lpips.is_file():
        inputs["lpips"] = remembered_sha256(networks.lpips)
    if others.real:
        inputs["real"] = {others.real.name: others.real.state}
    if people := others.people:
        inputs["members"] = {people.members.name: people.members.state}
        inputs["control"] = {people.controls.name: people.controls.state}
        inputs["show_members"] = others.show_members
    if networks.second_judge:
        if not others.people:
            raise InputError("--second-network was given without --members; it judges the privacy of training people")
        sha256 = remembered_sha256(networks.second_judge)
        inputs["second_network"] = {"name": networks.second_judge.name, "sha256": sha256}
    return inputs


def _load_embedder(networks: NetworkFiles, inputs: dict[str, str] | None, device: str) -> Embedder | None:
    if networks.recognition is None or inputs is None:
        return None
    estimators = {name: networks.load_estimator(name, path, device) for name, path in networks.estimators.items()}
    perceptual = load_lpips(networks.lpips, device) if networks.lpips else None
    network = load_network(networks.recognition, device)
    digests = {name: inputs[name] for name in estimators}
    return Embedder(network, inputs["sha256"], device, estimators, digests, networks.recognition.name, perceptual)


def _describe(card: AuditCard, page: Path) -> list[str]:
    lines = [f"{name:<28} {value:>9}  {meaning}" for name, value, meaning in at_a_glance(card)]
    return [*lines, f"report {page}"]
