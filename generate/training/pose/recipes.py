"""pose_models.yaml -> recipes: the settings with which the pose model of a generator is trained.

The defaults are the values of ``pose_training.py`` of HaiyuWu/Vec2Face_plus (commit 7aea100), started as its README
says. It has quirks. What this project does with each:

| quirk of the reference | here |
|---|---|
| the main model is loaded with ``strict=False`` under other names, so that the attention stays random | fixed: strict |
| only the pose network is averaged over the processes, LoRA is not | fixed: all trainable parts are |
| ``--use_amp`` switches AMP off, and the README passes it | fixed: ``precision``, by default float32 |
| LPIPS is in training mode, with a dropout of 0.5 | fixed: eval mode |
| one mask ratio per batch | fixed: one per face, from (seed, step) |
| batch size is per process, 64 on 4 GPUs | fixed: ``batch_size`` is global, 256 |
| the generator is in eval mode, without dropout | kept |
| no token term, no discriminator, no clipping of gradients | kept |
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from bench.config.settings import Count, Settings, Share
from generate.networks.plus.condition import CHANNELS
from generate.networks.plus.lora import ALPHA, RANK
from generate.training.recipes import Masking, load_entry

POSE_RECIPES_PATH = Path(__file__).parent.parent.parent.parent / "pose_models.yaml"
Weight = Annotated[float, Field(ge=0)]
Channels = Annotated[int, Field(ge=1, le=4096)]


class PoseLosses(Settings):
    """Weights of the terms; each is a mean over the batch. A term of weight 0 is not computed."""

    pixel: Weight = Field(1.0, description="mean squared error of the images in [-1, 1]")
    perceptual: Weight = Field(0.4, description="LPIPS on VGG-16, or the identity network's activations without it")
    ssim: Weight = Field(1.0, description="1 - SSIM")
    identity: Weight = Field(1.0, description="1 - cosine between the features of the drawn image and of the face")


class PoseOptimizer(Settings):
    """AdamW, of LoRA and of the pose network."""

    lr: float = Field(1e-4, gt=0, description="learning rate for the global batch")
    final_lr: float = Field(1e-6, ge=0, description="learning rate at the end")
    betas: tuple[Share, Share] = Field((0.9, 0.999), description="decay rates of the gradient's moments")
    weight_decay: float = Field(0.05, ge=0, description="decoupled weight decay of all trained parameters")
    grad_clip: float | None = Field(None, gt=0, description="highest gradient norm; null does not clip")


class PoseRecipe(Settings):
    """An entry of pose_models.yaml."""

    name: str = Field(description="key of the entry")
    about: str = Field(description="what the recipe is for, in one line")
    rank: Annotated[int, Field(ge=1, le=512)] = Field(RANK, description="rank of LoRA")
    alpha: float = Field(ALPHA, gt=0, description="LoRA is scaled by alpha / rank")
    channels: tuple[Channels, Channels, Channels, Channels] = Field(
        CHANNELS, description="channels of the four convolutions of the pose network"
    )
    losses: PoseLosses = PoseLosses()
    masking: Masking = Field(
        Masking(low=0.6, high=0.8, mean=0.7, std=0.1), description="share of masked tokens in training"
    )
    optimizer: PoseOptimizer = PoseOptimizer()
    batch_size: Count = Field(256, description="faces per step, over all processes")
    epochs: Count = 10
    warmup_epochs: float = Field(
        1.0, ge=0, description="epochs over which the rate rises linearly from a thousandth; then half a cosine"
    )
    precision: Literal["float32", "bf16"] = Field(
        "float32", description="autocast type of everything but the transformer, which stays in float32"
    )
    exchange_pose: bool = Field(
        False,
        exclude_if=lambda on: not on,
        description="exchange what the features tell about the pose with another face's, so that only the landmark "
        "picture tells it; for features that hold appearance",
    )
    judged_share: float = Field(
        1.0, gt=0, le=1, description="share of a batch for which the perceptual and the identity term are computed"
    )
    judged_views: bool = Field(False, description="compute these two terms on shifted and blurred images")
    held_out_identities: Count = Field(description="identities kept out of training, for the metrics of every epoch")


def load_pose_recipe(name: str, path: str | Path = POSE_RECIPES_PATH) -> PoseRecipe:
    """The recipe called ``name``.

    Raises:
        InputError: If the file cannot be read, the name is unknown (suggests the nearest), or a value does not fit.
    """
    return load_entry(PoseRecipe, name, path)
