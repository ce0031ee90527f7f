"""The section ``generator`` of benchmarks.yaml: where the faces of a benchmark come from.

Four kinds: ``vec2face`` draws them with the Vec2Face generator (or downloads the published dataset), ``render`` renders
a procedural head, ``files`` names a dataset that exists, ``mixture`` (``mixture.py``) puts others together. Defaults
are stated here only, as ``generate.draw`` reads these models directly; they are those of HSFace, where published.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from bench.config.mixture import MixtureGenerator
from bench.config.poses import LandmarkPoses
from bench.config.settings import Count, GeneratorSettings, Settings, Share
from bench.errors import InputError

ASSETS_PATH = Path(__file__).parent.parent.parent / "generate" / "assets"
"""Folder of the networks that come with the suite, see generate/training/make_assets.py."""
RELEASED_GENERATOR, PLUS_GENERATOR = "vec2face_generator.pth", "main_model.pth"
"""File names of the weights that the authors of Vec2Face and Vec2Face+ released."""
_FAMILIES = {RELEASED_GENERATOR: "HSFace", PLUS_GENERATOR: "VFace"}
"""Released weights -> name of the datasets that were made with them."""
PUBLISHED_IDENTITIES = {"HSFace": (10_000, 20_000), "VFace": (10_000, 20_000, 100_000)}
"""Family of published datasets -> numbers of identities of those whose faces are on the Hub."""
_SHIPPED = "assets/"
DRAWN_KINDS = ("vec2face", "render")
"""Kinds whose faces are drawn, so that no photograph of a person can be among them."""
RENDER_VERSION = 1
"""Version of the renderer, in the folder names of rendered protocols; raised when a change moves pixels."""


def is_shipped(name: str) -> bool:
    """Whether a weight file comes with the suite: its name starts with ``assets/``."""
    return name.startswith(_SHIPPED)


def weight_path(name: str, weights: Path) -> Path:
    """Path of a weight file that settings name: in the shipped assets, or in the folder ``weights``."""
    return ASSETS_PATH / name.removeprefix(_SHIPPED) if is_shipped(name) else weights / name


def check_is_published(num_identities: int, family: str = "HSFace") -> None:
    """Refuse ``source: hub`` for numbers of identities that are not published on the Hub.

    Args:
        num_identities: Number of identities.
        family: Name of the datasets, HSFace or VFace.

    Raises:
        InputError: If there is no such dataset.
    """
    if num_identities not in PUBLISHED_IDENTITIES[family]:
        sizes = " or ".join(map(str, PUBLISHED_IDENTITIES[family]))
        raise InputError(f"num_identities={num_identities} is not on the Hub; give {sizes}, or source: generate")


class Perturbation(Settings):
    """How the images of one identity differ: x = f + sigma * noise. Source: Vec2Face image_generation.py."""

    sigmas: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        (0.3, 0.5, 0.7), description="standard deviations of the noise, per feature dimension"
    )
    shares: tuple[Share, ...] = Field((0.4, 0.4, 0.2), description="share of an identity's images per sigma, sums to 1")
    directions: str | None = Field(
        None,
        exclude_if=lambda name: name is None,
        description=".npy that shapes the noise as real images of one identity differ (deviations.npy of generate "
        "prepare); null: isotropic noise, as published",
    )
    differences: str | None = Field(
        None,
        exclude_if=lambda name: name is None,
        description=".npy of features of real faces minus their identity's centre (differences.npy of generate "
        "variation); one of them, drawn at random, is the noise of an image",
    )

    circumstances: bool = Field(
        False,
        exclude_if=lambda on: not on,
        description="whether the rows of differences end with the 50 numbers for pose, light and the like of "
        "generate/networks/circumstances.py: sigmas do not scale these, and a target yaw is written into them",
    )

    @model_validator(mode="after")
    def _shares_fit(self) -> "Perturbation":
        if len(self.sigmas) != len(self.shares) or abs(sum(self.shares) - 1) > 1e-6:
            raise ValueError(
                f"got {len(self.sigmas)} sigmas and shares {self.shares}; give one share per sigma, adding up to 1"
            )
        if self.directions and self.differences:
            raise ValueError(f"directions={self.directions} and differences={self.differences}: give one of them")
        if self.circumstances and not self.differences:
            raise ValueError("circumstances=true needs a file of rows that hold them; give differences")
        return self


class AttributeTargets(Settings):
    """Targets of AttrOP, which optimises images. Source: Vec2Face pose_image_generation.py, issue 5."""

    preset: Literal["v1", "v2"] = Field(
        "v1", description="loss weights and acceptance rule of Vec2Face (v1) or Vec2Face+ (v2)"
    )
    pose_share: Share = Field(0.2, description="share of an identity's images that get a target yaw")
    yaw_degrees: tuple[Annotated[float, Field(ge=-90, le=90)], ...] = Field(
        (60.0, 85.0),
        description="target yaws in degrees, taken in turn by the images; positive to the right",
    )
    quality: float = Field(27.0, gt=0, description="target norm of the MagFace features")
    max_steps: int = Field(
        30,
        ge=0,
        description="most optimiser steps per image; then the image of lowest loss is taken. 0: no optimisation",
    )
    yaw_input: Literal["6drepnet", "vec2face"] = Field(
        "6drepnet",
        exclude_if=lambda name: name == "6drepnet",
        description="what 6DRepNet sees: 224 x 224 RGB normalised as it was trained (6drepnet), or 112 x 112 BGR in "
        "[0, 1] as the authors' AttrOP feeds it (vec2face)",
    )


class TurnedViews(Settings):
    """Images that are rotated on a mean 3D head after they are drawn, see generate/render/turned.py."""

    share: Share = Field(description="share of an identity's images without a target yaw that are rotated")
    degrees: tuple[Annotated[float, Field(gt=0, le=90)], Annotated[float, Field(gt=0, le=90)]] = Field(
        (20.0, 80.0), description="smallest and largest yaw in degrees, drawn uniformly to either side"
    )

    @model_validator(mode="after")
    def _is_a_range(self) -> "TurnedViews":
        if self.degrees[0] > self.degrees[1]:
            raise ValueError(f"degrees={self.degrees} is no range; give the smaller yaw first")
        return self


class ImageFilters(Settings):
    """Rules that drop generated images; dropped images are counted. Null switches a rule off."""

    min_identity_cosine: float | None = Field(
        None, ge=-1, le=1, description="drop an image whose cosine to its identity vector is lower"
    )
    min_quality: float | None = Field(None, ge=0, description="drop an image with a lower norm of the MagFace features")
    exact_duplicates: bool = Field(True, description="drop an image with the pixels of an earlier one of its person")
    near_duplicate_bits: int | None = Field(
        None,
        ge=0,
        le=64,
        description="drop an image whose difference hash (64 bits) differs in at most this many bits from that of "
        "an earlier one of its person",
    )
    known_centers: str | None = Field(
        None,
        exclude_if=lambda name: name is None,
        description=".npy of identity centres of the people that the generator was trained on, relative to WEIGHTS",
    )
    max_known_cosine: float | None = Field(
        None,
        ge=-1,
        le=1,
        exclude_if=lambda cosine: cosine is None,
        description="drop an image with a higher cosine to the nearest of known_centers",
    )

    @model_validator(mode="after")
    def _known_together(self) -> "ImageFilters":
        if (self.known_centers is None) != (self.max_known_cosine is None):
            raise ValueError("known_centers and max_known_cosine go together; give both or neither")
        return self


class Quota(Settings):
    """Exactly ``images_per_identity`` images of every identity, see generate/draw/qualify/quota.py.

    The filters judge the images. Identities that cannot fill their quota are replaced by further ones.
    """

    max_drawn: Count = Field(description="most images drawn of an identity")
    keep: Literal["first", "identity", "quality"] = Field(
        "first", description="keep the first images that pass, or those of the highest identity cosine or quality"
    )
    judge_weights: str | None = Field(
        None, description="second identity network, whose cosines the images must pass too"
    )
    min_judge_cosine: float | None = Field(
        None, ge=-1, le=1, description="refuse an image with a lower cosine to the mean of its identity, by the judge"
    )
    max_tried: Count | None = Field(
        None, description="most identities whose images are drawn; null: a quarter more than num_identities"
    )

    @model_validator(mode="after")
    def _judges_together(self) -> "Quota":
        if (self.judge_weights is None) != (self.min_judge_cosine is None):
            raise ValueError("judge_weights and min_judge_cosine go together; give both or neither")
        return self


class Vec2FaceGenerator(GeneratorSettings):
    """Faces drawn by the Vec2Face generator, or the published dataset of the same size.

    File names are relative to the folder WEIGHTS; those that start with ``assets/`` come with the suite.
    """

    kind: Literal["vec2face"]
    source: Literal["generate", "hub"] = Field(
        "generate", description="generate: draw the faces; hub: download the published dataset instead"
    )
    revision: str = Field("main", description="commit, tag or branch of the authors' repository on the Hub")
    num_identities: Count
    images_per_identity: Count = 50
    identities: Literal["gaussian", "pca", "file"] = Field(
        "gaussian",
        description="identity vectors: isotropic Gaussian, Gaussian with the covariance of centers, or centers itself",
    )
    centers: str | None = Field(
        None, description=".npy of identity centres, for identities pca and file; generate centers makes one"
    )
    max_cosine: float = Field(
        0.3,
        gt=-1,
        lt=1,
        description="drop an identity with a higher cosine to an earlier one, by its vector and again by the features "
        "of its image",
    )
    spare_share: float = Field(
        0.05,
        ge=0,
        exclude_if=lambda share: share == 0.05,
        description="candidates beyond num_identities, as a share of it, that replace dropped identities",
    )
    max_candidates: Count | None = Field(
        None,
        exclude_if=lambda count: count is None,
        description="most candidates drawn where too few stay apart; null: four times num_identities",
    )
    perturbation: Perturbation = Perturbation()
    attributes: AttributeTargets = AttributeTargets()
    pose: LandmarkPoses | None = Field(None, exclude_if=lambda pose: pose is None)
    turned: TurnedViews | None = Field(None, exclude_if=lambda turned: turned is None)
    filters: ImageFilters = ImageFilters()
    quota: Quota | None = Field(None, exclude_if=lambda quota: quota is None)
    precision: Literal["float32", "bf16"] = Field("float32", description="type of the generator's weights")
    generator_weights: str = RELEASED_GENERATOR
    identity_weights: str = "arcface-r100-glint360k.pth"
    quality_weights: str = "magface-r100-glint360k.pth"
    pose_weights: str = "6DRepNet_300W_LP_AFLW2000.pth"
    batch_size: Count = Field(64, description="images per forward pass; changing it changes the fingerprint")
    identities_per_shard: Count = Field(
        64, description="identities per shard, the unit of resume; changing it changes the fingerprint"
    )
    jpeg_quality: int = Field(95, ge=1, le=100)

    @model_validator(mode="after")
    def _fits(self) -> "Vec2FaceGenerator":
        if self.source == "hub":
            check_is_published(self.num_identities, self.dataset_family)
        quota, num_images = self.quota, self.images_per_identity
        if quota and quota.max_drawn < num_images:
            raise ValueError(f"quota.max_drawn={quota.max_drawn} is below images_per_identity={num_images}; raise it")
        if quota and quota.max_tried and quota.max_tried < self.num_identities:
            raise ValueError(
                f"quota.max_tried={quota.max_tried} is below num_identities={self.num_identities}; raise it"
            )
        return self

    @model_validator(mode="after")
    def _poses_fit(self) -> "Vec2FaceGenerator":
        if self.pose is not None and self.pose.share + self.attributes.pose_share > 1 + 1e-9:
            raise ValueError(
                f"pose.share={self.pose.share:g} and attributes.pose_share={self.attributes.pose_share:g} add up to "
                "more than 1; lower one of them"
            )
        return self

    @property
    def weight_files(self) -> list[str]:
        """Names of the weights and arrays that must be in place; a published dataset needs none."""
        if self.source == "hub":
            return []
        files = [self.generator_weights, self.identity_weights, self.quality_weights]
        if self.measures_yaw:
            files.append(self.pose_weights)
        if self.pose:
            files.append(self.pose.weights)
        if self.quota and self.quota.judge_weights:
            files.append(self.quota.judge_weights)
        files = list(dict.fromkeys(files))  # identity and quality can be measured by the same network
        noise = self.perturbation
        landmarks = self.pose.landmarks if self.pose else None
        arrays = (self.centers, noise.directions, noise.differences, self.filters.known_centers, landmarks)
        return files + list(dict.fromkeys(name for name in arrays if name))

    @property
    def measures_yaw(self) -> bool:
        """Whether the yaw of the images is measured, by the network ``pose_weights``."""
        return self.attributes.pose_share > 0 or self.turned is not None or self.pose is not None

    @property
    def dataset_family(self) -> str:
        """First word of the dataset's name.

        HSFace or VFace if it is published or drawn with their authors' weights, else Vec2Face.
        """
        return _FAMILIES.get(self.generator_weights, "HSFace" if self.source == "hub" else "Vec2Face")


class RenderGenerator(GeneratorSettings):
    """Faces rendered from a procedural 3D head: no weights, no downloads, every factor of an image is known."""

    kind: Literal["render"]
    num_identities: Count
    images_per_identity: Count
    jpeg_quality: int = Field(95, ge=1, le=100)


class FilesGenerator(GeneratorSettings):
    """A face dataset that exists: an LMDB, or a folder with one sub-folder of images per identity."""

    kind: Literal["files"]
    path: str = Field(description="LMDB file or folder, relative to the working directory")
    mask: str | None = Field(None, description=".npy of the positions of the faces to use")
    leave_out: str | None = Field(
        None, description="text file of identity names (names of sub-folders) to leave out, one per line"
    )


GENERATORS = {
    "vec2face": Vec2FaceGenerator,
    "render": RenderGenerator,
    "files": FilesGenerator,
    "mixture": MixtureGenerator,
}
Generator = Annotated[
    Vec2FaceGenerator | RenderGenerator | FilesGenerator | MixtureGenerator, Field(discriminator="kind")
]
