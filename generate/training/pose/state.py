"""The state of a pose training: frozen generator with LoRA, pose network, optimiser, one step, and checkpoints.

Shapes: ``B`` batch, ``D`` width of the generator's tokens.
"""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.machine.processes import average_gradients
from generate.networks.plus.condition import POSED_DROP_RATIO, PoseNetwork
from generate.networks.plus.lora import add_lora
from generate.training.losses import LossTerms, Reconstruction
from generate.training.pose.data import PoseBatch
from generate.training.pose.recipes import PoseRecipe
from generate.training.state import (
    AUTOCAST,
    StatefulPart,
    read_checkpoint,
    reconstruct,
    seed_step,
    write_checkpoint,
)
from generate.vec2face import Vec2Face

_FIRST_SHARE = 1e-3
"""Learning rate of the first step, as a share of the recipe's."""


class PosedForward(nn.Module):
    """Features and landmark pictures -> images. All that is trained lies in it, so all of it is synchronised.

    Args:
        generator: Vec2Face with LoRA.
        network: The pose network.
    """

    def __init__(self, generator: Vec2Face, network: PoseNetwork) -> None:
        super().__init__()
        self.generator, self.network = generator, network

    def forward(
        self,
        features: Tensor,
        noise: Tensor,
        mask_ratio: Tensor,
        landmarks: Tensor,
        drop_ratio: float = POSED_DROP_RATIO,
    ) -> Tensor:
        """Images (B, 3, 112, 112), unclipped; arguments as of ``PosedGenerator.forward``.

        ``drop_ratio`` is the share of tokens hidden from the encoder, by default that of generation.
        """
        fill = self.network(landmarks).float()
        return reconstruct(self.generator, features, noise, mask_ratio, drop_ratio=drop_ratio, fill=fill)[0]


def pose_lr_at(step: int, *, steps_per_epoch: int, recipe: PoseRecipe) -> float:
    """Learning rate at a step: linear from a thousandth of the recipe's rate, then half a cosine to the final rate."""
    optimizer = recipe.optimizer
    warmup, num_steps = recipe.warmup_epochs * steps_per_epoch, recipe.epochs * steps_per_epoch
    if step < warmup:
        return optimizer.lr * (_FIRST_SHARE + (1 - _FIRST_SHARE) * step / warmup)
    progress = (step - warmup) / max(num_steps - warmup, 1e-9)
    return optimizer.final_lr + (optimizer.lr - optimizer.final_lr) * 0.5 * (1 + math.cos(math.pi * progress))


class PoseState:
    """Networks, optimiser and the number of steps done.

    Args:
        recipe: How to train.
        generator: The trained generator; it is frozen and gets LoRA, whose start is drawn from torch's generator.
        terms: Terms of the loss.
        seed: Seed of what is drawn within a step.
        device: Where the networks run.
    """

    def __init__(
        self, recipe: PoseRecipe, generator: Vec2Face, terms: LossTerms, *, seed: int, device: torch.device
    ) -> None:
        self.recipe, self.terms = recipe, terms
        self.seed, self.device = seed, device
        self.step, self.seconds = 0, 0.0
        lora = add_lora(generator, recipe.rank, recipe.alpha)
        network = PoseNetwork(generator.architecture.width, recipe.channels)
        self.posed = PosedForward(generator, network).to(device).eval()
        settings = recipe.optimizer
        self.trained = nn.ParameterList([*lora, *network.parameters()])
        self.optimizer = torch.optim.AdamW(
            self.trained, lr=settings.lr, betas=settings.betas, weight_decay=settings.weight_decay
        )
        self._draw = average_gradients(self.posed)
        self._weights = recipe.losses.model_dump() | {"token": 0.0}

    def start(self) -> None:
        """Leave the networks in eval mode: as published, nothing is dropped out."""

    def schedule(self, steps_per_epoch: int) -> tuple[float, dict[str, float]]:
        """Learning rate and weights of the terms at the next step."""
        return pose_lr_at(self.step, steps_per_epoch=steps_per_epoch, recipe=self.recipe), self._weights

    def update(self, batch: PoseBatch, lr: float, weights: dict[str, float]) -> dict[str, Tensor]:
        """Do one step of the optimiser.

        Args:
            batch: This process's share of the step.
            lr: Learning rate.
            weights: Weight per term of the loss.

        Returns:
            The unweighted terms, the loss and the gradient norm before clipping, still on the device.
        """
        seed_step(self.seed, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        (faces, features, noise, mask_ratio), pictures, inputs = batch.to(self.device)
        dtype = AUTOCAST.get(self.recipe.precision)
        with torch.autocast(self.device.type, dtype, enabled=dtype is not None):
            images = self._draw(inputs, noise, mask_ratio, pictures, self.recipe.masking.low)
            without_tokens = features.new_empty(0)
            reconstruction = Reconstruction(images, without_tokens, without_tokens)
            terms = self.terms(reconstruction, faces, features, weights)
        loss = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
        self.optimizer.zero_grad()
        loss.backward()
        limit = self.recipe.optimizer.grad_clip or float("inf")
        norm = nn.utils.clip_grad_norm_(self.trained, limit)
        self.optimizer.step()
        self.step += 1
        return {name: term.detach() for name, term in terms.items()} | {"loss": loss.detach(), "grad_norm": norm}

    def save(self, path: Path, must_match: dict[str, Any]) -> None:
        """Write a checkpoint, atomically. It holds what is trained, not the frozen generator.

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
            InputError: If the file is broken, or was written with another rank, recipe, seed, dataset or network;
                names the first setting that differs.
        """
        self.step, self.seconds = read_checkpoint(path, self._parts(), self._settings(must_match))

    def _settings(self, must_match: dict[str, Any]) -> dict[str, Any]:
        return {"recipe": self.recipe.model_dump(mode="json"), "seed": self.seed, **must_match}

    def _parts(self) -> dict[str, StatefulPart]:
        """Everything that a checkpoint holds, by name."""
        return {"trained": self.trained, "optimizer": self.optimizer}
