"""Statistics of a face dataset on its card; which fields are given depends on the kind of generator."""

from pydantic import ConfigDict, Field

from bench.runs.card_parts.given import GivenPart
from bench.runs.card_parts.references import WeightProvenance


class ImagesPerIdentity(GivenPart):
    """Fewest, mean and most images of an identity."""

    min: int
    mean: float
    max: int


class BytesPerImage(GivenPart):
    """Disk space per image of the finished dataset."""

    faces: float = Field(description="of faces.lmdb")
    most: float = Field(description="at the peak of generation, when the shards and the dataset both exist")


class NearestIdentity(GivenPart):
    """Cosine of an identity to its nearest other, by the features of their images; null for a single identity."""

    num_identities: int = Field(description="identities that were compared")
    cosine_mean: float | None
    cosine_max: float | None


class PrecisionDeviation(GivenPart):
    """Deviation of a generator with rounded weights from float32, over the first identity vectors of the seed."""

    num_images: int
    max_pixel: float = Field(description="largest difference of a pixel, of 255")
    mean_pixel: float = Field(description="mean difference of a pixel, of 255")
    identity_cosine_min: float = Field(description="lowest cosine between the features of the two images of a vector")


class PartOfMixture(GivenPart):
    """One dataset that a mixture takes faces from."""

    name: str
    num_images: int = Field(description="faces that the mixture takes")
    num_identities: int
    sha256: str = Field(description="of the content of the part's files")
    is_real: bool = False


class DatasetStatistics(GivenPart):
    """Statistics of a dataset. Fields of earlier versions, which are not listed here, are kept.

    A mean is null where no image was measured.
    """

    model_config = ConfigDict(extra="allow")

    # drawn by Vec2Face: images
    images_per_identity: ImagesPerIdentity | None = None
    dropped: dict[str, int] | None = Field(None, description="images that the filters dropped, by reason")
    bytes_per_image: BytesPerImage | None = None
    turned_images: int | None = Field(None, description="images turned on the mean 3D head after they were drawn")
    attribute_images: int | None = Field(None, description="images with a target yaw")
    attribute_images_accepted: int | None = Field(None, description="of these, images that met all their targets")
    attribute_steps_mean: float | None = Field(None, description="optimiser steps per image with a target yaw")
    consistent_share: float | None = Field(None, description="share of images with a cosine of at least 0.7")
    attribute_yaw_miss_mean: float | None = Field(None, description="distance from the target yaw, degrees")
    landmark_images: int | None = Field(None, description="images drawn by a landmark picture")
    landmark_images_accepted: int | None = Field(None, description="of these, images that met all their targets")
    landmark_yaw_miss_mean: float | None = Field(None, description="distance from the yaw of the picture, degrees")
    landmark_identity_cosine_mean: float | None = Field(None, description="cosine of such an image to its vector")
    identity_cosine_mean: float | None = Field(None, description="cosine of an image to its identity vector")
    quality_mean: float | None = Field(None, description="MagFace norm")
    known_cosine_mean: float | None = Field(None, description="cosine to the nearest identity trained on")

    # drawn by Vec2Face: identities
    identities_tried: int | None = Field(None, description="identities whose images were drawn, to fill quotas")
    identities_short: int | None = Field(None, description="of these, replaced as too few of their images passed")
    candidates: int | None = Field(None, description="identity vectors that were optimised and drawn")
    candidates_too_near: int | None = Field(None, description="of these, dropped as too near an earlier identity")
    centers_accepted: int | None = Field(None, description="candidates that met the targets of quality and identity")
    center_steps_mean: float | None = Field(None, description="optimiser steps per candidate")
    center_identity_cosine_mean: float | None = Field(None, description="cosine of a candidate's image to its vector")
    nearest_identity: NearestIdentity | None = None

    # the networks of Vec2Face
    bf16_deviation: PrecisionDeviation | None = None
    weights: dict[str, WeightProvenance] | None = Field(None, description="by name of the file")

    # rendered
    mean_abs_yaw_degrees: float | None = None
    share_profile: float | None = Field(None, description="share of faces turned by 60 degrees or more")
    mean_age_years: float | None = None
    share_glasses: float | None = None

    # mixed of other datasets
    parts: list[PartOfMixture] | None = None

    # published by others
    source: str | None = Field(None, description="repository and commit, or: placed by hand")

    @property
    def composition(self) -> str | None:
        """The parts of a mixture and their shares of its images, as text; None for other datasets."""
        if not self.parts:
            return None
        total = sum(part.num_images for part in self.parts)
        return " + ".join(f"{part.num_images / total:.0%} {part.name}" for part in self.parts if part.num_images)

    def merged(self, other: "DatasetStatistics") -> "DatasetStatistics":
        """The fields that were given to either; those of ``other`` count where both have one."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return DatasetStatistics(**given | {name: getattr(other, name) for name in other.model_fields_set})
