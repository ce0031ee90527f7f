"""Networks -> results: the network of a benchmark with its floors, or a given network.

In: a benchmark of benchmarks.yaml whose network is trained, or a file of weights. Out: a folder with result.json and
scores.npz per network. A network whose result exists is skipped. torch is imported only if something is evaluated.
Under torchrun the processes share the images of every test set, and all of them must call these functions.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from bench.config.benchmarks import Benchmark
from bench.errors import InputError, how_to_make
from bench.machine.device import choose_device, process_rank, use_every_core
from bench.runs.fingerprints import TestMode, floor_stages, model_stage, plan_stages
from bench.runs.inputs import protocol_path
from bench.runs.parents import checked_weights
from bench.runs.stage import Stage, claim
from bench.runs.tracking.live import followed, live_result
from evaluate.measure.rows import ResultRow, dataset_row, floor_row, model_row

Precision = Literal["float32", "bf16"]


@dataclass(frozen=True)
class Evaluation:
    """Settings that all networks of one call share."""

    runs: Path
    """Folder of all runs."""
    test_sets: Path
    """Folder of test sets."""
    device: str
    """auto, cpu, cuda or cuda:N."""
    seed: int
    """Seed of the benchmark."""
    test_mode: TestMode = "norm_weighted"
    """How the mirrored image enters the embedding; for ``evaluate_model`` alone."""


def evaluate_scale(benchmark: Benchmark, evaluation: Evaluation) -> Iterator[str]:
    """Evaluate the floors and the trained network of a benchmark.

    Yields:
        A line for the terminal per network.

    Raises:
        InputError: If the network is not trained or was changed since, or a test set is missing.
    """
    folders = {"runs": evaluation.runs, "test_sets": evaluation.test_sets}
    stages = plan_stages(benchmark, seed=evaluation.seed, **folders)
    if not stages.train.is_finished:
        raise InputError(f"{stages.train.directory} holds no trained network; {how_to_make('train', benchmark.name)}")

    def load_floor(name: str, device: str) -> Any:
        from evaluate.measure.embed import raw_pixels
        from fr_train.checkpoint import untrained_backbone

        return raw_pixels if name == "raw pixels" else untrained_backbone(benchmark.recipe.backbone).to(device)

    precision: Precision = "bf16" if benchmark.recipe.precision == "bf16" else "float32"
    for name, stage in floor_stages(benchmark, **folders).items():
        yield _evaluate(stage, partial(load_floor, name), benchmark.protocols, floor_row(name), evaluation, precision)
    row = dataset_row(benchmark, stages)

    def load_checked(device: str) -> Any:
        from evaluate.measure.embed import load_network

        return load_network(checked_weights(stages.train.directory), device)

    yield _evaluate(stages.evaluate, load_checked, benchmark.protocols, row, evaluation, precision)


def evaluate_model(model: Path, protocols: Sequence[str], evaluation: Evaluation) -> Iterator[str]:
    """Evaluate a network that belongs to no benchmark.

    Args:
        model: Weights, a .safetensors, .pth, .ckpt or .onnx file.
        protocols: Names of test sets.
        evaluation: Settings of the call.

    Yields:
        A line for the terminal.

    Raises:
        InputError: If the file or a test set is missing.
    """
    if not model.exists():
        raise InputError(f"--model {model} does not exist; give a .safetensors, .pth, .ckpt or .onnx file")
    mode = evaluation.test_mode
    stage = model_stage(model, protocols, runs=evaluation.runs, test_sets=evaluation.test_sets, test_mode=mode)
    yield evaluate_row(stage, model, protocols, model_row(model, stage.inputs["model"], mode), evaluation)


def evaluate_row(stage: Stage, model: Path, protocols: Sequence[str], row: ResultRow, evaluation: Evaluation) -> str:
    """Evaluate a given file of weights unless its result exists; the line for the terminal.

    Args:
        stage: Folder and inputs of the result (``model_stage``).
        model: The file.
        protocols: Names of test sets.
        row: Network, dataset and recipe of the result.
        evaluation: Settings of the call.

    Raises:
        InputError: If the file holds no network, or a test set is missing.
    """

    def load(device: str) -> Any:
        from evaluate.measure.embed import load_network

        return load_network(model, device)

    return _evaluate(stage, load, protocols, row, evaluation, "float32")


def _evaluate(
    stage: Stage,
    load: Callable[[str], Any],
    protocols: Sequence[str],
    row: ResultRow,
    evaluation: Evaluation,
    precision: Precision,
) -> str:
    """Evaluate one network unless its result exists; the line for the terminal.

    Args:
        stage: Folder and inputs of the result.
        load: Device -> network.
        protocols: Names of test sets.
        row: Network, dataset and recipe of the result.
        evaluation: Settings of the call.
        precision: ``bf16`` embeds under autocast.
    """
    skip = f"evaluate: skip {row.name}, unchanged ({stage.directory})"
    if process_rank()[1] > 1:
        from bench.machine.agreement import refuse_different_processes

        refuse_different_processes(stage.inputs)  # a machine with other test sets would wait in another folder
    if stage.is_finished:
        return skip
    with claim(stage) as is_needed:
        if not is_needed:  # another run held the folder and has finished
            return skip
        from evaluate.measure.result import describe_result, evaluate_network

        folders = {"test_sets": evaluation.test_sets, "runs": evaluation.runs}
        paths = {protocol_path(name, **folders): name for name in protocols}
        _, world_size, device = process_rank(choose_device(evaluation.device))
        if device == "cpu":
            use_every_core(world_size)
        seed = evaluation.seed if row.kind == "dataset" else None
        is_floor = row.kind == "floor"  # takes seconds, so MLflow does not follow it
        live = live_result(stage, row.name, seed=seed, runs=evaluation.runs)
        with nullcontext() if is_floor else followed(live):
            card = evaluate_network(
                stage, lambda: load(device), paths, device=device, seed=evaluation.seed, row=row, precision=precision
            )
        return f"evaluate: {card.name}: {describe_result(card)} ({stage.directory})"
