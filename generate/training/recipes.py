"""The schema of generators.yaml: every way of training a Vec2Face generator. Source of the numbers: field.md 1.3, 1.4.

Quirks of the reference trainer (HaiyuWu/Vec2Face at 9d9fa8c) and what was decided here:

| quirk | here |
|---|---|
| ``lr = blr * batch / 112`` while the log assumes / 256 | fixed: ``lr`` is the rate, for the global batch |
| batch size is per process | fixed: ``batch_size`` is global |
| ``--use_amp`` switches AMP off | fixed: ``precision`` |
| transformer in float32 within AMP, with its own softmax | faithful: float32; torch's softmax is as stable |
| adaptive weight of the adversarial loss behind an inverted flag, so never used | faithful: a constant weight |
| the schedule moves the generator's rate, the discriminator keeps the first one | faithful |
| the generator's adversarial gradient also reaches the discriminator's weights, against its own loss | fixed |
| the discriminator runs before its start epoch, times 0 (its weights decay) | fixed: it starts at its epoch |
| one mask ratio per batch, from NumPy's global generator | fixed: one per face, from (seed, step) |
| noise is drawn again until no two numbers tie | fixed: ties go by position |
| ``--rep_drop_prob`` is read and never used | left out |
| ``set_detect_anomaly(True)`` stays on | fixed: off; a loss that is not finite stops the run and names its term |
| images are compared unclipped, SSIM on (x + 1) / 2 with range 1 | faithful |
| the loss keeps no held-out faces | fixed: identities are held out and measured every epoch |
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from bench.config.benchmarks import describe_mistakes, read_yaml
from bench.config.settings import Count, Settings, Share
from bench.errors import InputError
from bench.names import nearest

RECIPES_PATH = Path(__file__).parent.parent.parent / "generators.yaml"


class Term(Settings):
    """One term of the generator's loss."""

    weight: float = Field(ge=0)
    start_epoch: int = Field(0, ge=0, description="epochs before the term counts (and is computed)")
    ramp_epochs: float = Field(
        0, ge=0, description="epochs over which the weight then rises from a hundredth, linearly"
    )

    def weight_at(self, epoch: float) -> float:
        """Weight at a point of the training, in epochs."""
        if epoch < self.start_epoch:
            return 0.0
        risen = (epoch - self.start_epoch) / self.ramp_epochs if self.ramp_epochs else 1.0
        return self.weight * min(1.0, max(0.01, risen))


class Losses(Settings):
    """The terms of field.md 1.3; the defaults are the present weights."""

    pixel: Term = Field(Term(weight=1.0), description="squared difference, images in [-1, 1]")
    perceptual: Term = Field(Term(weight=0.2), description="LPIPS (VGG), or its form on the identity network")
    ssim: Term = Field(Term(weight=0.1), description="1 - SSIM")
    token: Term = Field(Term(weight=1.0), description="squared difference of restored and expanded tokens")
    identity: Term = Field(Term(weight=1.0), description="1 - cosine of the image's features and the given ones")
    adversarial: Term = Field(Term(weight=1.0, start_epoch=80), description="- mean of the discriminator's logits")

    def weights_at(self, epoch: float) -> dict[str, float]:
        """Weight of every term at a point of the training, in epochs."""
        return {name: getattr(self, name).weight_at(epoch) for name in type(self).model_fields}


class Sizes(Settings):
    """Size of the generator and of its discriminator."""

    feature_dim: Count = Field(512, description="width of the identity features")
    width: Count = Field(768, description="width of the tokens")
    depth: Count = Field(12, description="transformer blocks of the encoder")
    num_heads: Count = 12
    decoder_depth: Count = Field(8, description="transformer blocks of the decoder")
    decoder_heads: Count = 16
    channels: Count = Field(128, description="channels of the image decoder at full resolution")
    multipliers: tuple[Count, ...] = Field(
        (1, 1, 2, 2, 4),
        min_length=3,
        max_length=5,
        description="channels at 112, 56, 28, 14 and 7 pixels, in units of channels; four start at 56, three at 28",
    )
    latent_channels: Count = 256
    smooth: bool = Field(False, description="pixels are averaged over the size of a place of the last convolution")
    own_tokens: bool = Field(
        False, exclude_if=lambda on: not on, description="every grid token has a projection of its own"
    )
    coarse: bool = Field(
        False, exclude_if=lambda on: not on, description="the image is added to a coarse one by linear regression"
    )
    dropout: float = Field(0.1, ge=0, lt=1)
    discriminator_widths: tuple[Count, ...] = Field((64, 128, 256, 512), min_length=2)


class Masking(Settings):
    """Share of masked tokens in training: a normal number cut to a range. Tokens below ``low`` are dropped."""

    low: Share = 0.5
    high: Share = 1.0
    mean: Share = 0.75
    std: float = Field(0.25, gt=0)


class GeneratorOptimizer(Settings):
    """AdamW, for the generator and for the discriminator."""

    lr: float = Field(gt=0, description="for the whole global batch")
    betas: tuple[Share, Share] = (0.9, 0.99)
    weight_decay: float = Field(0.01, ge=0, description="torch's default, which the reference leaves")
    grad_clip: float | None = Field(2.0, gt=0, description="largest gradient norm, of each network")


class GeneratorRecipe(Settings):
    """One entry of generators.yaml."""

    name: str
    about: str
    sizes: Sizes = Sizes()
    losses: Losses = Losses()
    masking: Masking = Masking()
    optimizer: GeneratorOptimizer
    batch_size: int = Field(ge=1, description="global: over all processes")
    epochs: Count
    warmup_epochs: float = Field(5.0, ge=0, description="linear from 0, then half a cosine down to 0")
    precision: Literal["float32", "bf16", "fp16"] = Field(
        "fp16", description="autocast type of all but the transformer, which stays in float32"
    )
    initial_positions: float = Field(
        0.02,
        gt=0,
        description="deviation of the position embeddings at the start; the reference's leaves all tokens alike",
    )
    judged_share: float = Field(
        1.0, gt=0, le=1, description="share of a batch that the networks of the loss see; pixels count in all of it"
    )
    judged_views: bool = Field(
        False, description="these networks see images shifted and blurred, so that no texture is made to please them"
    )
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    held_out_identities: Count = Field(description="identities that are not trained on, for the figures of each epoch")


def load_recipe(name: str, path: str | Path = RECIPES_PATH) -> GeneratorRecipe:
    """The way of training called ``name``.

    Raises:
        InputError: If the file cannot be read, the name is unknown (says the nearest), or a value does not fit.
    """
    document: Any = read_yaml(path)
    if not isinstance(document, dict):
        raise InputError(f"{path}: top level must map names to recipes; got {type(document).__name__}; mend the YAML")
    if name not in document:
        raise InputError(f"recipe {name} is not in {path}; {nearest(name, map(str, document))}")
    try:
        return GeneratorRecipe.model_validate({**document[name], "name": name})
    except ValidationError as error:
        raise InputError(f"{path}: {name}: {describe_mistakes(error, GeneratorRecipe)}; mend the YAML") from None
    except TypeError:
        raise InputError(f"{path}: {name} must be a section of settings; got {document[name]!r}") from None
