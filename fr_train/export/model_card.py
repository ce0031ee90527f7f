"""The card of a trained network as README.md in the Hub's format: accuracies as a model-index, data, recipe, use.

In: the cards of the model, its dataset and its results, as far as they lie in the folder of runs. Out: Markdown with
the Hub's metadata in front.
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
from fr_train.export.files import INPUT, INPUT_NAME, MAX_COSINE_DISTANCE, OUTPUT

README_NAME = "README.md"
_TASK = ("image-feature-extraction", "face verification")
_FIGURES = ("accuracy", "standard_error", "auc", "eer", "num_pairs")
_USE = (
    "Recognition can harm. Do not use this network to watch or identify people who have not agreed, and expect it to "
    "treat groups of people unevenly: nothing here measures that. Accuracies on verification sets of celebrities say "
    "little about other cameras, ages and poses."
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
"""Of image pairs, or of pairs of templates, which have no accuracy."""


@dataclass(frozen=True)
class Origin:
    """What is known of a network."""

    name: str
    weights_sha256: str
    model: ModelCard | None = None
    dataset: DatasetCard | None = None
    protocols: Mapping[str, AnyResult] = field(default_factory=dict)
    """Results by protocol; of several results of these weights, the latest."""


def find_origin(weights: Path, runs: Path) -> Origin:
    """The cards of a network: model.json beside it, the dataset that it names, and all results of these very weights.

    Args:
        weights: The file.
        runs: Folder of all runs, in which results are looked for, beside the folder that ``weights`` lies in.
    """
    digest = sha256(weights)
    folder = weights.resolve().parent
    if not (folder / CARD_NAMES[ModelCard]).exists():
        return Origin(weights.stem, digest, protocols=_results(runs.glob("*/results/*"), digest))
    scale_dir = folder.parent.parent
    model = read_card(folder, ModelCard)
    dataset_dir = scale_dir / "faces" / str(model.inputs.get("dataset"))
    dataset = read_card(dataset_dir, DatasetCard) if (dataset_dir / CARD_NAMES[DatasetCard]).exists() else None
    results = _results((*runs.glob("*/results/*"), *scale_dir.glob("results/*")), digest)
    return Origin(f"{model.scale}-seed{model.seed}", digest, model, dataset, results)


def _results(folders: Iterable[Path], digest: str) -> dict[str, AnyResult]:
    cards = [read_card(folder, ResultCard) for folder in folders if (folder / CARD_NAMES[ResultCard]).exists()]
    cards = sorted((card for card in cards if card.model.get("weights_sha256") == digest), key=lambda c: c.created_utc)
    return {name: result for card in cards for name, result in (card.protocols | card.templates).items()}


def render_model_card(origin: Origin, distances: Mapping[str, float]) -> str:
    """README.md of exported files.

    Args:
        origin: What is known of the network.
        distances: File name -> largest 1 - cosine from the source on random faces.
    """
    from huggingface_hub import ModelCard as HubCard

    sections = [
        f"# {origin.name}",
        "A face recognition network: an aligned face in, an embedding out; the cosine of two embeddings says how alike "
        f"the faces are. Weights with SHA-256 `{origin.weights_sha256}`.",
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
    from huggingface_hub import ModelCardData

    licence = "mit" if origin.dataset and origin.dataset.inputs["generator"]["kind"] == "render" else "other"
    return ModelCardData(
        model_name=origin.name,
        license=licence,
        license_name="see-training-data" if licence == "other" else None,
        pipeline_tag=_TASK[0],
        tags=["face-recognition", "face-verification", "arcface", "onnx"],
        metrics=["accuracy"],
        eval_results=list(_eval_results(origin.protocols)) or None,
    )


def _eval_results(protocols: Mapping[str, AnyResult]) -> Iterator[Any]:
    """One entry per protocol and metric; fractions."""
    from huggingface_hub import EvalResult

    for name, result in protocols.items():
        metrics: tuple[tuple[str, str, float | None], ...] = (
            ("accuracy", "accuracy, published 10-fold protocol", getattr(result, "accuracy", None)),
            ("roc_auc", "area under the ROC curve", result.auc),
            ("eer", "equal error rate", result.eer),
            *(("tar_at_far", f"TAR at FAR {far}", tar) for far, tar in result.tar_at_far.items()),
        )
        for kind, label, value in metrics:
            if value is not None:
                yield EvalResult(
                    task_type=_TASK[0],
                    task_name=_TASK[1],
                    dataset_type=name,
                    dataset_name=f"{name} (rendered)" if is_rendered(name) else name,
                    dataset_args={"num_pairs": result.num_pairs, "sha256": result.sha256},
                    metric_type=kind,
                    metric_name=label,
                    metric_value=round(value, 6),
                )


def _files(distances: Mapping[str, float]) -> str:
    lines = [
        f"- `{name}`: largest 1 - cosine from the source, on random faces, {distance:.1e} (at most "
        f"{MAX_COSINE_DISTANCE:g} is let through)"
        for name, distance in distances.items()
    ]
    return "\n".join([*lines, f"- in: {INPUT}", f"- out: {OUTPUT}"])


def _accuracy(protocols: Mapping[str, AnyResult]) -> str:
    if not protocols:
        return "Not evaluated yet."
    columns = ("test set", "accuracy", "standard error", "AUC", "EER", "pairs", "SHA-256 of the set")
    rows = (
        (name, *(getattr(one, figure, None) for figure in _FIGURES), f"`{(one.sha256 or '-')[:16]}`")
        for name, one in protocols.items()
    )
    note = "\n\nSets named `render_` are rendered: they prove the pipeline and rank nothing."
    return markdown_table(columns, rows) + (note if any(map(is_rendered, protocols)) else "")


def _training_data(dataset: DatasetCard | None, model: ModelCard | None) -> str:
    if model is None:
        return "Not known: these weights were not trained by this suite. Ask whoever released them."
    told = model.dataset
    what = f"{told['name']}: {told['num_images']:,} faces of {told['num_identities']:,} people (`{told['sha256']}`)."
    if dataset is None:
        return what + " The card of the dataset is not there any more: where its faces come from must be said by hand."
    kind = dataset.inputs["generator"]["kind"]
    if kind == "render":
        return what + " Rendered from a procedural head: no photo of a person was used."
    if kind == "files":
        return what + " These faces were given as files: where they come from, and their terms, must be said by hand."
    entries = dataset.statistics.get("weights", {}).items()
    rows = ((name, one["role"], one["trained_on"], one["licence"], f"`{one['sha256'][:16]}`") for name, one in entries)
    columns = ("file", "role", "trained on", "licence", "SHA-256")
    return (
        f"{what} People who do not exist, made by networks that learned from photos of real people, and whose terms "
        f"hold for what was made with them:\n\n{markdown_table(columns, rows)}"
    )


def _training(model: ModelCard | None) -> list[str]:
    if model is None:
        return []
    git, cost = model.git, model.cost
    how = (
        f"`{model.command}` at commit {git.commit or 'unknown'}{' with changes' if git.dirty else ''}, "
        f"{model.created_utc}, on {model.environment.gpu or model.environment.cpu}: {cost.seconds / 3600:.2f} hours, "
        f"{model.num_images_seen:,} images seen, {model.num_parameters:,} parameters."
    )
    settings = flatten(model.inputs["recipe"])
    return ["## Training", how, f"Recipe `{model.recipe}`:", markdown_table(("setting", "value"), settings.items())]
