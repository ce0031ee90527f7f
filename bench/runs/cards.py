"""The cards of a run: schema of dataset.json, model.json, result.json, audit.json and generator.json; write and read.

A card states what was made, from which settings and parents (by the SHA-256 of the parent's card), by which code, on
which machine and at what cost. Accuracies and rates are fractions. An undefined value is null, never 0.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar

from pydantic import Field

from bench.errors import InputError
from bench.files import read_model, sha256, write_json
from bench.machine.facts import Cost, Environment, Git, Section
from bench.machine.journal import JournalLine
from bench.runs.card_parts.audit import (
    ColourOrder,
    ConsistencySection,
    Distribution,
    DuplicatesSection,
    ImagesSection,
    LeakageSection,
    PairsSection,
    SeparationSection,
)
from bench.runs.card_parts.groups import GroupResult
from bench.runs.card_parts.identification import IdentificationResult
from bench.runs.card_parts.makeup import MakeUp
from bench.runs.card_parts.privacy import PrivacySection
from bench.runs.card_parts.quality import DetailFigures, DiversityFigures, QualitySection
from bench.runs.card_parts.references import (
    BestNetwork,
    DatasetReference,
    ModelReference,
    NetworkReference,
    RecipeReference,
    WeightProvenance,
)
from bench.runs.card_parts.statistics import DatasetStatistics

SCHEMA_VERSION = 5
"""2 adds folds, intervals, the generator's hash and prices; 3 adds templates and groups;
4 adds changes, parts of mixtures and quotas; 5 adds errors by group and identification.
All are optional, so that older cards load."""


def is_none(value: Any) -> bool:
    """Whether a field was not measured, so that it is left out of the JSON and earlier cards stay as they are."""
    return value is None


class CardHeader(TypedDict):
    """The fields of every card that are known when its stage starts."""

    scale: str
    seed: int
    fingerprint: str
    inputs: dict[str, Any]
    changes: tuple[str, ...]
    command: str
    environment: Environment
    git: Git


class Card(Section):
    """The fields of every card."""

    schema_version: int = SCHEMA_VERSION
    scale: str
    seed: int
    fingerprint: str = Field(description="hash of the declared inputs; the name of the folder")
    inputs: dict[str, Any] = Field(description="the declared inputs of the stage")
    changes: tuple[str, ...] = Field(
        (),
        exclude_if=lambda changes: not changes,
        description="settings that differ from the entry of benchmarks.yaml, as FIELD=VALUE",
    )
    command: str
    cost: Cost
    environment: Environment
    git: Git
    created_utc: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


class DatasetCard(Card):
    """dataset.json: a face dataset."""

    kind: Literal["dataset"] = "dataset"
    name: str
    path: str = Field(description="LMDB or folder, relative to the card's folder where it lies inside it")
    num_images: int
    num_identities: int
    content_sha256: str | None = Field(None, description="of faces.lmdb; null for a folder")
    statistics: DatasetStatistics = Field(default_factory=DatasetStatistics)

    @property
    def weights(self) -> dict[str, WeightProvenance]:
        """Provenance of every weight file of the generator, by name; empty for datasets that no network made."""
        return self.statistics.weights or {}


@dataclass(frozen=True)
class MadeFaces:
    """The faces that a generator made or found, for the dataset's card."""

    path: str
    num_images: int
    num_identities: int
    content_sha256: str | None = None
    statistics: DatasetStatistics = field(default_factory=DatasetStatistics)
    name: str = ""
    """Name of the dataset; the stage gives it."""
    device: str = "cpu"
    """Where the networks ran."""


class ModelCard(Card):
    """model.json: a trained recognition network."""

    kind: Literal["model"] = "model"
    recipe: str
    recipe_sha256: str = Field(description="of the recipe's settings; equal hashes mean equal settings")
    dataset: DatasetReference
    weights_sha256: str
    num_parameters: int
    num_images_seen: int
    final_loss: float | None
    final: JournalLine = Field({}, description="last line of train.jsonl; data_wait_share of the whole run")
    best: BestNetwork | None = None
    options: dict[str, str | int | float | bool | None] = Field(
        {}, description="how the run was carried out: affects speed and memory, not what is learned"
    )


class GeneratorCard(Card):
    """generator.json: a trained face generator."""

    kind: Literal["generator"] = "generator"
    recipe: str
    recipe_sha256: str
    dataset: DatasetReference
    networks: dict[str, NetworkReference] = Field(description="by role: identity, judge")
    perceptual_network: str = Field(description="network of the loss's perceptual term")
    weights_sha256: str
    num_parameters: int
    num_images_seen: int
    figures: dict[str, float] = Field(description="final terms of the loss, and numbers on held-out identities")


class ProtocolResult(Section):
    """One verification protocol."""

    accuracy: float = Field(ge=0, le=1, description="mean of the folds, published 10-fold protocol")
    fold_std: float = Field(ge=0, description="population standard deviation of the folds")
    standard_error: float = Field(ge=0, description="binomial: sqrt(accuracy (1 - accuracy) / num_pairs)")
    num_pairs: int
    auc: float | None
    eer: float | None
    tar_at_far: dict[str, float | None] = Field(description="null where the impostor pairs cannot resolve the rate")
    exact_accuracy: float | None = Field(None, description="folds with exact thresholds in place of the grid")
    d_prime: float | None = None
    sha256: str | None = Field(None, description="of the test set as evaluated")
    copy_known_as: str | None = Field(
        None,
        description="known version of the test set that has these bytes, by the registry or the record of its download",
    )
    num_impostors: int | None = None
    folds: tuple[float, ...] = Field((), description="accuracy of each fold")
    interval: tuple[float, float] | None = Field(None, description="95 % bootstrap interval of the accuracy")
    interval_over: Literal["pairs", "identities"] | None = Field(
        None, description="units that the bootstrap resamples: identities if the test set names them, else pairs"
    )


class TemplateResult(Section):
    """One protocol that compares templates one to one (IJB-B, IJB-C); a template pools many faces of a person."""

    tar_at_far: dict[str, float | None] = Field(description="null where the impostor pairs cannot resolve the rate")
    auc: float
    eer: float
    num_pairs: int
    num_impostors: int
    num_templates: int
    num_images: int
    sha256: str = Field(description="of the lists and images as evaluated")
    copy_known_as: str | None = Field(
        None, description="known version of the test set that has these bytes, by the registry"
    )


class GroupSummary(Section):
    """Accuracies over groups of people: their mean and their spread."""

    protocols: tuple[str, ...] = Field(description="one per group")
    mean_accuracy: float
    std: float = Field(ge=0, description="sample standard deviation over the groups, as papers on RFW print it")


class ResultCard(Card):
    """result.json: accuracies of one network, with everything that its leaderboard row shows."""

    kind: Literal["result"] = "result"
    row: Literal["dataset", "floor", "model"] = Field(
        "dataset",
        description="dataset: trained here; floor: no training; model: weights and recipe from elsewhere",
    )
    name: str
    dataset: DatasetReference | None
    model: ModelReference
    recipe: RecipeReference | None
    protocols: dict[str, ProtocolResult]
    templates: dict[str, TemplateResult] = Field({}, description="template protocols; never in the mean")
    groups: dict[str, GroupSummary] = Field({}, description="protocols that are groups of one set: rfw")
    group_errors: dict[str, GroupResult] = Field(
        {}, exclude_if=lambda sets: not sets, description="sets of people of known groups; never in the mean"
    )
    identification: dict[str, IdentificationResult] = Field(
        {}, exclude_if=lambda sets: not sets, description="searches in galleries; never in the mean"
    )
    mean_accuracy: float | None = Field(
        description="mean over the protocols; hard sets count only if there are no others; null without protocols"
    )
    mean_standard_error: float | None = Field(description="of the mean, protocols taken as independent")
    stage_costs: dict[str, Cost] = Field({}, description="cost of every stage behind the result")


class AuditCard(Card):
    """audit.json: properties of a face dataset, in the sections that evaluate/audit/sections.py computes."""

    kind: Literal["audit"] = "audit"
    name: str
    num_images: int
    num_identities: int
    images: ImagesSection
    duplicates: DuplicatesSection
    separation: SeparationSection | None = Field(None, description="this and all below: null without a network")
    consistency: ConsistencySection | None = None
    diversity: dict[str, Distribution] | None = Field(
        None, description="pair_mean: mean cosine within each identity; else by estimated property of an image"
    )
    pairs: PairsSection | None = None
    colour_order: ColourOrder | None = Field(None, description="null unless two identities have two images each")
    leakage: list[LeakageSection] = Field([], description="one entry per reference")
    detail: DetailFigures | None = Field(
        None, exclude_if=is_none, description="null where no image can be an aligned face; earlier cards lack it"
    )
    makeup: list[MakeUp] = Field(
        [], exclude_if=lambda attributes: not attributes, description="by attribute whose groups are known"
    )
    diversity_scores: DiversityFigures | None = Field(
        None, exclude_if=is_none, description="this and all below: left out where they were not measured"
    )
    quality: QualitySection | None = Field(None, exclude_if=is_none)
    privacy: PrivacySection | None = Field(None, exclude_if=is_none)


AnyCard = TypeVar("AnyCard", bound=Card)
CARD_NAMES: dict[type, str] = {
    DatasetCard: "dataset.json",
    ModelCard: "model.json",
    GeneratorCard: "generator.json",
    ResultCard: "result.json",
    AuditCard: "audit.json",
}


def write_card(directory: str | Path, card: Card) -> Path:
    """Write a card into its folder. Stages do it last: a folder with a card is a finished stage."""
    path = Path(directory) / CARD_NAMES[type(card)]
    write_json(path, card.model_dump(mode="json"))
    return path


def read_card(path: str | Path, kind: type[AnyCard]) -> AnyCard:
    """Read a card.

    Args:
        path: The card, or its folder.
        kind: Class of the card, a key of ``CARD_NAMES``.

    Raises:
        InputError: If the file is missing, or does not fit the schema.
    """
    path = Path(path)
    path = path / CARD_NAMES[kind] if path.is_dir() else path
    if not path.exists():
        raise InputError(f"{path} does not exist; run the stage that makes it")
    return read_model(path, kind, schema_version=SCHEMA_VERSION, advice="run the stage again")


def card_sha256(directory: str | Path, kind: type[Card]) -> str:
    """SHA-256 of the card in a folder, which the cards of later stages record."""
    return sha256(Path(directory) / CARD_NAMES[kind])
