"""generators.yaml -> recipes: the settings with which a Vec2Face generator is trained.

The numbers come from docs/field.md, sections 1.3 and 1.4. The reference trainer (HaiyuWu/Vec2Face, commit 9d9fa8c) has
quirks. What this project does with each:

| quirk of the reference | here |
|---|---|
| ``lr = blr * batch / 112``, while the log assumes / 256 | fixed: ``lr`` is the learning rate, for the global batch |
| batch size is per process | fixed: ``batch_size`` is global |
| ``--use_amp`` switches AMP off | fixed: ``precision`` |
| transformer in float32 within AMP, with its own softmax | kept: float32; torch's softmax is as stable |
| adaptive weight of the adversarial loss is never used, since its flag is inverted | kept: a constant weight |
| the schedule changes the generator's rate alone, the discriminator's stays at ``lr`` | kept |
| the generator's adversarial gradient also accumulates in the discriminator, against its own loss | fixed |
| the discriminator runs before its start epoch with weight 0 (its weights decay) | fixed: it starts at its epoch |
| one mask ratio per batch, from NumPy's global generator | fixed: one per face, from (seed, step) |
| noise is drawn again until no two numbers tie | fixed: ties are broken by position |
| ``--rep_drop_prob`` is read and never used | left out |
| ``set_detect_anomaly(True)`` stays on | fixed: off; a loss that is not finite stops the run and names its term |
| images are compared unclipped, SSIM on (x + 1) / 2 with range 1 | kept |
| no faces are held out | fixed: identities are held out and measured every epoch |
"""

from pathlib import Path
from statistics import NormalDist
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError, model_validator

from bench.config.settings import Count, Settings, Share
from bench.config.yaml_file import check_entries, describe_mistakes, read_yaml
from bench.errors import InputError
from bench.names import nearest

RECIPES_PATH = Path(__file__).parent.parent.parent / "generators.yaml"
_MIN_MASK_PROBABILITY = 1e-3
"""Lowest accepted probability of the range: shares are drawn until one lies in it, which must not take for ever."""


RecipeT = TypeVar("RecipeT", bound=Settings)


class Term(Settings):
    """Weight and schedule of a term of the generator's loss."""

    weight: float = Field(ge=0, description="factor of the term; a term of weight 0 is not computed")
    start_epoch: int = Field(0, ge=0, description="epochs before the term is computed")
    ramp_epochs: float = Field(
        0, ge=0, description="epochs over which the weight then rises linearly; it starts at a hundredth"
    )

    def weight_at(self, epoch: float) -> float:
        """Weight after ``epoch`` epochs, which may be a fraction."""
        if epoch < self.start_epoch:
            return 0.0
        ramp = (epoch - self.start_epoch) / self.ramp_epochs if self.ramp_epochs else 1.0
        return self.weight * min(1.0, max(0.01, ramp))


class Losses(Settings):
    """Terms of the loss (docs/field.md, section 1.3). The defaults are the reference's weights of today."""

    pixel: Term = Field(Term(weight=1.0), description="mean squared error of the images in [-1, 1]")
    absolute: Term = Field(
        Term(weight=0.0),
        exclude_if=lambda term: term == Term(weight=0.0),
        description="mean absolute error of the images in [-1, 1], which blurs edges less than the squared error",
    )
    perceptual: Term = Field(
        Term(weight=0.2),
        description="LPIPS on VGG-16; without VGG's weights, a similar distance of the identity network's activations",
    )
    ssim: Term = Field(Term(weight=0.1), description="1 - SSIM")
    token: Term = Field(
        Term(weight=1.0),
        description="mean squared error of the tokens that the decoder restores, against the expanded feature",
    )
    identity: Term = Field(
        Term(weight=1.0), description="1 - cosine between the features of the generated image and the given ones"
    )
    adversarial: Term = Field(
        Term(weight=1.0, start_epoch=80), description="minus the mean of the discriminator's logits"
    )

    def weights_at(self, epoch: float) -> dict[str, float]:
        """Weight of every term after ``epoch`` epochs, which may be a fraction."""
        return {name: getattr(self, name).weight_at(epoch) for name in type(self).model_fields}


class Sizes(Settings):
    """Sizes of the generator and of the discriminator."""

    feature_dim: Count = Field(512, description="width of the identity features")
    width: Count = Field(768, description="width of the tokens")
    depth: Count = Field(12, description="transformer blocks of the encoder")
    num_heads: Count = Field(12, description="attention heads of the encoder")
    decoder_depth: Count = Field(8, description="transformer blocks of the decoder")
    decoder_heads: Count = Field(16, description="attention heads of the decoder")
    channels: Count = Field(128, description="channels of the image decoder at full resolution")
    multipliers: tuple[Count, ...] = Field(
        (1, 1, 2, 2, 4),
        min_length=3,
        max_length=5,
        description="channels at 112, 56, 28, 14 and 7 pixels, as multiples of channels; four values end at 56 pixels, "
        "three at 28, and each position of the last convolution then gives 2 x 2 or 4 x 4 pixels",
    )
    latent_channels: Count = Field(256, description="channels of the 7 x 7 input of the image decoder")
    smooth: bool = Field(
        False, description="average neighbouring pixels where a position gives several, so that no grid can show"
    )
    own_tokens: bool = Field(
        False, exclude_if=lambda on: not on, description="give every grid token its own projection of the feature"
    )
    coarse: bool = Field(
        False,
        exclude_if=lambda on: not on,
        description="add the decoder's image to a low-resolution image that is a linear map of the feature",
    )
    style_width: int = Field(
        0,
        ge=0,
        exclude_if=lambda width: width == 0,
        description="width of the style by which the feature acts on every resolution of the image decoder; needs five "
        "multipliers; 0 for the published decoder",
    )
    circumstances: int = Field(
        0,
        ge=0,
        exclude_if=lambda count: count == 0,
        description="last numbers of a feature that no identity network gives, but the renderer knows",
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout probability in the transformer")
    discriminator_widths: tuple[Count, ...] = Field(
        (64, 128, 256, 512), min_length=2, description="channels at full resolution and after every stride of 2"
    )

    @model_validator(mode="after")
    def _circumstances_leave_identity(self) -> "Sizes":
        if self.circumstances >= self.feature_dim:
            raise ValueError(
                f"circumstances={self.circumstances} leaves no identity features of feature_dim={self.feature_dim}; "
                "lower it"
            )
        return self


class Masking(Settings):
    """Share of masked tokens in training: a normal distribution truncated to [low, high]."""

    low: Share = Field(0.5, description="lowest share; this share of the tokens is not even given to the encoder")
    high: Share = Field(1.0, description="highest share")
    mean: Share = Field(0.75, description="mean of the normal distribution")
    std: float = Field(0.25, gt=0, description="standard deviation of the normal distribution")

    @model_validator(mode="after")
    def _range_is_drawn_from(self) -> "Masking":
        normal = NormalDist(self.mean, self.std)
        if normal.cdf(self.high) - normal.cdf(self.low) < _MIN_MASK_PROBABILITY:
            raise ValueError(
                f"low={self.low} and high={self.high}, but shares of mean={self.mean} and std={self.std} are never or "
                "hardly ever between them; give a wider range, the lower share first"
            )
        return self


class GeneratorOptimizer(Settings):
    """AdamW, of the generator and of the discriminator."""

    lr: float = Field(gt=0, description="learning rate for the global batch; it is not scaled with the batch size")
    betas: tuple[Share, Share] = Field((0.9, 0.99), description="decay rates of the gradient's moments")
    weight_decay: float = Field(0.01, ge=0, description="decoupled weight decay; torch's default, as in the reference")
    grad_clip: float | None = Field(2.0, gt=0, description="highest gradient norm, applied to each network separately")
    discriminator_lr: float | None = Field(
        None,
        gt=0,
        exclude_if=lambda lr: lr is None,
        description="learning rate of the discriminator, which stays constant; null for lr",
    )


class GeneratorRecipe(Settings):
    """An entry of generators.yaml."""

    name: str = Field(description="key of the entry")
    about: str = Field(description="what the recipe is for, in one line")
    sizes: Sizes = Sizes()
    losses: Losses = Losses()
    masking: Masking = Masking()
    optimizer: GeneratorOptimizer
    batch_size: int = Field(ge=1, description="faces per step, over all processes")
    epochs: Count
    warmup_epochs: float = Field(
        5.0, ge=0, description="epochs over which the rate rises linearly from 0; then it falls to 0 as half a cosine"
    )
    precision: Literal["float32", "bf16", "fp16"] = Field(
        "fp16", description="autocast type of everything but the transformer, which stays in float32"
    )
    discriminator: Literal["vec2face", "projection"] = Field(
        "vec2face",
        exclude_if=lambda kind: kind == "vec2face",
        description="the reference's discriminator with a least-squares loss, or a projection discriminator, which "
        "sees the features as well, with a hinge loss",
    )
    perceptual: Literal["lpips", "identity"] = Field(
        "lpips",
        exclude_if=lambda network: network == "lpips",
        description="network of the perceptual term: LPIPS where VGG-16's weights are at hand, or always the identity "
        "network, which is many times faster",
    )
    initial_positions: float = Field(
        0.02,
        gt=0,
        description="standard deviation of the initial position embeddings; with the reference's 0.02 all grid tokens "
        "of a small generator start nearly equal",
    )
    judged_share: float = Field(
        1.0,
        gt=0,
        le=1,
        description="share of a batch for which the perceptual and the identity term are computed; the other terms "
        "use all of it",
    )
    judged_views: bool = Field(
        False,
        description="compute these two terms on shifted and blurred images, so that no fine texture can lower them",
    )
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="decay per step of the exponential moving average of the weights; none without"
    )
    held_out_identities: Count = Field(description="identities kept out of training, for the metrics of every epoch")


def load_recipe(name: str, path: str | Path = RECIPES_PATH) -> GeneratorRecipe:
    """The recipe called ``name``.

    Raises:
        InputError: If the file cannot be read, the name is unknown (suggests the nearest), or a value does not fit.
    """
    return load_entry(GeneratorRecipe, name, path)


def load_entry(schema: type[RecipeT], name: str, path: str | Path) -> RecipeT:
    """An entry of a YAML file of recipes, checked by ``schema``; raises as ``load_recipe``."""
    document: Any = read_yaml(path)
    check_entries(document, str(path))
    if name not in document:
        raise InputError(f"recipe {name} is not in {path}; {nearest(name, document)}")
    check_entries(document[name], f"{path}: {name}")
    try:
        return schema.model_validate({**document[name], "name": name})
    except ValidationError as error:
        raise InputError(f"{path}: {name}: {describe_mistakes(error, schema)}; correct the YAML") from None
