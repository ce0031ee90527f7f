"""The state of a training: networks, optimisers, one step of both, and checkpoints of all of it.

The step follows the trainer of HaiyuWu/Vec2Face; ``generate/training/recipes.py`` lists the departures from it.
Shapes: ``B`` batch, ``D`` token width.
"""

import json
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from bench.files import atomic_path
from bench.machine.processes import average_gradients, joined_rank
from bench.machine.resume import refuse_damaged, refuse_other_settings
from generate.networks.styled_decoder import StyledDecoder
from generate.networks.vec2face_decoder import ImageDecoder
from generate.networks.weights import read_weights
from generate.training.data import Batch
from generate.training.discriminators.projection import ProjectionDiscriminator, hinge_loss
from generate.training.discriminators.vec2face import Discriminator, discriminator_loss
from generate.training.losses import LossTerms, Reconstruction
from generate.training.recipes import GeneratorRecipe
from generate.vec2face import Architecture, Vec2Face, token_masks

StatefulPart = nn.Module | torch.optim.Optimizer | torch.amp.GradScaler
"""What has a state dict."""
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


class _TrainingForward(nn.Module):
    """``reconstruct`` as a module, which several processes can train together."""

    def __init__(self, generator: Vec2Face, drop_ratio: float) -> None:
        super().__init__()
        self.generator, self.drop_ratio = generator, drop_ratio

    def forward(self, features: Tensor, noise: Tensor, mask_ratio: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return reconstruct(self.generator, features, noise, mask_ratio, drop_ratio=self.drop_ratio)


def reconstruct(
    generator: Vec2Face,
    features: Tensor,
    noise: Tensor,
    mask_ratio: Tensor,
    *,
    drop_ratio: float,
    fill: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The generator's forward pass under autocast, in which the transformer stays in float32.

    Args:
        generator: The generator.
        features: Features (B, feature_dim).
        noise: Noise that decides which tokens are masked, (B, 49).
        mask_ratio: Share of masked tokens, (B,).
        drop_ratio: Share of dropped tokens.
        fill: Pose token (B, 1, D), in float32; None for the embedded identity token.

    Returns:
        Images (B, 3, 112, 112), restored tokens (B, 49, D) and the expanded ones that they should equal (B, 49, D).
    """
    dropped, masked = token_masks(noise, mask_ratio, drop_ratio)
    with torch.autocast(features.device.type, enabled=False):
        tokens = generator.expand(features)
        latent, encoded_positions = generator.encode(tokens, dropped, masked)
        restored = generator.decode(latent, encoded_positions, masked, fill)
    return generator.paint(restored, features).float(), restored[:, 1:], tokens[:, 1:].detach()


def build_generator(recipe: GeneratorRecipe) -> Vec2Face:
    """A generator of the recipe's size with the reference's initial weights, drawn from torch's global generator."""
    sizes = recipe.sizes.model_dump(exclude={"dropout", "discriminator_widths"})
    generator = Vec2Face(Architecture(**sizes), dropout=recipe.sizes.dropout)
    for module in generator.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    if recipe.sizes.own_tokens:  # so that tokens start on the scale of the position embeddings added to them
        nn.init.normal_(generator.grid_tokens.weight, std=recipe.sizes.feature_dim**-0.5)
    nn.init.normal_(generator.decoder_pos_embed_learned, std=recipe.initial_positions)
    nn.init.normal_(generator.token_emb.position_embeddings.weight, std=recipe.initial_positions)
    if isinstance(generator.im_decoder, StyledDecoder):
        generator.im_decoder.initialise()
        generator.im_decoder.to(memory_format=torch.channels_last)  # faster on CPUs
    else:
        _equalise_pixels(generator.im_decoder)
        if recipe.sizes.coarse:  # the first images are those of the linear map, see generate/training/coarse.py
            for parameter in generator.im_decoder.conv_out.parameters():
                nn.init.zeros_(parameter)
    for unused in (generator.center_token, generator.patch_embed):  # only there to fit the released state dict
        unused.requires_grad_(False)
    return generator


def build_discriminator(recipe: GeneratorRecipe) -> Discriminator | ProjectionDiscriminator:
    """A discriminator of the recipe's kind and size, with random weights."""
    widths = recipe.sizes.discriminator_widths
    if recipe.discriminator == "projection":
        return ProjectionDiscriminator(widths, recipe.sizes.feature_dim)
    return Discriminator(widths)


def _equalise_pixels(decoder: ImageDecoder) -> None:
    """Give equal initial weights to all pixels that come from one position of the last convolution.

    Different random weights draw a checkerboard, which training may not remove (ICNR, arXiv 1707.02937).
    """
    pixels = decoder.pixels_per_place**2
    with torch.no_grad():
        for weight in decoder.conv_out.parameters():
            weight.copy_(weight[::pixels].repeat_interleave(pixels, dim=0))


def lr_at(step: int, *, steps_per_epoch: int, recipe: GeneratorRecipe) -> float:
    """The generator's learning rate at a step, as in the reference: linear from 0, then half a cosine down to 0."""
    epoch = step / steps_per_epoch
    if epoch < recipe.warmup_epochs:
        return recipe.optimizer.lr * epoch / recipe.warmup_epochs
    progress = (epoch - recipe.warmup_epochs) / max(recipe.epochs - recipe.warmup_epochs, 1e-9)
    return recipe.optimizer.lr * 0.5 * (1 + math.cos(math.pi * progress))


class TrainState:
    """Networks, optimisers and the number of steps done.

    Args:
        recipe: How to train.
        terms: Terms of the generator's loss.
        seed: Seed of what is drawn within a step.
        device: Where the networks run.
        coarse: Initial weight and bias of the generator's linear map, where the recipe has one.
    """

    def __init__(
        self,
        recipe: GeneratorRecipe,
        terms: LossTerms,
        *,
        seed: int,
        device: torch.device,
        coarse: dict[str, Tensor] | None = None,
    ) -> None:
        self.recipe, self.terms = recipe, terms
        self.seed, self.device = seed, device
        self.step, self.seconds = 0, 0.0
        generator = build_generator(recipe)
        if coarse is not None:
            generator.coarse.load_state_dict(coarse)
        self.generator = generator.to(device)
        self.discriminator: Discriminator | ProjectionDiscriminator | None = None
        if recipe.losses.adversarial.weight > 0:
            self.discriminator = build_discriminator(recipe).to(device)
        settings = recipe.optimizer
        adamw = partial(torch.optim.AdamW, lr=settings.lr, betas=settings.betas, weight_decay=settings.weight_decay)
        self.optimizer = adamw([parameter for parameter in self.generator.parameters() if parameter.requires_grad])
        self.discriminator_optimizer = None
        if self.discriminator is not None:
            rate = settings.discriminator_lr or settings.lr
            self.discriminator_optimizer = adamw(self.discriminator.parameters(), lr=rate)
        self.scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16" and device.type == "cuda")
        self.ema = None
        if recipe.ema_decay:
            self.ema = AveragedModel(self.generator, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema_decay))
        self._reconstruct = average_gradients(_TrainingForward(self.generator, recipe.masking.low))
        self._discriminate = average_gradients(self.discriminator) if self.discriminator else None

    @property
    def trained(self) -> Vec2Face:
        """The generator to use after training: the exponential moving average where the recipe has one."""
        return self.generator if self.ema is None else cast(Vec2Face, self.ema.module)

    def start(self) -> None:
        """Set the generator to training mode."""
        self.generator.train()

    def schedule(self, steps_per_epoch: int) -> tuple[float, dict[str, float]]:
        """Learning rate of the generator and weights of the terms at the next step."""
        lr = lr_at(self.step, steps_per_epoch=steps_per_epoch, recipe=self.recipe)
        return lr, self.recipe.losses.weights_at(self.step / steps_per_epoch)

    def update(self, batch: Batch, lr: float, weights: dict[str, float]) -> dict[str, Tensor]:
        """Do one step of both optimisers.

        Args:
            batch: This process's share of the step.
            lr: Learning rate of the generator.
            weights: Weight per term of the loss.

        Returns:
            The unweighted terms, the loss and the gradient norms before clipping, still on the device.
        """
        seed_step(self.seed, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        faces, features, noise, mask_ratio = batch.to(self.device)
        condition = (features,) if self.recipe.discriminator == "projection" else ()
        adversary = self.discriminator if weights["adversarial"] > 0 else None
        with self._autocast():
            reconstruction = Reconstruction(*self._reconstruct(features, noise, mask_ratio))
            terms = self.terms(reconstruction, faces, features, weights)
            if adversary is not None:
                adversary.requires_grad_(False)  # the generator's loss must not move its weights
                terms["adversarial"] = -adversary(reconstruction.images, *condition).float().mean()
                adversary.requires_grad_(True)
        loss = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
        values = {name: term.detach() for name, term in terms.items()} | {"loss": loss.detach()}
        values["grad_norm"] = self._descend(loss, self.generator, self.optimizer)
        if adversary is not None and self._discriminate and self.discriminator_optimizer:
            with self._autocast():
                both = torch.cat([faces, reconstruction.images.detach()])
                logits = self._discriminate(both, *(torch.cat([part, part]) for part in condition)).float()
            loss = (hinge_loss if condition else discriminator_loss)(*logits.chunk(2))
            values["discriminator"] = loss.detach()
            values["discriminator_grad_norm"] = self._descend(loss, adversary, self.discriminator_optimizer)
        self.scaler.update()
        if self.ema is not None:
            self.ema.update_parameters(self.generator)
        self.step += 1
        return values

    def save(self, path: Path, must_match: dict[str, Any]) -> None:
        """Write a checkpoint, atomically.

        Args:
            path: The file to write.
            must_match: Values that a resumed run must share, besides recipe and seed.
        """
        write_checkpoint(path, self._parts(), self, self._settings(must_match))

    def restore(self, path: Path, must_match: dict[str, Any]) -> None:
        """Load a checkpoint.

        Args:
            path: The file.
            must_match: As for ``save``.

        Raises:
            InputError: If the file is broken, or was written with another recipe, seed, dataset or network; names the
                first setting that differs.
        """
        self.step, self.seconds = read_checkpoint(path, self._parts(), self._settings(must_match))

    def _settings(self, must_match: dict[str, Any]) -> dict[str, Any]:
        return {"recipe": self.recipe.model_dump(mode="json"), "seed": self.seed, **must_match}

    def _parts(self) -> dict[str, StatefulPart]:
        """Everything that a checkpoint holds, by name."""
        parts: dict[str, StatefulPart] = {
            "generator": self.generator,
            "optimizer": self.optimizer,
            "scaler": self.scaler,
        }
        if self.discriminator and self.discriminator_optimizer:
            parts |= {"discriminator": self.discriminator, "discriminator_optimizer": self.discriminator_optimizer}
        if self.ema is not None:
            parts["ema"] = self.ema
        return parts

    def _autocast(self) -> torch.autocast:
        dtype = AUTOCAST.get(self.recipe.precision)
        return torch.autocast(self.device.type, dtype, enabled=dtype is not None)

    def _descend(self, loss: Tensor, network: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
        """Do one step of a network's optimiser. Returns the gradient norm before clipping."""
        optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(optimizer)
        limit = self.recipe.optimizer.grad_clip or float("inf")
        norm = nn.utils.clip_grad_norm_(network.parameters(), limit)
        self.scaler.step(optimizer)
        return norm


class Progress(Protocol):
    """How far a training is."""

    step: int
    """Steps done."""
    seconds: float
    """Time that they took."""


def write_checkpoint(
    path: Path, parts: Mapping[str, StatefulPart], progress: Progress, settings: dict[str, Any]
) -> None:
    """Write the states of all parts of a training, how far it is, and its settings, atomically."""
    state = {name: part.state_dict() for name, part in parts.items()}
    with atomic_path(path) as temporary:
        done = {"step": progress.step, "seconds": progress.seconds}
        torch.save(state | done | {"settings": json.dumps(settings)}, temporary)


def read_checkpoint(path: Path, parts: Mapping[str, StatefulPart], settings: dict[str, Any]) -> tuple[int, float]:
    """Load the states of all parts of a training.

    Returns:
        Number of steps done, and the seconds that they took.

    Raises:
        InputError: If the file is broken, or was written with other settings; names the first one that differs.
    """
    with refuse_damaged(path):
        state, _ = read_weights(path)
        dataset = {"sample_sha256": settings.get("sample_sha256")}  # checkpoints of older versions do not say
        found = dataset | json.loads(state["settings"])
    refuse_other_settings(path, found, settings)
    with refuse_damaged(path):
        for name, part in parts.items():
            part.load_state_dict(state[name])
        return state["step"], state.get("seconds", 0.0)  # older checkpoints hold no seconds


def seed_step(seed: int, step: int) -> None:
    """Seed torch's global generator for a step, so that a resumed run needs no state of it.

    Dropout and shifted views then depend on (seed, step, rank) alone.
    """
    rank, _ = joined_rank()
    torch.manual_seed(int(np.random.SeedSequence([seed, step, rank]).generate_state(1)[0]))
