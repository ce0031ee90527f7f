"""Parts of cards that name something else: a dataset, a network, a recipe, a weight file."""

from typing import Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from bench.machine.facts import Section


class Part(Section):
    """Base of the parts. A field that is not known is left out of the JSON."""

    @model_serializer(mode="wrap")
    def _without_unknown(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in serialize(self).items() if value is not None}


class DatasetReference(Part):
    """The face dataset that a network or a generator was trained on."""

    name: str | None = None
    num_images: int | None = None
    num_identities: int | None = None
    generator_sha256: str | None = Field(None, description="of the generator's settings without the seed")
    composition: str | None = Field(None, description="parts of a mixture and their shares of its images")
    sha256: str | None = Field(None, description="of its dataset.json, or of the file itself where it has no card")
    mask_sha256: str | None = None
    leave_out_sha256: str | None = None
    num_single_image_identities: int | None = None
    num_corrupt_skipped: int | None = None
    is_real: bool | None = Field(
        None, description="photographs alone, as the authors of a released network state; null: not stated"
    )
    resized_from: str | None = Field(None, description="size of faces that training resized, such as 96 x 112")


class ModelReference(Part):
    """The recognition network that a result is about."""

    name: str | None = Field(None, description="of a floor or of given weights")
    sha256: str | None = Field(None, description="of its model.json")
    weights_sha256: str | None = None
    num_parameters: int | None = None


class RecipeReference(Part):
    """The recipe that trained a network."""

    name: str
    sha256: str = Field(description="of its settings")


class NetworkReference(Part):
    """A frozen network that a generator's training used."""

    name: str | None = None
    sha256: str | None = None


class BestNetwork(Part):
    """The network with the highest validation accuracy. It was chosen on the test sets, so no leaderboard shows it."""

    epoch: int
    mean_accuracy: float
    accuracies: dict[str, float]
    weights: str | None = Field(None, description="file name")
    note: str | None = None


class WeightProvenance(Part):
    """Where a weight file comes from."""

    role: str | None = None
    sha256: str
    trained_on: str | None = None
    licence: str | None = None
    source: str | None = None
