"""The model card of an exported network: its cards and results in, README.md in the Hugging Face Hub's format out.

The card begins with the Hub's metadata (license, tags, accuracies as a model-index); sections in Markdown follow. Where
a card is missing, the text says so.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.files import flatten, sha256
from bench.markdown import markdown_table
from bench.runs.cards import (
    CARD_NAMES,
    DatasetCard,
    ModelCard,
    ProtocolResult,
    ResultCard,
    TemplateResult,
    read_card,
)
from bench.runs.inputs import is_rendered
from bench.runs.parents import parent_of_model
from fr_train.export.files import INPUT, INPUT_NAME, MAX_COSINE_DISTANCE, OUTPUT

README_NAME = "README.md"
_TASK_TYPE, _TASK_NAME = "image-feature-extraction", "face verification"
_ACCURACY_COLUMNS = {
    "accuracy": "accuracy",
    "standard error": "standard_error",
    "AUC": "auc",
    "EER": "eer",
    "pairs": "num_pairs",
}
"""Title of a column -> field of the result; template results lack the first two."""
_INTRODUCTION = (
    "A face recognition network: an aligned face in, an embedding out. The cosine of two embeddings says how alike the "
    "faces are. Weights with SHA-256 `{sha256}`."
)
_USE = (
    "Recognition can harm. Do not use this network to watch or identify people who have not agreed, and expect it to "
    "treat groups of people unevenly: measure it with `evaluate groups`. Accuracies on test sets of "
    "celebrities say little about other cameras, ages and poses."
)
_SNIPPET = f"""```python
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
pixels = (faces.astype(np.float32) - 127.5) / 127.5  # faces: uint8, (B, 112, 112, 3), RGB, aligned
pixels = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
mirrored = np.ascontiguousarray(pixels[..., ::-1])
features = sum(session.run(None, {{"{INPUT_NAME}": part}})[0] for part in (pixels, mirrored))
embeddings = features / np.linalg.norm(features, axis=1, keepdims=True)
```"""

AnyResult = ProtocolResult | TemplateResult
"""Result on image pairs, or on pairs of templates; the latter has no accuracy."""


@dataclass(frozen=True)
class Origin:
    """Cards and results that describe a network; None where a card is missing."""

    name: str
    weights_sha256: str
    model: ModelCard | None = None
    dataset: DatasetCard | None = None
    protocols: Mapping[str, AnyResult] = field(default_factory=dict)
    """Protocol -> result of these weights; the latest one if there are several."""


def find_origin(weights: Path, runs: Path) -> Origin:
    """Find the card of a network, the card of its dataset, and all results of its weights.

    Args:
        weights: Weight file. model.json is looked for beside it, the dataset in the same scale's folder.
        runs: Folder of all runs, in which results are looked for.

    Raises:
        InputError: If a card exists but does not fit its schema.
    """
    digest = sha256(weights)
    folder = weights.resolve().parent
    if not (folder / CARD_NAMES[ModelCard]).exists():
        return Origin(weights.stem, digest, protocols=_results(runs.glob("*/results/*"), digest))
    scale_dir = folder.parent.parent
    model = read_card(folder, ModelCard)
    dataset, _ = parent_of_model(scale_dir, model)
    results = _results((*runs.glob("*/results/*"), *scale_dir.glob("results/*")), digest)
    return Origin(f"{model.scale}-seed{model.seed}", digest, model, dataset, results)


def _results(folders: Iterable[Path], digest: str) -> dict[str, AnyResult]:
    """Protocol -> latest result of the weights with this SHA-256, in the test mode of benchmarks."""
    cards = [read_card(folder, ResultCard) for folder in folders if (folder / CARD_NAMES[ResultCard]).exists()]
    cards = [card for card in cards if card.model.weights_sha256 == digest and "test_mode" not in card.inputs]
    results: dict[str, AnyResult] = {}
    for card in sorted(cards, key=lambda card: card.created_utc):
        results.update(card.protocols)
        results.update(card.templates)
    return results


def render_model_card(origin: Origin, distances: Mapping[str, float]) -> str:
    """Text of README.md for exported files.

    Args:
        origin: Cards and results of the network.
        distances: File name -> largest 1 - cosine between the embeddings of that file and of the source.
    """
    from huggingface_hub import ModelCard as HubCard

    sections = [
        f"# {origin.name}",
        _INTRODUCTION.format(sha256=origin.weights_sha256),
        "## Files",
        _files(distances),
        *([_SNIPPET] if "model.onnx" in distances else []),
        "## Accuracy",
        _accuracy(origin.protocols),
        "## Training data",
        _training_data(origin.dataset, origin.model),
        *_training(origin.model),
        "## Use",
        _USE,
    ]
    return HubCard(f"---\n{_metadata(origin).to_yaml()}\n---\n\n" + "\n\n".join(sections) + "\n").content


def _metadata(origin: Origin) -> Any:
    """The Hub's metadata, a ``ModelCardData``."""
    from huggingface_hub import ModelCardData

    is_rendered_data = origin.dataset is not None and origin.dataset.inputs["generator"]["kind"] == "render"
    return ModelCardData(
        model_name=origin.name,
        license="mit" if is_rendered_data else "other",
        license_name=None if is_rendered_data else "see-training-data",
        pipeline_tag=_TASK_TYPE,
        tags=["face-recognition", "face-verification", "arcface", "onnx"],
        metrics=["accuracy"],
        eval_results=list(_eval_results(origin.protocols)) or None,
    )


def _eval_results(protocols: Mapping[str, AnyResult]) -> Iterator[Any]:
    """One ``EvalResult`` per protocol and metric; values are fractions."""
    from huggingface_hub import EvalResult

    for name, result in protocols.items():
        for metric_type, metric_name, value in _metrics(result):
            if value is not None:
                yield EvalResult(
                    task_type=_TASK_TYPE,
                    task_name=_TASK_NAME,
                    dataset_type=name,
                    dataset_name=f"{name} (rendered)" if is_rendered(name) else name,
                    dataset_args={"num_pairs": result.num_pairs, "sha256": result.sha256},
                    metric_type=metric_type,
                    metric_name=metric_name,
                    metric_value=round(value, 6),
                )


def _metrics(result: AnyResult) -> list[tuple[str, str, float | None]]:
    """Type, name and value of each metric of a result; None where it is not defined."""
    return [
        ("accuracy", "accuracy, published 10-fold protocol", getattr(result, "accuracy", None)),
        ("roc_auc", "area under the ROC curve", result.auc),
        ("eer", "equal error rate", result.eer),
        *(("tar_at_far", f"TAR at FAR {far}", tar) for far, tar in result.tar_at_far.items()),
    ]


def _files(distances: Mapping[str, float]) -> str:
    lines = [
        f"- `{name}`: largest 1 - cosine from the source, on random faces, {distance:.1e} (at most "
        f"{MAX_COSINE_DISTANCE:g} is allowed)"
        for name, distance in distances.items()
    ]
    return "\n".join([*lines, f"- in: {INPUT}", f"- out: {OUTPUT}"])


def _accuracy(protocols: Mapping[str, AnyResult]) -> str:
    if not protocols:
        return "Not evaluated yet."
    rows = []
    for name, result in protocols.items():
        figures = [getattr(result, figure, None) for figure in _ACCURACY_COLUMNS.values()]
        rows.append([name, *figures, f"`{(result.sha256 or '-')[:16]}`"])
    table = markdown_table(("test set", *_ACCURACY_COLUMNS, "SHA-256 of the set"), rows)
    if any(map(is_rendered, protocols)):
        table += "\n\nSets named `render_` are rendered: they prove the pipeline and rank nothing."
    return table


def _training_data(dataset: DatasetCard | None, model: ModelCard | None) -> str:
    if model is None:
        return "Not known: these weights were not trained by this suite. Ask whoever released them."
    data = model.dataset
    counts = f"{data.name}: {data.num_images:,} faces of {data.num_identities:,} people (`{data.sha256}`)."
    if dataset is None:
        return f"{counts} The card of the dataset is missing: state by hand where its faces come from."
    kind = dataset.inputs["generator"]["kind"]
    if kind == "render":
        return f"{counts} Rendered from a procedural head: no photo of a person was used."
    if kind == "files":
        return f"{counts} These faces were given as files: state by hand where they come from, and their terms."
    if kind == "mixture":
        parts = [
            (part.name, part.num_images, part.num_identities, part.sha256) for part in dataset.statistics.parts or []
        ]
        table = markdown_table(("part", "faces", "people", "SHA-256"), parts)
        return f"{counts} A mixture: state by hand where the faces of each part come from, and their terms.\n\n{table}"
    rows = [
        (name, weights.role, weights.trained_on, weights.licence, f"`{weights.sha256[:16]}`")
        for name, weights in dataset.weights.items()
    ]
    table = markdown_table(("file", "role", "trained on", "licence", "SHA-256"), rows)
    return (
        f"{counts} The people do not exist. Networks that learned from photos of real people generated them, and the "
        f"terms of these networks hold for what they generate:\n\n{table}"
    )


def _training(model: ModelCard | None) -> list[str]:
    if model is None:
        return []
    git, cost = model.git, model.cost
    run = (
        f"`{model.command}` at commit {git.commit or 'unknown'}{' with changes' if git.dirty else ''}, "
        f"{model.created_utc}, on {model.environment.gpu or model.environment.cpu}: {cost.seconds / 3600:.2f} hours, "
        f"{model.num_images_seen:,} images seen, {model.num_parameters:,} parameters."
    )
    settings = flatten(model.inputs["recipe"])
    return ["## Training", run, f"Recipe `{model.recipe}`:", markdown_table(("setting", "value"), settings.items())]
