"""The cards that a result names as its parents: the model that was evaluated, and the dataset that trained it."""

from dataclasses import dataclass
from pathlib import Path

from bench.machine.digests import check_digest
from bench.runs.cards import CARD_NAMES, AnyCard, DatasetCard, ModelCard, ResultCard, read_card


@dataclass(frozen=True)
class Parents:
    """Cards behind a result, with their folders. None where a card was deleted; floors and given weights have none."""

    model: ModelCard | None = None
    model_dir: Path | None = None
    dataset: DatasetCard | None = None
    dataset_dir: Path | None = None


def parents_of_result(result_dir: Path, card: ResultCard | None = None) -> Parents:
    """The model and the dataset behind a result in ``runs/<scale>/results/<fingerprint>``.

    Args:
        result_dir: Folder of result.json.
        card: Its card; None reads it.

    Raises:
        InputError: If a card exists but does not fit its schema.
    """
    card = card or read_card(result_dir, ResultCard)
    scale_dir = result_dir.parent.parent
    model, model_dir = _read_existing(scale_dir / "models" / str(card.inputs.get("model")), ModelCard)
    if model is None:
        return Parents()
    dataset, dataset_dir = parent_of_model(scale_dir, model)
    return Parents(model, model_dir, dataset, dataset_dir)


def parent_of_model(scale_dir: Path, model: ModelCard) -> tuple[DatasetCard | None, Path | None]:
    """The card and folder of the dataset that trained a model; None, None if they were deleted.

    Args:
        scale_dir: ``runs/<scale>``, in which model and dataset lie.
        model: The model's card.
    """
    return _read_existing(scale_dir / "faces" / str(model.inputs.get("dataset")), DatasetCard)


def checked_weights(model_dir: Path) -> Path:
    """Path of a trained network's weights, which have the SHA-256 that its card records.

    Args:
        model_dir: Folder of model.json.

    Raises:
        InputError: If the weights are missing or were changed.
    """
    path = model_dir / "model.safetensors"
    remedy = f"restore the file, or delete {model_dir / CARD_NAMES[ModelCard]} to finish the training again"
    check_digest(path, read_card(model_dir, ModelCard).weights_sha256, remedy)
    return path


def _read_existing(directory: Path, kind: type[AnyCard]) -> tuple[AnyCard | None, Path | None]:
    if not (directory / CARD_NAMES[kind]).exists():
        return None, None
    return read_card(directory, kind), directory
