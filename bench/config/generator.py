"""The section ``generator`` of benchmarks.yaml: where a benchmark's faces come from."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from bench.config.settings import Count, Settings, Share

ASSETS_PATH = Path(__file__).parent.parent.parent / "generate" / "assets"
"""Networks that the suite ships: see generate/make_assets.py."""
_SHIPPED = "assets/"
RENDER_VERSION = 1
"""Version of the renderer, in the folder names of rendered protocols; raised when a change moves pixels."""


def is_shipped(name: str) -> bool:
    """Whether a weight file comes with the suite: its name starts with ``assets/``."""
    return name.startswith(_SHIPPED)


def weight_path(name: str, weights: Path) -> Path:
    """Where a weight file of some settings lies: shipped, or in the folder ``weights``."""
    return ASSETS_PATH / name.removeprefix(_SHIPPED) if is_shipped(name) else weights / name


class Perturbation(Settings):
    """How the images of one identity differ: x = rescaled(f + sigma * noise). Source: Vec2Face image_generation.py."""

    sigmas: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        (0.3, 0.5, 0.7), description="noise per feature dimension"
    )
    shares: tuple[Share, ...] = Field((0.4, 0.4, 0.2), description="share of an identity's images per sigma")
    directions: str | None = Field(
        None,
        exclude_if=lambda name: name is None,
        description=".npy: noise lies as images of one identity differ; null: isotropic, as published",
    )
    differences: str | None = Field(
        None,
        exclude_if=lambda name: name is None,
        description=".npy: x = f + sigma * difference, one of those of real faces and their identity's centre",
    )

    @model_validator(mode="after")
    def _shares_fit(self) -> "Perturbation":
        if len(self.sigmas) != len(self.shares) or abs(sum(self.shares) - 1) > 1e-6:
            raise ValueError(
                f"needs one share per sigma, adding up to 1; got {len(self.sigmas)} sigmas and shares {self.shares}"
            )
        if self.directions and self.differences:
            raise ValueError(f"directions={self.directions} and differences={self.differences}: give one of them")
        return self


class AttributeTargets(Settings):
    """AttrOP: what the optimised images shall look like. Source: Vec2Face pose_image_generation.py, issue 5."""

    preset: Literal["v1", "v2"] = Field("v1", description="loss weights and stop rule: Vec2Face or Vec2Face+")
    pose_share: Share = Field(0.2, description="share of an identity's images that get a target yaw")
    yaw_degrees: tuple[Annotated[float, Field(ge=-90, le=90)], ...] = Field((60.0, 85.0), description="target yaws")
    quality: float = Field(27.0, gt=0, description="target MagFace feature norm")
    max_steps: int = Field(
        30, ge=0, description="optimiser steps per image before the best so far is taken; 0 leaves all as drawn"
    )


class TurnedViews(Settings):
    """Images that are turned by the mean head after they are drawn, see generate/render/turned.py."""

    share: Share = Field(description="of an identity's images without a target yaw")
    degrees: tuple[Annotated[float, Field(gt=0, le=90)], Annotated[float, Field(gt=0, le=90)]] = Field(
        (20.0, 80.0), description="least and largest yaw, drawn evenly to either side"
    )

    @model_validator(mode="after")
    def _is_a_range(self) -> "TurnedViews":
        if self.degrees[0] > self.degrees[1]:
            raise ValueError(f"degrees={self.degrees}: the least comes first")
        return self


class ImageFilters(Settings):
    """Which generated images are dropped, and counted; null switches a filter off. Files lie as weights do."""

    min_identity_cosine: float | None = Field(None, ge=-1, le=1, description="of an image to its identity vector")
    min_quality: float | None = Field(None, ge=0, description="MagFace feature norm")
    exact_duplicates: bool = True
    near_duplicate_bits: int | None = Field(
        None, ge=0, le=64, description="difference hashes (64 bits) as near as this"
    )
    known_centers: str | None = Field(
        None,
        exclude_if=lambda name: name is None,
        description=".npy of identity centres of people that the generator was trained on",
    )
    max_known_cosine: float | None = Field(
        None, ge=-1, le=1, exclude_if=lambda cosine: cosine is None, description="of an image to the nearest of them"
    )

    @model_validator(mode="after")
    def _known_together(self) -> "ImageFilters":
        if (self.known_centers is None) != (self.max_known_cosine is None):
            raise ValueError("known_centers and max_known_cosine go together; give both or neither")
        return self


class GeneratorSettings(Settings):
    """What every kind of generator has."""

    @property
    def weight_files(self) -> list[str]:
        """Files that must lie in WEIGHTS before generation can start."""
        return []


class Vec2FaceGenerator(GeneratorSettings):
    """Faces from the Vec2Face generator, or the published dataset of the same size."""

    kind: Literal["vec2face"]
    source: Literal["generate", "hub"] = Field("generate", description="hub: download the published dataset instead")
    revision: str = Field("main", description="commit, tag or branch of the authors' repository on the Hub")
    num_identities: Count
    images_per_identity: Count = 50
    identities: Literal["gaussian", "pca", "file"] = Field("gaussian", description="where identity vectors come from")
    centers: str | None = Field(None, description=".npy of identity centres, for pca and file; see generate centers")
    max_cosine: float = Field(0.3, gt=-1, lt=1, description="identity vectors more alike than this are dropped")
    spare_share: float = Field(
        0.05, ge=0, exclude_if=lambda share: share == 0.05, description="candidates beyond num_identities, as a share"
    )
    perturbation: Perturbation = Perturbation()
    attributes: AttributeTargets = AttributeTargets()
    turned: TurnedViews | None = Field(None, exclude_if=lambda turned: turned is None)
    filters: ImageFilters = ImageFilters()
    precision: Literal["float32", "bf16"] = Field("float32", description="type of the generator's weights")
    generator_weights: str = Field(
        "vec2face_generator.pth", description="under WEIGHTS, like all files; names in assets/ come with the suite"
    )
    identity_weights: str = "arcface-r100-glint360k.pth"
    quality_weights: str = "magface-r100-glint360k.pth"
    pose_weights: str = "6DRepNet_300W_LP_AFLW2000.pth"
    batch_size: Count = Field(64, description="images per forward pass; part of the dataset's fingerprint")
    identities_per_shard: Count = Field(64, description="what an interruption costs at most; part of it too")
    jpeg_quality: int = Field(95, ge=1, le=100)

    @property
    def weight_files(self) -> list[str]:
        """Files that must lie in WEIGHTS before generation can start; a published dataset is fetched by the stage."""
        if self.source == "hub":
            return []
        files = [self.generator_weights, self.identity_weights, self.quality_weights]
        if self.attributes.pose_share > 0 or self.turned:
            files.append(self.pose_weights)
        files = list(dict.fromkeys(files))  # one network may play two parts
        noise = self.perturbation
        arrays = (self.centers, noise.directions, noise.differences, self.filters.known_centers)
        return files + list(dict.fromkeys(name for name in arrays if name))


class RenderGenerator(GeneratorSettings):
    """Faces rendered from a procedural 3D head: no weights, no downloads, true factors."""

    kind: Literal["render"]
    num_identities: Count
    images_per_identity: Count
    jpeg_quality: int = Field(95, ge=1, le=100)


class FilesGenerator(GeneratorSettings):
    """No generation: a face dataset that exists, as an LMDB or a folder of images by identity."""

    kind: Literal["files"]
    path: str = Field(description="LMDB file or folder, relative to the working directory")
    mask: str | None = Field(None, description=".npy of record positions to use")
    leave_out: str | None = Field(None, description="text file of identity names (folders) to leave out, one a line")


GENERATORS = {"vec2face": Vec2FaceGenerator, "render": RenderGenerator, "files": FilesGenerator}
Generator = Annotated[Vec2FaceGenerator | RenderGenerator | FilesGenerator, Field(discriminator="kind")]
