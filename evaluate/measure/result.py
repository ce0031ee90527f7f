"""One network on several test sets -> result.json and scores.npz.

``evaluate`` needs no benchmark: any network, any test sets. ``evaluate_network`` is the stage of a benchmark.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from bench.config.benchmarks import protocol_names
from bench.errors import InputError
from bench.files import exists
from bench.machine.device import choose_device
from bench.machine.digests import remembered_sha256
from bench.machine.facts import Cost
from bench.machine.figures import report
from bench.machine.processes import joined_rank, wait_for_all
from bench.machine.stopwatch import Stopwatch
from bench.runs.card_parts.groups import GroupResult
from bench.runs.card_parts.identification import IdentificationResult
from bench.runs.card_parts.references import ModelReference
from bench.runs.cards import (
    CardHeader,
    GroupSummary,
    ProtocolResult,
    ResultCard,
    TemplateResult,
    write_card,
)
from bench.runs.fingerprints import TestMode
from bench.runs.inputs import find_protocol, how_to_fetch, how_to_render, is_rendered
from bench.runs.stage import Stage
from evaluate.layouts.face_table import FaceTable
from evaluate.layouts.ijb.galleries import gallery_lists, load_ijb_searches
from evaluate.layouts.ijb.templates import TemplateSet
from evaluate.layouts.searches import SearchSet
from evaluate.measure.embed import FaceNetwork, Precision, load_network, shared_embeddings, shared_feature_batches
from evaluate.measure.groups.measure import FMRS, check_group_set, measure_groups
from evaluate.measure.identification.measure import identify
from evaluate.measure.rows import ResultRow, model_row
from evaluate.measure.scores import write_scores
from evaluate.measure.templates import pool_templates, score_templates
from evaluate.measure.verify import EmbedFunction, Verification, verify
from evaluate.test_sets.open import open_test_set
from evaluate.test_sets.registry import RFW, in_mean


@dataclass
class Measurements:
    """What a network reached on each test set."""

    verifications: dict[str, Verification]
    """By name of the set, in the order of evaluation."""
    templates: dict[str, TemplateResult]
    group_errors: dict[str, GroupResult]
    identification: dict[str, IdentificationResult]
    num_images: int
    """Number of images embedded, over all sets."""

    def has(self, name: str) -> bool:
        """Whether a test set of this name was measured."""
        sets = (self.verifications, self.templates, self.group_errors, self.identification)
        return any(name in measured for measured in sets)


def evaluate(
    network: str | Path | FaceNetwork,
    test_sets: str | Path | Iterable[str | Path],
    *,
    device: str | None = None,
    precision: Precision = "float32",
    test_sets_dir: str | Path = "test_sets",
    result_dir: str | Path | None = None,
) -> ResultCard:
    """Accuracies of a network on test sets, with intervals, AUC, EER and TAR at FAR, as a result card.

    Writes nothing unless ``result_dir`` is given.

    Args:
        network: File of a network (see ``load_network``), or a callable from RGB images in [-1, 1], float, shape
            (B, 3, 112, 112), to features, shape (B, D).
        test_sets: Names of sets in ``test_sets_dir``, lists of benchmarks.yaml (``five``, ``rfw``, ``ijb``), or paths
            of sets in any layout of ``load_protocol``, or of IJB-B and IJB-C.
        device: Torch device. By default a file is loaded on the GPU if there is one, and a module stays where it is.
        precision: ``bf16`` runs the network under autocast.
        test_sets_dir: Folder of test sets.
        result_dir: Folder for result.json and scores.npz, which ``compare_results`` reads.

    Returns:
        The card: ``card.protocols`` by name of the set, ``card.mean_accuracy``, ``card.templates`` for IJB. Accuracies
        are fractions.

    Raises:
        InputError: If the network or a test set is missing or broken, two sets have one name, or an embedding is not
            finite.

    Example:
        >>> from evaluate.measure.result import evaluate
        >>> card = evaluate("model.onnx", ["lfw", "my_sets/mine.bin"])
        >>> print(card.protocols["lfw"].accuracy, card.mean_accuracy)
    """
    names = [test_sets] if isinstance(test_sets, str | Path) else test_sets
    named = dict(_find_test_set(name, Path(test_sets_dir)) for name in _expand_lists(names))
    if not named:
        raise InputError("no test sets to evaluate on; give names or paths of test sets")
    stopwatch = Stopwatch()
    module, device, row = _open_network(network, device)
    measured = _measure(module, named, stopwatch, device=device, precision=precision, mode=row.test_mode)
    states = {name: verification.result.sha256 for name, verification in measured.verifications.items()}
    further: Mapping[str, TemplateResult | GroupResult | IdentificationResult]
    for further in (measured.templates, measured.group_errors, measured.identification):
        states |= {name: result.sha256 for name, result in further.items()}
    inputs = {"protocols": states, "model": row.model.weights_sha256 or row.name}
    fingerprint = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]
    header = Stage("evaluate", Path(fingerprint), ResultCard, inputs).card_header(scale="models", seed=0)
    cost = stopwatch.cost(images=measured.num_images, phase="verify", device=device)
    card = _make_card(measured, header, row, cost)
    if result_dir is not None:
        _write(Path(result_dir), card, measured)
    return card


def evaluate_network(
    stage: Stage,
    load: Callable[[], FaceNetwork],
    paths: Mapping[Path, str | None],
    *,
    device: str,
    seed: int,
    row: ResultRow,
    precision: Precision = "float32",
) -> ResultCard:
    """Evaluate a network as a stage: measure, write scores.npz and then result.json. The caller claims the stage.

    The processes of a group share the images; rank 0 writes.

    Args:
        stage: Where the result goes.
        load: Returns the network, on ``device``.
        paths: Verification and template sets, in the order of the columns, each with the name that it was asked for by.
            None takes the name of its file or folder.
        device: Torch device.
        seed: Seed of the benchmark, for the card.
        row: Network, dataset and recipe of the result, and the costs of the stages before this one.
        precision: ``bf16`` runs the network under autocast, as for networks of a bf16 recipe.
    """
    stopwatch = Stopwatch()
    measured = _measure(load(), paths, stopwatch, device=device, precision=precision, mode=row.test_mode)
    cost = stopwatch.cost(images=measured.num_images, phase="verify", device=device, num_processes=joined_rank()[1])
    header = stage.card_header(scale=stage.directory.parent.parent.name, seed=seed)
    card = _make_card(measured, header, row, cost)
    if joined_rank()[0] == 0:
        _write(stage.directory, card, measured)
    wait_for_all()  # whatever a process does next finds the result
    return card


def _expand_lists(names: Iterable[str | Path]) -> list[str | Path]:
    """The test sets, with each named list of benchmarks.yaml replaced by its sets."""
    test_sets: list[str | Path] = []
    for name in names:
        test_sets += protocol_names([name]) if isinstance(name, str) else [name]
    return test_sets


def _find_test_set(test_set: str | Path, test_sets_dir: Path) -> tuple[Path, str | None]:
    """Path of a test set and its name, where it was given by name; a name counts before a path of the same text."""
    found = find_protocol(test_set, test_sets_dir) if isinstance(test_set, str) else None
    if found is not None and Path(test_set).name == test_set:
        return found, str(test_set)
    path = found or Path(test_set)
    if not exists(path):
        advice = f"give a path, or download it: {how_to_fetch(str(test_set), test_sets_dir)}"
        if is_rendered(str(test_set)):
            advice = how_to_render(str(test_set))
        raise InputError(f"{test_set} is neither a set in {test_sets_dir} nor a path that exists; {advice}")
    return path, None


def _open_network(network: str | Path | FaceNetwork, device: str | None) -> tuple[FaceNetwork, str, ResultRow]:
    """The network, its device, and its row."""
    if isinstance(network, str | Path):
        device = choose_device(device or "auto")
        return load_network(network, device), device, model_row(Path(network), remembered_sha256(network))
    if not callable(network):
        raise InputError(f"network is a {type(network).__name__}; give the path of a network's file, or a callable")
    if device is None:
        parameters = network.parameters() if isinstance(network, torch.nn.Module) else iter(())
        device = str(next((parameter.device for parameter in parameters), "cpu"))
    name = getattr(network, "__name__", type(network).__name__)
    return network, device, ResultRow("model", name, ModelReference(name=name))


def _measure(
    network: FaceNetwork,
    paths: Mapping[Path, str | None],
    stopwatch: Stopwatch,
    *,
    device: str,
    precision: Precision,
    mode: TestMode,
) -> Measurements:
    """Load each set (phase ``load``) and measure the network on it (phase ``verify``), one after the other."""
    measured = Measurements({}, {}, {}, {}, 0)
    embed_faces = partial(shared_embeddings, network, device=device, precision=precision, mode=mode)
    for path, name in paths.items():
        with stopwatch.phase("load"):
            test_set = open_test_set(path, name)
        if measured.has(test_set.name):
            raise InputError(f"two test sets are called {test_set.name}, one of them {path}; rename one")
        if isinstance(test_set, FaceTable):
            check_group_set(test_set)
        with stopwatch.phase("verify"):
            if isinstance(test_set, TemplateSet):
                batches = shared_feature_batches(network, test_set.faces, device=device, precision=precision, mode=mode)
                _measure_templates(pool_templates(batches, test_set), test_set, path, measured)
            elif isinstance(test_set, FaceTable):
                measured.group_errors[test_set.name] = measure_groups(embed_faces(test_set.faces), test_set)
            elif isinstance(test_set, SearchSet):
                measured.identification[test_set.name] = identify(
                    embed_faces(test_set.faces),
                    test_set.searches,
                    num_images=len(test_set.faces),
                    sha256=test_set.sha256,
                )
            else:
                measured.verifications[test_set.name] = verify(cast(EmbedFunction, embed_faces), test_set)
                accuracy = measured.verifications[test_set.name].result.accuracy
                report({"step": 0, "time": time.time(), f"accuracy/{test_set.name}": accuracy})
        measured.num_images += len(test_set.faces)
    return measured


def _measure_templates(
    features: NDArray[np.float32], templates: TemplateSet, path: Path, measured: Measurements
) -> None:
    """Compare templates one to one and, if the set has lists of galleries, search for the probes in them."""
    measured.templates[templates.name] = score_templates(features, templates)
    if gallery_lists(path):
        searches, digests = load_ijb_searches(path, templates)
        digest = hashlib.sha256(f"{templates.sha256}\n{digests}".encode()).hexdigest()
        measured.identification[templates.name] = identify(
            features, searches, num_images=len(templates.faces), sha256=digest
        )


def _make_card(measured: Measurements, header: CardHeader, row: ResultRow, cost: Cost) -> ResultCard:
    """The card; ``cost`` is that of the evaluation."""
    results = {name: verification.result for name, verification in measured.verifications.items()}
    counted = [results[name] for name in in_mean(results)]
    errors = np.array([result.standard_error for result in counted])
    return ResultCard(
        **header,
        cost=cost,
        row=row.kind,
        name=row.name,
        dataset=row.dataset,
        model=row.model,
        recipe=row.recipe,
        stage_costs=row.stage_costs | {"evaluate": cost},
        protocols=results,
        templates=measured.templates,
        group_errors=measured.group_errors,
        identification=measured.identification,
        groups=summarise_groups(results),
        mean_accuracy=float(np.mean([result.accuracy for result in counted])) if counted else None,
        mean_standard_error=float(np.sqrt(np.sum(errors**2)) / len(errors)) if counted else None,
    )


def _write(directory: Path, card: ResultCard, measured: Measurements) -> None:
    """Write the scores, then the card: a folder with a card is complete."""
    arrays = {name: verification.arrays for name, verification in measured.verifications.items()}
    write_scores(directory / "scores.npz", arrays)
    write_card(directory, card)


def summarise_groups(results: Mapping[str, ProtocolResult]) -> dict[str, GroupSummary]:
    """Mean and standard deviation over RFW's groups of people; empty unless all four were measured."""
    if not set(RFW) <= results.keys():
        return {}
    accuracies = [results[name].accuracy for name in RFW]
    summary = GroupSummary(
        protocols=RFW, mean_accuracy=float(np.mean(accuracies)), std=float(np.std(accuracies, ddof=1))
    )
    return {"rfw": summary}


def describe_result(card: ResultCard) -> str:
    """One line of text: accuracies, TAR at FAR of template protocols, and the mean accuracy."""
    parts = [f"{name} {result.accuracy:.2%}" for name, result in card.protocols.items()]
    for name, result in card.templates.items():
        resolved = [(far, tar) for far, tar in result.tar_at_far.items() if tar is not None]
        parts += [f"{name} TAR {tar:.2%} at FAR {far}" for far, tar in resolved]
    for name, searched in card.identification.items():
        parts.append(f"{name} rank-1 {searched.rank['1']:.2%}")
    for name, grouped in card.group_errors.items():
        garbe = {key: errors[FMRS[0]] for key, errors in grouped.attributes.items()}
        values = [(key, each.measures["garbe"].value) for key, each in garbe.items() if each is not None]
        parts += [f"{name} GARBE by {key} {value:.3f}" for key, value in values if value is not None]
    mean = "" if card.mean_accuracy is None else f"; mean {card.mean_accuracy:.2%}"
    return ", ".join(parts) + mean
