"""Faces with features and a recipe in, a Vec2Face generator out: ``generator.safetensors`` and ``train.jsonl``.

One process, or several under torchrun: the batch is global and each rank takes its share. A checkpoint is written after
every epoch; an interrupted run goes on from it and, on a CPU, ends with the same bits as an uninterrupted one. Losses,
schedule and decisions about the reference's quirks: ``generate/recipes.py``.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F

from bench.errors import InputError
from bench.progress import progress
from bench.records import LmdbFaces
from generate.held_out import HeldOut, make_held_out, write_figures_grid
from generate.identity_network import IdentityNetwork
from generate.losses import Terms
from generate.perturbation import MaskRatio
from generate.recipes import GeneratorRecipe
from generate.train_data import FeatureBatches, load_faces, split_held_out
from generate.train_journal import Journal
from generate.train_state import TrainState, lr_at, start_process
from generate.vec2face import save_generator

CHECKPOINT_NAME, GENERATOR_NAME = "checkpoint.pt", "generator.safetensors"
_SAME_NETWORK = 0.9
"""Mean cosine above which stored features are taken to come from the network given: equal up to decoding is 1."""
_CHECKED_FACES = 16


@dataclass(frozen=True)
class Judges:
    """The frozen networks of a training."""

    identity: IdentityNetwork
    """Gave the features of the training set; the loss uses it."""
    judge: IdentityNetwork | None = None
    """Judges reconstructions of held-out identities and takes no part in the loss."""
    weights: Path = Path("weights")
    """Folder where VGG's weights may lie, for LPIPS."""


@dataclass(frozen=True)
class TrainSummary:
    """What a run did."""

    num_parameters: int
    num_images_seen: int
    num_trained_identities: int
    perceptual_network: str
    figures: dict[str, float]
    """The last line of the journal: terms of the loss, and figures on held-out identities."""


def train_generator(
    faces: LmdbFaces,
    judges: Judges,
    recipe: GeneratorRecipe,
    directory: str | Path,
    *,
    seed: int,
    fixed: dict[str, Any] | None = None,
    device: str = "cpu",
    num_workers: int | None = None,
    after_epoch: Callable[[], object] | None = None,
) -> TrainSummary:
    """Train a generator, or go on where an interrupted run stopped.

    Args:
        faces: The training set, with features.
        judges: The network that gave the features, and one that judges, in eval mode on the CPU.
        recipe: How to train.
        directory: Gets checkpoint.pt, train.jsonl, a grid per epoch and at the end generator.safetensors.
        seed: Of weights, order, masks and held-out identities.
        fixed: What else a resumed run must share: digests of dataset and networks.
        device: Torch device; under torchrun with GPUs, each rank takes its own.
        num_workers: Processes that decode; by default one per spare core, at most 8. Changes no bit.
        after_epoch: Called by the first process when an epoch's figures are written.

    Raises:
        InputError: If the features do not fit the recipe or the identity network, the set is too small, the checkpoint
            belongs to another run, or a term of the loss is not finite (the last good checkpoint is kept).
    """
    directory = Path(directory)
    trained, held_out = split_held_out(faces, recipe.held_out_identities, seed)
    check_features(faces, judges.identity, recipe.sizes.feature_dim)
    rank, world_size, torch_device = start_process(device)
    masks = MaskRatio(**recipe.masking.model_dump())
    batches = FeatureBatches(faces, trained, masks, batch_size=recipe.batch_size, seed=seed)
    batches.share(rank, world_size)
    for network in (judges.identity, judges.judge):
        if network is not None:
            network.to(torch_device)
    with_ssim = recipe.losses.ssim.weight > 0
    terms = Terms(judges.identity, weights=judges.weights, device=torch_device, with_ssim=with_ssim)
    fixed = {**(fixed or {}), "perceptual_network": terms.perceptual_network}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        state = TrainState(recipe, terms, seed=seed, device=torch_device)
        run = _Run(state, batches, judges, make_held_out(faces, held_out, trained, seed), directory, fixed)
        if run.checkpoint.exists():
            state.restore(run.checkpoint, fixed)
        run.loop(_num_workers(num_workers, world_size), rank == 0, after_epoch)
    if rank == 0:
        save_generator(state.trained, directory / GENERATOR_NAME)
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()
    return TrainSummary(
        num_parameters=sum(parameter.numel() for parameter in state.generator.parameters()),
        num_images_seen=state.step * recipe.batch_size,
        num_trained_identities=faces.num_identities - recipe.held_out_identities,
        perceptual_network=terms.perceptual_network,
        figures={key: value for key, value in run.figures.items() if key not in ("step", "time")},
    )


def check_features(faces: LmdbFaces, identity: IdentityNetwork, feature_dim: int) -> None:
    """Refuse features that the generator cannot take, or that another network gave.

    Raises:
        InputError: If the widths of the stored features, of the network and of the generator are not one, or the
            network gives other features for the first faces than are stored.
    """
    stored = faces.features(0).reshape(-1).shape[0]
    if not stored == identity.feature_dim == feature_dim:
        raise InputError(
            f"{faces.path} holds features of width {stored}, the identity network gives {identity.feature_dim} and the "
            f"generator takes sizes.feature_dim={feature_dim}; all three must be equal"
        )
    images, features = load_faces(faces, np.linspace(0, len(faces) - 1, min(_CHECKED_FACES, len(faces))).astype(int))
    with torch.no_grad():
        again = identity(images.permute(0, 3, 1, 2).float() / 127.5 - 1)
    cosine = F.cosine_similarity(again.float(), features).mean().item()
    if not cosine > _SAME_NETWORK:
        raise InputError(
            f"{faces.path} holds features of another identity network: mean cosine {cosine:.2f} over {len(images)} "
            "faces; give the network of generate prepare, or prepare the set again"
        )


class _Run:
    """The loop over steps and epochs, with what it writes."""

    def __init__(
        self,
        state: TrainState,
        batches: FeatureBatches,
        judges: Judges,
        held_out: HeldOut,
        directory: Path,
        fixed: dict[str, Any],
    ) -> None:
        self.checkpoint = directory / CHECKPOINT_NAME
        self.figures: dict[str, float] = {}
        self._state, self._batches, self._judges = state, batches, judges
        self._held_out, self._directory, self._fixed = held_out, directory, fixed

    def loop(self, num_workers: int, is_writing: bool, after_epoch: Callable[[], object] | None) -> None:
        """Every step that is left, a line in the journal now and then, figures and a checkpoint after every epoch."""
        state, batches, recipe = self._state, self._batches, self._state.recipe
        num_steps, per_epoch = batches.steps_per_epoch * recipe.epochs, batches.steps_per_epoch
        path, is_fp16 = self._directory / "train.jsonl", recipe.precision == "fp16"
        journal = Journal(path, state.step, is_writing=is_writing, norms_may_overflow=is_fp16)
        loader = iter(batches.loader(state.step, num_steps, num_workers=num_workers))
        state.generator.train()
        size = recipe.batch_size
        with progress(desc="train generator", total=num_steps * size, initial=state.step * size) as bar:
            while state.step < num_steps:
                epoch = state.step // per_epoch
                start = time.perf_counter()
                batch = next(loader)
                waited = time.perf_counter() - start
                lr = lr_at(state.step, steps_per_epoch=per_epoch, recipe=recipe)
                weights = recipe.losses.weights_at(state.step / per_epoch)
                journal.add(state.update(batch, lr, weights), waited)
                bar.update(size)
                epoch_ends = state.step % per_epoch == 0
                if journal.is_due or epoch_ends:
                    row = journal.flush(state.step, size, lr=lr, epoch=epoch + 1)
                    bar.set_postfix(loss=f"{row['loss']:.3f}", lr=f"{lr:.1e}", refresh=False)
                if epoch_ends and is_writing:
                    self._end_epoch(epoch + 1, journal, after_epoch)
        self.figures = journal.last

    def _end_epoch(self, epoch: int, journal: Journal, after_epoch: Callable[[], object] | None) -> None:
        figures, rows = self._held_out.figures(self._state.trained, self._judges.identity, self._judges.judge)
        journal.write(self._state.step, figures)
        write_figures_grid(self._directory, epoch, rows)
        self._state.save(self.checkpoint, self._fixed)
        if after_epoch:
            after_epoch()
        journal.restart_clock()


def _num_workers(num_workers: int | None, world_size: int) -> int:
    return min(8, max(1, (os.cpu_count() or 1) // world_size - 1)) if num_workers is None else num_workers
