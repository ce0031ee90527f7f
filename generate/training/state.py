"""Everything that changes while a generator is trained: one step of it, and saving and putting back all of it.

Legend: B batch, D token width.
"""

import json
import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from bench.files import atomic_path
from bench.machine.resume import refuse_other_settings
from generate.networks.vec2face_decoder import ImageDecoder
from generate.networks.weights import read_weights
from generate.training.data import Batch
from generate.training.discriminator import Discriminator, discriminator_loss
from generate.training.losses import Reconstruction, Terms
from generate.training.recipes import GeneratorRecipe
from generate.vec2face import Architecture, Vec2Face, token_masks

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


class _Painter(nn.Module):
    """The generator as it is trained: other masks than ``Vec2Face.forward``, and the tokens besides the images."""

    def __init__(self, generator: Vec2Face, drop_ratio: float) -> None:
        super().__init__()
        self.generator, self.drop_ratio = generator, drop_ratio

    def forward(self, features: Tensor, noise: Tensor, mask_ratio: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        generator = self.generator
        dropped, masked = token_masks(noise, mask_ratio, self.drop_ratio)
        with torch.autocast(features.device.type, enabled=False):  # the transformer stays in float32
            tokens = generator.expand(features)
            latent, kept = generator.encode(tokens, dropped, masked)
            restored = generator.decode(latent, kept, masked)
        return generator.paint(restored, features).float(), restored[:, 1:], tokens[:, 1:].detach()


def build_generator(recipe: GeneratorRecipe) -> Vec2Face:
    """A generator of the recipe's size with initial weights as the reference's, drawn from torch's generator."""
    sizes = recipe.sizes.model_dump(exclude={"dropout", "discriminator_widths"})
    generator = Vec2Face(Architecture(**sizes), dropout=recipe.sizes.dropout)
    for module in generator.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    if recipe.sizes.own_tokens:  # as wide as the positions that are added to them
        nn.init.normal_(generator.grid_tokens.weight, std=recipe.sizes.feature_dim**-0.5)
    nn.init.normal_(generator.decoder_pos_embed_learned, std=recipe.initial_positions)
    nn.init.normal_(generator.token_emb.position_embeddings.weight, std=recipe.initial_positions)
    _level_pixels(generator.im_decoder)
    if recipe.sizes.coarse:  # whose image is the start, see generate/training/coarse.py
        for parameter in generator.im_decoder.conv_out.parameters():
            nn.init.zeros_(parameter)
    for unused in (generator.center_token, generator.patch_embed):  # in the released state dict, without a use
        unused.requires_grad_(False)
    return generator


def _level_pixels(decoder: ImageDecoder) -> None:
    """Start with equal pixels per place, or training begins, and may end, with a grid of them (arXiv 1707.02937)."""
    pixels = decoder.pixels_per_place**2
    with torch.no_grad():
        for weight in decoder.conv_out.parameters():
            weight.copy_(weight[::pixels].repeat_interleave(pixels, dim=0))


def lr_at(step: int, *, steps_per_epoch: int, recipe: GeneratorRecipe) -> float:
    """The generator's learning rate at a step: linear from 0, then half a cosine down to 0. The reference's."""
    epoch = step / steps_per_epoch
    if epoch < recipe.warmup_epochs:
        return recipe.optimizer.lr * epoch / recipe.warmup_epochs
    progress = (epoch - recipe.warmup_epochs) / max(recipe.epochs - recipe.warmup_epochs, 1e-9)
    return recipe.optimizer.lr * 0.5 * (1 + math.cos(math.pi * progress))


class TrainState:
    """Networks, optimisers and the number of the step.

    Args:
        recipe: How to train.
        terms: Of the loss.
        seed: Of what is drawn in a step.
        device: Where the networks run.
        coarse: Weight and bias of the generator's linear map to begin with, where it has one.
    """

    def __init__(
        self,
        recipe: GeneratorRecipe,
        terms: Terms,
        *,
        seed: int,
        device: torch.device,
        coarse: dict[str, Tensor] | None = None,
    ) -> None:
        self.recipe, self.terms, self.seed, self.device, self.step = recipe, terms, seed, device, 0
        generator = build_generator(recipe)
        if coarse is not None:
            generator.coarse.load_state_dict(coarse)
        self.generator = generator.to(device)
        self.discriminator = Discriminator(recipe.sizes.discriminator_widths).to(device)
        settings = recipe.optimizer
        options: dict[str, Any] = {"lr": settings.lr, "betas": settings.betas, "weight_decay": settings.weight_decay}
        self.optimizer = torch.optim.AdamW(
            [parameter for parameter in self.generator.parameters() if parameter.requires_grad], **options
        )
        self.discriminator_optimizer = torch.optim.AdamW(self.discriminator.parameters(), **options)
        self.scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16" and device.type == "cuda")
        self.ema = None
        if recipe.ema_decay:
            self.ema = AveragedModel(self.generator, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema_decay))
        self._painter = _distribute(_Painter(self.generator, recipe.masking.low))
        self._judge = _distribute(self.discriminator)

    @property
    def trained(self) -> Vec2Face:
        """The generator to use: the average over the steps where the recipe has one."""
        return self.generator if self.ema is None else cast(Vec2Face, self.ema.module)

    def update(self, batch: Batch, lr: float, weights: dict[str, float]) -> dict[str, Tensor]:
        """One step of both optimisers.

        Args:
            batch: This process' share of the step.
            lr: Rate of the generator.
            weights: Weight per term of the loss.

        Returns:
            The terms, the whole loss and the gradient norms, still on the device.
        """
        # Dropout depends on (seed, step, rank) alone, so a resumed run needs no generator state.
        rank = dist.get_rank() if dist.is_initialized() else 0
        torch.manual_seed(int(np.random.SeedSequence([self.seed, self.step, rank]).generate_state(1)[0]))
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        faces, features, noise, mask_ratio = batch.to(self.device)
        with self._autocast():
            made = Reconstruction(*self._painter(features, noise, mask_ratio))
            terms = self.terms(made, faces, features, weights)
            if weights["adversarial"] > 0:
                self.discriminator.requires_grad_(False)  # its weights take no part in the generator's loss
                terms["adversarial"] = -self.discriminator(made.images).float().mean()
                self.discriminator.requires_grad_(True)
        loss = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
        values = {name: term.detach() for name, term in terms.items()} | {"loss": loss.detach()}
        values["grad_norm"] = self._descend(loss, self.generator, self.optimizer)
        if weights["adversarial"] > 0:
            with self._autocast():
                logits = self._judge(torch.cat([faces, made.images.detach()])).float()
            loss = discriminator_loss(*logits.chunk(2))
            values["discriminator"] = loss.detach()
            values["discriminator_grad_norm"] = self._descend(loss, self.discriminator, self.discriminator_optimizer)
        self.scaler.update()
        if self.ema is not None:
            self.ema.update_parameters(self.generator)
        self.step += 1
        return values

    def save(self, path: Path, fixed: dict[str, Any]) -> None:
        """Write a checkpoint; it appears whole. ``fixed`` is what a resumed run must share besides recipe and seed."""
        state = {name: part.state_dict() for name, part in self._parts().items()}
        with atomic_path(path) as temporary:
            torch.save(state | {"step": self.step, "settings": json.dumps(self._settings(fixed))}, temporary)

    def restore(self, path: Path, fixed: dict[str, Any]) -> None:
        """Go on from a checkpoint.

        Raises:
            InputError: If the file is broken, or was written with another recipe, seed, dataset or network: names it.
        """
        state, _ = read_weights(path)
        refuse_other_settings(path, json.loads(state["settings"]), self._settings(fixed))
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.step = state["step"]

    def _settings(self, fixed: dict[str, Any]) -> dict[str, Any]:
        return {"recipe": self.recipe.model_dump(mode="json"), "seed": self.seed, **fixed}

    def _parts(self) -> dict[str, Any]:
        parts: dict[str, Any] = {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "optimizer": self.optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
            "scaler": self.scaler,
        }
        return parts | ({"ema": self.ema} if self.ema is not None else {})

    def _autocast(self) -> torch.autocast:
        dtype = _AUTOCAST.get(self.recipe.precision)
        return torch.autocast(self.device.type, dtype, enabled=dtype is not None)

    def _descend(self, loss: Tensor, network: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
        """One step of one network's optimiser; its gradient norm before clipping."""
        optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(optimizer)
        limit = self.recipe.optimizer.grad_clip or float("inf")
        norm = nn.utils.clip_grad_norm_(network.parameters(), limit)
        self.scaler.step(optimizer)
        return norm


def _distribute(module: nn.Module) -> nn.Module:
    return DistributedDataParallel(module, broadcast_buffers=False) if dist.is_initialized() else module
