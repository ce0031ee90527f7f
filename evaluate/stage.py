"""Networks -> results: the network of a benchmark with its floors, or a given network.

In: a benchmark of benchmarks.yaml whose network is trained, or a file of weights. Out: a folder with result.json and
scores.npz per network. A network whose result exists is skipped. torch is imported only if something is evaluated.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.config.benchmarks import Benchmark
from bench.config.settings import Settings
from bench.errors import InputError
from bench.machine.device import choose_device
from bench.runs.fingerprints import floor_stages, model_stage, plan_stages
from bench.runs.inputs import find_protocol, is_rendered
from bench.runs.stage import Stage

Precision = Literal["float32", "bf16"]


@dataclass(frozen=True)
class Evaluation:
    """Settings that all networks of one call share."""

    runs: Path
    """Folder of all runs."""
    test_sets: Path
    """Folder of verification sets."""
    device: str
    """auto, cpu, cuda or cuda:N."""
    seed: int
    """Seed of the benchmark."""
    render_protocol: Callable[[str, Path], Path]
    """Name of a rendered protocol and folder of all runs -> its path, rendered if it does not exist."""
    build_backbone: Callable[[Settings], Any]
    """Settings of a recipe's backbone -> a network with random weights."""


def evaluate_scale(benchmark: Benchmark, evaluation: Evaluation) -> Iterator[str]:
    """Evaluate the floors and the trained network of a benchmark.

    Yields:
        A line for the terminal per network.

    Raises:
        InputError: If the network is not trained, or a test set is missing.
    """
    folders = {"runs": evaluation.runs, "test_sets": evaluation.test_sets}
    stages = plan_stages(benchmark, seed=evaluation.seed, **folders)
    if not stages.train.is_finished:
        raise InputError(
            f"{stages.train.directory} holds no trained network; run make train SCALE={benchmark.name} first"
        )
    from evaluate.measure.embed import load_network, raw_pixels
    from evaluate.measure.result import dataset_row, floor_row

    floors: dict[str, Callable[[str], Any]] = {
        "raw pixels": lambda _: raw_pixels,
        "untrained backbone": lambda device: _untrained_backbone(benchmark, evaluation).to(device),
    }
    precision: Precision = "bf16" if benchmark.recipe.precision == "bf16" else "float32"
    for name, stage in floor_stages(benchmark, **folders).items():
        yield _evaluate(stage, floors[name], benchmark.protocols, floor_row(name), evaluation, precision)
    weights = stages.train.directory / "model.safetensors"
    row = dataset_row(benchmark, stages)
    yield _evaluate(
        stages.evaluate, lambda device: load_network(weights, device), benchmark.protocols, row, evaluation, precision
    )


def evaluate_model(model: Path, protocols: Sequence[str], evaluation: Evaluation) -> Iterator[str]:
    """Evaluate a network that belongs to no benchmark.

    Args:
        model: Weights, a .safetensors, .pth or .onnx file.
        protocols: Names of test sets.
        evaluation: Settings of the call.

    Yields:
        A line for the terminal.

    Raises:
        InputError: If the file or a test set is missing.
    """
    if not model.exists():
        raise InputError(f"--model {model} does not exist; give a .safetensors, .pth or .onnx file")
    from evaluate.measure.embed import load_network
    from evaluate.measure.result import model_row

    stage = model_stage(model, protocols, runs=evaluation.runs, test_sets=evaluation.test_sets)
    row = model_row(model, stage.inputs["model"])
    yield _evaluate(stage, lambda device: load_network(model, device), protocols, row, evaluation, "float32")


def _evaluate(
    stage: Stage,
    load: Callable[[str], Any],
    protocols: Sequence[str],
    row: dict[str, Any],
    evaluation: Evaluation,
    precision: Precision,
) -> str:
    """Evaluate one network unless its result exists; the line for the terminal.

    Args:
        stage: Folder and inputs of the result.
        load: Device -> network.
        protocols: Names of test sets.
        row: Fields of the card that depend on the kind of network.
        evaluation: Settings of the call.
        precision: ``bf16`` embeds under autocast.
    """
    if stage.is_finished:
        return f"evaluate: skip {row['name']}, unchanged ({stage.directory})"
    from evaluate.measure.result import describe_result, evaluate_network

    paths = [_protocol_path(name, evaluation) for name in protocols]
    device = choose_device(evaluation.device)
    card = evaluate_network(
        stage, lambda: load(device), paths, device=device, seed=evaluation.seed, row=row, precision=precision
    )
    return f"evaluate: {card.name}: {describe_result(card)} ({stage.directory})"


def _untrained_backbone(benchmark: Benchmark, evaluation: Evaluation) -> Any:
    """The recipe's backbone with the random weights of seed 0, which leaves torch's generator untouched."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return evaluation.build_backbone(benchmark.recipe.backbone)


def _protocol_path(name: str, evaluation: Evaluation) -> Path:
    """File or folder of a protocol.

    Raises:
        InputError: If it is missing.
    """
    if is_rendered(name):
        return evaluation.render_protocol(name, evaluation.runs)
    path = find_protocol(name, evaluation.test_sets)
    if path is None:
        raise InputError(
            f"no {name} in {evaluation.test_sets}; run python -m evaluate fetch {name}, save it there as {name}.bin, "
            "or set TEST_SETS to the folder that holds it"
        )
    return path
