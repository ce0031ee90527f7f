"""The schema of benchmarks.yaml, read in this one place: generator, recipe, protocols, expected cost.

A field is a name, a type, a unit in its description, and a range. Unknown keys are refused. Configuration stops at a
stage's door: inner functions take plain parameters.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bench.errors import InputError
from bench.names import nearest

BENCHMARKS_PATH = Path(__file__).parent.parent / "benchmarks.yaml"
ASSETS_PATH = Path(__file__).parent.parent / "generate" / "assets"
"""Networks that the suite ships: see generate/assets.py."""
_SHIPPED = "assets/"

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(gt=0)]


def is_shipped(name: str) -> bool:
    """Whether a weight file comes with the suite: its name starts with ``assets/``."""
    return name.startswith(_SHIPPED)


def weight_path(name: str, weights: Path) -> Path:
    """Where a weight file of some settings lies: shipped, or in the folder ``weights``."""
    return ASSETS_PATH / name.removeprefix(_SHIPPED) if is_shipped(name) else weights / name


class Settings(BaseModel):
    """Base of every section: unknown keys refused, values frozen after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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

    @model_validator(mode="after")
    def _shares_fit(self) -> "Perturbation":
        if len(self.sigmas) != len(self.shares) or abs(sum(self.shares) - 1) > 1e-6:
            raise ValueError(
                f"needs one share per sigma, adding up to 1; got {len(self.sigmas)} sigmas and shares {self.shares}"
            )
        return self


class AttributeTargets(Settings):
    """AttrOP: what the optimised images shall look like. Source: Vec2Face pose_image_generation.py, issue 5."""

    preset: Literal["v1", "v2"] = Field("v1", description="loss weights and stop rule: Vec2Face or Vec2Face+")
    pose_share: Share = Field(0.2, description="share of an identity's images that get a target yaw")
    yaw_degrees: tuple[Annotated[float, Field(ge=-90, le=90)], ...] = Field((60.0, 85.0), description="target yaws")
    quality: float = Field(27.0, gt=0, description="target MagFace feature norm")
    max_steps: Count = Field(30, description="optimiser steps per image before the best so far is taken")


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
        if self.attributes.pose_share > 0:
            files.append(self.pose_weights)
        files = list(dict.fromkeys(files))  # one network may play two parts
        arrays = (self.centers, self.perturbation.directions, self.filters.known_centers)
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


_GENERATORS = {"vec2face": Vec2FaceGenerator, "render": RenderGenerator, "files": FilesGenerator}
Generator = Annotated[Vec2FaceGenerator | RenderGenerator | FilesGenerator, Field(discriminator="kind")]


class Backbone(Settings):
    """The recognition network without its head."""

    kind: Literal["iresnet", "mobilefacenet", "timm"] = "iresnet"
    name: str | None = Field(None, description="name of the timm model, for kind timm")
    depth: Literal[18, 34, 50, 100, 200] = 50
    se: Literal["none", "shortcut", "standard"] = Field(
        "none", description="squeeze-excitation; shortcut is the released HSFace networks' variant"
    )
    width: Count = Field(64, description="channels of the stem; the stages have 1, 2, 4, 8 times as many")
    embedding_dim: Count = 512
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class Margin(Settings):
    """The head's loss. Which of the numbers count depends on the kind, see fr_train/margin.py."""

    kind: Literal["arcface", "cosface", "sphereface", "curricularface", "magface", "adaface", "uniface", "combined"] = (
        "arcface"
    )
    margin: float = Field(0.5, ge=0, description="radians (arcface) or cosine (cosface)")
    scale: float = Field(64.0, gt=0)
    parameters: dict[str, float] = Field({}, description="further parameters of the kind")
    sample_rate: float = Field(1.0, gt=0, le=1, description="share of class weights per step (PartialFC)")


class Optimizer(Settings):
    """Optimiser of backbone and head."""

    kind: Literal["sgd", "adamw"] = "sgd"
    lr: float = Field(0.1, gt=0, description="for the whole global batch")
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0, description="not applied to batch norm")
    grad_clip: float | None = Field(5.0, gt=0, description="largest gradient norm of the backbone")


class Schedule(Settings):
    """Learning rate over the epochs."""

    kind: Literal["step", "polynomial"] = "step"
    epochs: Count
    drop_epochs: tuple[Count, ...] = Field((), description="the rate drops when these epochs (1 = first) start")
    drop_factor: float = Field(0.1, gt=0, lt=1)
    warmup_epochs: float = Field(0.0, ge=0)
    power: float = Field(2.0, gt=0, description="exponent of the polynomial kind")

    @model_validator(mode="after")
    def _drops_inside(self) -> "Schedule":
        if list(self.drop_epochs) != sorted(set(self.drop_epochs)) or max(self.drop_epochs, default=1) > self.epochs:
            raise ValueError(f"drop_epochs must rise and end by epoch {self.epochs}; got {list(self.drop_epochs)}")
        return self


class Erasing(Settings):
    """Random erasing after normalising, to mid-grey. Areas are fractions of the image."""

    probability: Share = 0.5
    min_area: Share = 0.02
    max_area: Share = 0.33
    min_aspect: float = Field(0.3, gt=0, le=1)


class Augmentation(Settings):
    """Probabilities per image. crop, low_resolution and photometric are the AdaFace augmenter's."""

    flip: Share = 0.5
    crop: Share = 0.0
    low_resolution: Share = 0.0
    photometric: Share = 0.0
    erasing: Erasing = Erasing()


class Recipe(Settings):
    """A frozen way of training: only the dataset may differ between two rows that are compared."""

    backbone: Backbone
    margin: Margin = Margin()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule
    batch_size: int = Field(ge=2, description="global: over all processes and accumulation steps")
    augmentation: Augmentation = Augmentation()
    precision: Literal["float32", "bf16", "fp16"] = Field("float32", description="autocast type of the backbone")
    channels_last: bool = True
    ema_decay: float | None = Field(None, gt=0, lt=1)
    # Added after results were published: left out of dumps at their default, so that no fingerprint changes.
    sync_batch_norm: bool = Field(
        False, exclude_if=lambda on: not on, description="statistics over all processes, on GPUs; else per process"
    )
    skip_corrupt: bool = Field(
        False, exclude_if=lambda on: not on, description="the next face stands in for one that does not decode"
    )


class Expected(Settings):
    """What a benchmark is expected to cost and to reach, with where the figure comes from."""

    generate_images_per_second: float = Field(gt=0)
    train_images_per_second: float = Field(gt=0)
    device: str = Field(description="what the rates hold for")
    memory_gb: float = Field(gt=0, description="main memory")
    gpu_memory_gb: float = Field(0, ge=0)
    mean_accuracy: tuple[Share, Share] | None = Field(None, description="band of plausible means")
    source: str


class Benchmark(Settings):
    """One entry of benchmarks.yaml, resolved: the recipe's settings stand in place of its name."""

    name: str
    version: Count = 1
    about: str
    generator: Generator
    recipe_name: str
    recipe: Recipe
    protocols: tuple[str, ...] = Field(min_length=1)
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((0,), min_length=1)
    expected: Expected
    real_reference: bool = Field(
        False,
        description="photographs, or rendered faces on rendered protocols: rows of its recipe state their gap to it",
    )

    @cached_property
    def num_images_seen(self) -> int | None:
        """Images that pass through the network in training, or None for a dataset that is not counted yet."""
        if isinstance(self.generator, FilesGenerator):
            return None
        return self.generator.num_identities * self.generator.images_per_identity * self.recipe.schedule.epochs


class _UniqueKeyLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice, which YAML otherwise takes silently."""


def _unique_mapping(loader: _UniqueKeyLoader, node: yaml.MappingNode) -> dict:
    keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
    twice = sorted({str(key) for key in keys if keys.count(key) > 1})
    if twice:
        raise InputError(f"line {node.start_mark.line + 1}: key given twice: {', '.join(twice)}; keep one")
    loader.flatten_mapping(node)
    return loader.construct_mapping(node)


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def load_benchmark(name: str, path: str | Path = BENCHMARKS_PATH) -> Benchmark:
    """The benchmark called ``name``.

    Raises:
        InputError: If the file cannot be read, the name is unknown (says the nearest), or a value does not fit.
    """
    document = _read(path)
    return _resolve(name, document, path)


def load_benchmarks(path: str | Path = BENCHMARKS_PATH) -> dict[str, Benchmark]:
    """Every benchmark of the file, in its order.

    Raises:
        InputError: As ``load_benchmark``.
    """
    document = _read(path)
    return {name: _resolve(name, document, path) for name in document["benchmarks"]}


def protocol_names(names: Sequence[str], path: str | Path = BENCHMARKS_PATH) -> list[str]:
    """Names of protocols, with the file's named lists of them (``five``, ``rfw``) taken apart."""
    groups = _read(path)["protocols"]
    return [part for name in names for part in groups.get(name, [name])]


def read_yaml(path: str | Path) -> Any:
    """Content of a YAML file; a key given twice is refused.

    Raises:
        InputError: If the file is missing or not YAML.
    """
    try:
        with Path(path).open(encoding="utf-8") as file:
            return yaml.load(file, _UniqueKeyLoader)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; run inside the project's folder or give --config FILE") from None
    except (yaml.YAMLError, InputError) as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}; mend the YAML") from None


def _read(path: str | Path) -> dict[str, Any]:
    document = read_yaml(path)
    if not isinstance(document, dict) or set(document) != {"recipes", "protocols", "benchmarks"}:
        got = sorted(document) if isinstance(document, dict) else type(document).__name__
        raise InputError(f"{path}: top level must hold recipes, protocols and benchmarks; got {got}; mend the YAML")
    return document


def _resolve(name: str, document: dict[str, Any], path: str | Path) -> Benchmark:
    benchmarks, recipes, groups = document["benchmarks"], document["recipes"], document["protocols"]
    if name not in benchmarks:
        raise InputError(f"SCALE={name} is not in {path}; {nearest(name, benchmarks)}")
    entry = dict(benchmarks[name])
    where = f"{path}: benchmarks.{name}"
    recipe_name = entry.get("recipe")
    if recipe_name not in recipes:
        raise InputError(f"{where}.recipe={recipe_name} is unknown; {nearest(str(recipe_name), recipes)}")
    group = entry.get("protocols")
    if isinstance(group, str):
        if group not in groups:
            raise InputError(f"{where}.protocols={group} is unknown; {nearest(group, groups)}")
        entry["protocols"] = groups[group]
    entry |= {"name": name, "recipe_name": recipe_name, "recipe": recipes[recipe_name]}
    try:
        return Benchmark.model_validate(entry)
    except ValidationError as error:
        raise InputError(f"{where}: {describe_mistakes(error, Benchmark)}; mend the YAML") from None


def describe_mistakes(error: ValidationError, schema: type[BaseModel]) -> str:
    """All mistakes in one line: dotted path, message, value got, and the nearest field for an unknown key."""
    parts = []
    for mistake in error.errors():
        field = ".".join(str(part) for part in mistake["loc"] if part not in _GENERATORS)
        if mistake["type"] == "extra_forbidden":
            key, known = str(mistake["loc"][-1]), _known_fields(schema, mistake["loc"][:-1])
            parts.append(f"{field} is unknown ({nearest(key, known)})" if known else f"{field} is unknown")
        elif mistake["type"] == "missing":
            parts.append(f"{field} is missing")
        else:
            message = mistake["msg"].removeprefix("Value error, ")
            got = "" if mistake["type"] == "value_error" else f", got {mistake['input']!r}"
            parts.append(f"{field}: {message[0].lower()}{message[1:]}{got}")
    return "; ".join(parts)


def _known_fields(schema: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Fields of the section that a pydantic location points into; a union adds its tag to the location."""
    section: Any = schema
    for part in location:
        if part in _GENERATORS:
            section = _GENERATORS[str(part)]
        elif isinstance(section, type) and issubclass(section, BaseModel) and part in section.model_fields:
            section = section.model_fields[str(part)].annotation
    return sorted(section.model_fields) if isinstance(section, type) and issubclass(section, BaseModel) else []
