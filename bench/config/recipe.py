"""Schema of the recipes in benchmarks.yaml: how a recognition network is trained.

``Recipe`` holds one section per class below. Shares and probabilities are fractions. Settings that were added after
results were published have ``exclude_if``: they are left out of dumps at their default, so that no fingerprint changes.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from bench.config.settings import Count, Settings, Share
from bench.errors import InputError


class Backbone(Settings):
    """The recognition network without its head: image in, features out."""

    kind: Literal["iresnet", "mobilefacenet", "timm"] = "iresnet"
    name: str | None = Field(None, description="name of the timm model; for kind timm only")
    depth: Literal[18, 34, 50, 100, 152, 200] = Field(50, description="number of layers; for kind iresnet only")
    se: Literal["none", "shortcut", "standard"] = Field(
        "none",
        description="squeeze-excitation of kind iresnet. standard: in every block; shortcut: on the shortcut of the "
        "first block of each stage, as in the released HSFace networks (docs/field.md, section 1.9)",
    )
    width: Count = Field(64, description="channels of the stem; the four stages have 1, 2, 4 and 8 times as many")
    embedding_dim: Count = Field(512, description="length of the features")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="share of the last feature map dropped in training"
    )
    input_range: Literal["symmetric", "unit"] = Field(
        "symmetric",
        exclude_if=lambda name: name == "symmetric",
        description="range of the pixels inside the network, for kind iresnet only: [-1, 1], or 0..1 as MagFace's "
        "authors train; faces are given in [-1, 1] either way",
    )


DEFAULT_MARGINS = {
    "arcface": 0.5,
    "cosface": 0.4,
    "sphereface": 1.7,
    "curricularface": 0.5,
    "magface": 0.5,  # not used: magface has a range of margins; it stands in the settings so that fingerprints stay
    "adaface": 0.4,
    "uniface": 0.4,
    "combined": 0.5,
}
"""Kind of loss -> its margin where a recipe states none; sources in ``fr_train/margin.py``."""


class Margin(Settings):
    """The loss of the head. Each kind uses only some of these fields, see ``fr_train/margin.py``."""

    kind: Literal["arcface", "cosface", "sphereface", "curricularface", "magface", "adaface", "uniface", "combined"] = (
        "arcface"
    )
    margin: float = Field(
        default_factory=lambda settings: DEFAULT_MARGINS[settings["kind"]],
        ge=0,
        description="in radians (arcface), as a cosine (cosface) or as a factor of the angle (sphereface); by default "
        "that of DEFAULT_MARGINS. magface has lower_margin and upper_margin in parameters instead",
    )
    scale: float = Field(64.0, gt=0, description="factor between cosines and logits")
    parameters: dict[str, float] = Field({}, description="other parameters of the kind, by name")
    sample_rate: float = Field(1.0, gt=0, le=1, description="share of the class weights used per step (PartialFC)")

    @model_validator(mode="after")
    def _check_margin(self) -> "Margin":
        if self.kind == "sphereface" and self.margin <= 1:
            raise ValueError(
                f"margin={self.margin} is no margin of sphereface, which multiplies the angle by it; give more than 1, "
                f"such as {DEFAULT_MARGINS[self.kind]}, or leave it out"
            )
        if self.kind == "magface" and self.margin != DEFAULT_MARGINS[self.kind]:
            raise ValueError(
                f"margin={self.margin} has no use for magface; leave it out, and give parameters.lower_margin and "
                "parameters.upper_margin"
            )
        if twice := sorted({"margin", "scale"} & set(self.parameters)):
            name = twice[0]
            raise ValueError(f"parameters.{name}={self.parameters[name]} says what {name} says; give {name} alone")
        return self


class Optimizer(Settings):
    """The optimiser, one for the backbone and one for the head."""

    kind: Literal["sgd", "adamw"] = "sgd"
    lr: float = Field(0.1, gt=0, description="learning rate for the global batch, after the warm-up")
    momentum: float = Field(0.9, ge=0, lt=1, description="for kind sgd only")
    weight_decay: float = Field(5e-4, ge=0, description="not applied to batch norm layers")
    grad_clip: float | None = Field(5.0, gt=0, description="largest gradient norm of the backbone; null clips nothing")


class Schedule(Settings):
    """The learning rate over the epochs."""

    kind: Literal["step", "polynomial"] = "step"
    epochs: Count
    drop_epochs: tuple[Count, ...] = Field(
        (), description="the rate drops at the start of these epochs (1 is the first); for kind step only"
    )
    drop_factor: float = Field(0.1, gt=0, lt=1, description="factor of each drop")
    warmup_epochs: float = Field(0.0, ge=0, description="epochs in which the rate rises linearly from 0")
    power: float = Field(2.0, gt=0, description="exponent of the decay to 0; for kind polynomial only")

    @model_validator(mode="after")
    def _check_drop_epochs(self) -> "Schedule":
        if list(self.drop_epochs) != sorted(set(self.drop_epochs)) or max(self.drop_epochs, default=1) > self.epochs:
            raise ValueError(
                f"drop_epochs={list(self.drop_epochs)}; give epochs in ascending order, none after epoch {self.epochs}"
            )
        return self


class Erasing(Settings):
    """Random erasing: after normalisation, one rectangle of the image becomes mid-grey."""

    probability: Share = 0.5
    min_area: Share = Field(0.02, description="smallest area, as a fraction of the image")
    max_area: Share = Field(0.33, description="largest area, as a fraction of the image")
    min_aspect: float = Field(0.3, gt=0, le=1, description="smallest aspect ratio; the largest is 1 / min_aspect")

    @model_validator(mode="after")
    def _is_a_range(self) -> "Erasing":
        if self.min_area > self.max_area:
            raise ValueError(f"min_area={self.min_area} exceeds max_area={self.max_area}; give the smaller area first")
        return self


class Augmentation(Settings):
    """Probability of each augmentation per image. Source of crop, low_resolution and photometric: AdaFace."""

    flip: Share = Field(0.5, description="horizontal flip")
    crop: Share = Field(0.0, description="a random box is kept at its position, the rest becomes black")
    low_resolution: Share = Field(0.0, description="downscaling and upscaling")
    photometric: Share = Field(0.0, description="random brightness, contrast and saturation")
    erasing: Erasing = Erasing()


class Recipe(Settings):
    """All training settings. Two results are comparable if they share the recipe and differ in the dataset alone."""

    backbone: Backbone
    margin: Margin = Margin()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule
    batch_size: int = Field(ge=2, description="images per optimiser step, over all processes")
    augmentation: Augmentation = Augmentation()
    precision: Literal["float32", "bf16", "fp16"] = Field("float32", description="autocast type of the backbone")
    channels_last: bool = Field(True, description="NHWC memory layout, which is faster; ignored for width below 16")
    ema_decay: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="decay of a moving average of the weights, which is validated and saved in their place",
    )
    sync_batch_norm: bool = Field(
        False, exclude_if=lambda on: not on, description="batch norm statistics over all processes; on GPUs only"
    )
    skip_corrupt: bool = Field(
        False, exclude_if=lambda on: not on, description="replace a face that does not decode by the next one"
    )


REHEARSED_IDENTITIES = "BENCH_REHEARSED_IDENTITIES"
"""Environment variable by which a rehearsal gives its training the number of identities of the long run, so that time
and memory of the class weights are measured. A training anywhere else refuses it."""
REHEARSALS = ".rehearsals"
"""Folder in RUNS in which rehearsals work."""


def micro_batches(num_faces: int) -> list[int]:
    """How many of its faces a process may train at a time: the divisors of their number from 2 up.

    One face would have no batch-norm statistics.
    """
    return [n for n in range(2, num_faces + 1) if num_faces % n == 0]


def checked_micro_batch(micro_batch: int | None, num_faces: int) -> int:
    """The faces that a process trains at a time: all of them, or those that were asked for.

    Raises:
        InputError: If the number that was asked for is not one of ``micro_batches``; the message names the nearest.
    """
    if micro_batch is None:
        return num_faces
    allowed = micro_batches(num_faces)
    if micro_batch not in allowed:
        nearest = sorted(sorted(allowed, key=lambda n: abs(n - micro_batch))[:2])
        raise InputError(
            f"--micro-batch {micro_batch} does not divide the {num_faces} faces of each process into parts of two or "
            f"more; set {' or '.join(map(str, nearest))}"
        )
    return micro_batch
