"""The section ``recipe`` of benchmarks.yaml: how a recognition network is trained."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from bench.config.settings import Count, Settings, Share


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
