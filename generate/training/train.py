"""Faces with features and a recipe in, a Vec2Face generator out: ``generator.safetensors`` and ``train.jsonl``.

One process, or several under torchrun: the batch is global and each rank takes its share. A checkpoint is written after
every epoch; an interrupted run goes on from it and, on a CPU, ends with the same bits as an uninterrupted one. Losses,
schedule and decisions about the reference's quirks: ``generate/training/recipes.py``.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from bench.errors import InputError
from bench.faces.lmdb_file import LmdbFaces
from bench.faces.pixels import to_network_input
from bench.machine.device import process_rank
from bench.machine.journal import JOURNAL_NAME
from bench.machine.loading import timed
from bench.machine.processes import process_group
from bench.machine.progress import progress
from bench.machine.resume import CHECKPOINT_NAME
from generate.networks.identity import IdentityNetwork
from generate.networks.masks import MaskRatio
from generate.training.coarse import fit_coarse
from generate.training.data import FeatureBatches, load_faces, split_held_out
from generate.training.held_out import HeldOut, make_held_out, write_figures_grid
from generate.training.journal import Journal
from generate.training.losses import Terms
from generate.training.recipes import GeneratorRecipe
from generate.training.state import TrainState, lr_at
from generate.vec2face import save_generator

GENERATOR_NAME = "generator.safetensors"
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
class TrainOptions:
    """How a training is carried out, whose it is, and who is told of it; part of no recipe."""

    device: str = "cpu"
    """Torch device; under torchrun with GPUs, each rank takes its own."""
    num_workers: int | None = None
    """Processes that decode; by default one per spare core, at most 8. Changes no bit."""
    fixed: dict[str, Any] = field(default_factory=dict)
    """What a resumed run must share besides recipe and seed: digests of dataset and networks."""
    after_epoch: Callable[[], object] | None = None
    """Called by the first process when an epoch's figures are written."""


@dataclass(frozen=True)
class TrainSummary:
    """What a run did."""

    num_parameters: int
    num_images_seen: int
    num_trained_identities: int
    perceptual_network: str
    figures: dict[str, float]
    """Of the last lines of the journal: terms of the loss, and figures on held-out identities; all finite."""


def train_generator(
    faces: LmdbFaces,
    judges: Judges,
    recipe: GeneratorRecipe,
    directory: str | Path,
    *,
    seed: int,
    options: TrainOptions | None = None,
) -> TrainSummary:
    """Train a generator, or go on where an interrupted run stopped.

    Args:
        faces: The training set, with features.
        judges: The network that gave the features, and one that judges, in eval mode on the CPU.
        recipe: How to train.
        directory: Gets checkpoint.pt, train.jsonl, a grid per epoch and at the end generator.safetensors.
        seed: Of weights, order, masks and held-out identities.
        options: How the run is carried out; without, on a CPU by the defaults.

    Raises:
        InputError: If the features do not fit the recipe or the identity network, the set is too small, the checkpoint
            belongs to another run, or a term of the loss is not finite (the last good checkpoint is kept).
    """
    directory, options = Path(directory), options or TrainOptions()
    trained, held_out = split_held_out(faces, recipe.held_out_identities, seed)
    check_features(faces, judges.identity, recipe.sizes.feature_dim)
    masks = MaskRatio(**recipe.masking.model_dump())
    batches = FeatureBatches(faces, trained, masks, batch_size=recipe.batch_size, seed=seed)
    rank, world_size, _ = process_rank()
    batches.share(rank, world_size)
    with process_group(options.device) as device, torch.random.fork_rng():
        terms = _loss_terms(judges, recipe, device)
        torch.manual_seed(seed)
        begins = not (directory / CHECKPOINT_NAME).exists()
        coarse = fit_coarse(faces, trained) if recipe.sizes.coarse and begins else None
        state = TrainState(recipe, terms, seed=seed, device=device, coarse=coarse)
        run = _Run(state, batches, judges, make_held_out(faces, held_out, trained, seed), directory, options)
        figures = run.loop(is_writing=rank == 0)
        if rank == 0:
            save_generator(state.trained, directory / GENERATOR_NAME)
    return TrainSummary(
        num_parameters=sum(parameter.numel() for parameter in state.generator.parameters()),
        num_images_seen=state.step * recipe.batch_size,
        num_trained_identities=faces.num_identities - recipe.held_out_identities,
        perceptual_network=terms.perceptual_network,
        figures={key: value for key, value in figures.items() if key not in ("step", "time") and value is not None},
    )


def _loss_terms(judges: Judges, recipe: GeneratorRecipe, device: torch.device) -> Terms:
    """The terms of the loss; takes the judges to the device."""
    for network in (judges.identity, judges.judge):
        if network is not None:
            network.to(device)
    return Terms(
        judges.identity,
        weights=judges.weights,
        device=device,
        with_ssim=recipe.losses.ssim.weight > 0,
        judged_share=recipe.judged_share,
        judged_views=recipe.judged_views,
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
        again = identity(to_network_input(images))
    cosine = F.cosine_similarity(again.float(), features).mean().item()
    if not cosine > _SAME_NETWORK:
        raise InputError(
            f"{faces.path} holds features of another identity network: mean cosine {cosine:.2f} over {len(images)} "
            "faces; give the network of generate prepare, or prepare the set again"
        )


class _Run:
    """The loop over steps and epochs, with what it writes. Goes on from the checkpoint, where there is one."""

    def __init__(
        self,
        state: TrainState,
        batches: FeatureBatches,
        judges: Judges,
        held_out: HeldOut,
        directory: Path,
        options: TrainOptions,
    ) -> None:
        self._state, self._batches, self._judges, self._held_out = state, batches, judges, held_out
        self._directory, self._options = directory, options
        self._checkpoint = directory / CHECKPOINT_NAME
        self._fixed = options.fixed | {"perceptual_network": state.terms.perceptual_network}
        if self._checkpoint.exists():
            state.restore(self._checkpoint, self._fixed)

    def loop(self, *, is_writing: bool) -> dict[str, Any]:
        """Every step that is left, a line in the journal now and then, figures and a checkpoint after every epoch.

        Returns:
            The last value of everything in the journal.
        """
        state, batches, recipe = self._state, self._batches, self._state.recipe
        per_epoch, size = batches.steps_per_epoch, recipe.batch_size
        num_steps, is_fp16 = per_epoch * recipe.epochs, recipe.precision == "fp16"
        path = self._directory / JOURNAL_NAME
        journal = Journal(path, state.step, is_writing=is_writing, norms_may_overflow=is_fp16)
        stream = batches.stream(state.step, num_steps, num_workers=self._options.num_workers)
        state.generator.train()
        with progress(desc="train generator", total=num_steps * size, initial=state.step * size) as bar:
            for batch, waited in timed(stream):
                epoch = state.step // per_epoch
                lr = lr_at(state.step, steps_per_epoch=per_epoch, recipe=recipe)
                weights = recipe.losses.weights_at(state.step / per_epoch)
                journal.add(state.update(batch, lr, weights), waited)
                bar.update(size)
                epoch_ends = state.step % per_epoch == 0
                if journal.is_due or epoch_ends:
                    row = journal.flush(state.step, size, lr=lr, epoch=epoch + 1)
                    bar.set_postfix(loss=f"{row['loss']:.3f}", lr=f"{lr:.1e}", refresh=False)
                if epoch_ends and is_writing:
                    self._end_epoch(epoch + 1, journal)
        return journal.last

    def _end_epoch(self, epoch: int, journal: Journal) -> None:
        figures, rows = self._held_out.figures(self._state.trained, self._judges.identity, self._judges.judge)
        journal.write(self._state.step, figures)
        write_figures_grid(self._directory, epoch, rows)
        self._state.save(self._checkpoint, self._fixed)
        if self._options.after_epoch:
            self._options.after_epoch()
        journal.restart_clock()
