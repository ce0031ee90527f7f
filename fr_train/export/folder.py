"""A trained network in, a folder for others out: the network in several formats, and its model card."""

from collections.abc import Sequence
from pathlib import Path

from bench.errors import InputError
from bench.files import atomic_path, write_text
from bench.runs.cards import CARD_NAMES, ModelCard
from bench.runs.parents import checked_weights
from fr_train.export.eval_results import render_eval_results
from fr_train.export.files import export
from fr_train.export.model_card import README_NAME, find_origin, render_model_card


def export_folder(model: Path, target: Path, formats: Sequence[str], runs: Path) -> str:
    """Write a network and its model card into a new folder, which appears whole or not at all.

    Args:
        model: Weights (.safetensors, or a released network), or the folder of a finished training.
        target: Folder to create.
        formats: ``"onnx"``, ``"safetensors"`` or both.
        runs: Folder of all runs, in which results of the network are looked for.

    Returns:
        A line per file that was written, with the largest difference of its embeddings.

    Raises:
        InputError: If the target exists, or the weights are no network that can be exported.
    """
    if target.exists():
        raise InputError(f"{target} exists already; delete it or name another")
    weights = model
    if model.is_dir():
        is_trained_here = (model / CARD_NAMES[ModelCard]).exists()
        weights = checked_weights(model) if is_trained_here else model / "model.safetensors"
    with atomic_path(target) as folder:
        distances = export(weights, folder, formats)
        origin = find_origin(weights, runs)
        write_text(folder / README_NAME, render_model_card(origin, distances))
        eval_results = render_eval_results(origin.protocols)
        for path, text in eval_results.items():
            (folder / path).parent.mkdir(exist_ok=True)
            write_text(folder / path, text)
    lines = [f"{target / name}: 1 - cosine at most {distance:.1e}" for name, distance in distances.items()]
    lines += [f"{target / path}: accuracies for the Hub" for path in eval_results]
    return "\n".join([*lines, f"{target / README_NAME}: model card for the Hub"])
