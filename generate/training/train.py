"""Faces with features, and a recipe -> a Vec2Face generator: ``generator.safetensors`` and ``train.jsonl``.

Follows the trainer of HaiyuWu/Vec2Face; ``generate/training/recipes.py`` lists where it departs from it. Runs in one
process, or in several under torchrun: the batch is global and each rank takes its share. A checkpoint is written after
every epoch. An interrupted run resumes from it and, on a CPU, ends with the same bits as an uninterrupted one.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from bench.config.settings import Settings
from bench.errors import InputError
from bench.faces.face import sample_sha256
from bench.faces.lmdb_file import LmdbFaces
from bench.faces.pixels import to_network_input
from bench.machine.agreement import refuse_different_processes
from bench.machine.device import forked_rng, process_rank
from bench.machine.journal import JournalLine
from bench.machine.processes import process_group
from bench.machine.resume import CHECKPOINT_NAME
from generate.networks.identity import IdentityNetwork
from generate.networks.masks import MaskRatio
from generate.training.coarse import fit_coarse
from generate.training.data import load_faces, open_batches
from generate.training.held_out import choose_held_out
from generate.training.loop import Trainee, TrainingLoop, TrainOptions, TrainSummary, final_figures
from generate.training.losses import LossTerms
from generate.training.recipes import GeneratorRecipe
from generate.training.state import TrainState
from generate.vec2face import save_generator

GENERATOR_NAME = "generator.safetensors"
_MIN_COSINE = 0.9
"""Stored features come from the given network if their mean cosine to the network's own is higher.

It is 1 up to rounding and differences between JPEG decoders.
"""
_CHECKED_FACES = 16


@dataclass(frozen=True)
class FrozenNetworks:
    """The networks that a training uses and does not change."""

    identity: IdentityNetwork
    """Computed the features of the training set. The loss uses it."""
    judge: IdentityNetwork | None = None
    """Measures reconstructions of held-out identities. The loss does not use it."""
    weights: Path = Path("weights")
    """Folder that may hold the weights of VGG-16, for LPIPS."""


def train_generator(
    faces: LmdbFaces,
    networks: FrozenNetworks,
    recipe: GeneratorRecipe,
    directory: str | Path,
    *,
    seed: int,
    options: TrainOptions | None = None,
) -> TrainSummary:
    """Train a generator; resume where an interrupted run stopped.

    Args:
        faces: The training set, with features.
        networks: Frozen networks, in eval mode on the CPU.
        recipe: How to train.
        directory: Gets checkpoint.pt, train.jsonl, a grid per epoch and at the end generator.safetensors.
        seed: Seed of weights, order, masks and held-out identities.
        options: Settings of the execution; by default those of ``TrainOptions``, on a CPU.

    Raises:
        InputError: If the features do not fit the recipe or the identity network, the set is too small, the checkpoint
            belongs to another run, or a term of the loss is not finite (the last good checkpoint is kept).
    """
    directory, options = Path(directory), options or TrainOptions()
    check_features(faces, networks.identity, recipe.sizes.feature_dim, recipe.sizes.circumstances)
    batches, trained, held_out = open_batches(
        faces,
        MaskRatio(**recipe.masking.model_dump()),
        batch_size=recipe.batch_size,
        num_held_out=recipe.held_out_identities,
        seed=seed,
    )
    is_writing = process_rank()[0] == 0
    with process_group(options.device) as device, forked_rng(device):
        terms = load_loss_terms(
            networks,
            device,
            recipe,
            with_ssim=recipe.losses.ssim.weight > 0,
            with_lpips=recipe.perceptual == "lpips",
        )
        torch.manual_seed(seed)
        is_resumed = (directory / CHECKPOINT_NAME).exists()
        coarse = fit_coarse(faces, trained) if recipe.sizes.coarse and not is_resumed else None
        state = TrainState(recipe, terms, seed=seed, device=device, coarse=coarse)
        held_out_faces = choose_held_out(faces, held_out, trained, seed, recipe.sizes.circumstances)
        measure = partial(held_out_faces.measure, state.trained, networks.identity, networks.judge)
        options = options_that_must_match(options, terms, faces, recipe, seed)
        loop = TrainingLoop(state, batches, measure, directory, options)
        last_values = loop.run(is_writing=is_writing)
        if is_writing:
            save_generator(state.trained, directory / GENERATOR_NAME)
    return summarise(state, state.generator.parameters(), faces, terms, loop.earlier_seconds, last_values)


def options_that_must_match(
    options: TrainOptions, terms: LossTerms, faces: LmdbFaces, recipe: Settings, seed: int
) -> TrainOptions:
    """The options, where ``must_match`` names the perceptual network and the training set too.

    Raises:
        InputError: If the processes differ in these, in the recipe or in the seed.
    """
    dataset = {"perceptual_network": terms.perceptual_network, "sample_sha256": sample_sha256(faces)}
    must_match = options.must_match | dataset
    refuse_different_processes({"recipe": recipe.model_dump(mode="json"), "seed": seed, **must_match})
    return replace(options, must_match=must_match)


def summarise(
    state: Trainee,
    trained: Iterable[nn.Parameter],
    faces: LmdbFaces,
    terms: LossTerms,
    earlier_seconds: float,
    last_values: JournalLine,
) -> TrainSummary:
    """Counts and last metrics of a finished training.

    Args:
        state: Its state after the last step.
        trained: The parameters to count in ``num_parameters``.
        faces: The training set.
        terms: The terms of its loss.
        earlier_seconds: Time that interrupted runs took up to the checkpoint.
        last_values: The last value of everything in the journal.
    """
    return TrainSummary(
        num_parameters=sum(parameter.numel() for parameter in trained),
        num_images_seen=state.step * state.recipe.batch_size,
        num_trained_identities=faces.num_identities - state.recipe.held_out_identities,
        perceptual_network=terms.perceptual_network,
        earlier_seconds=earlier_seconds,
        figures=final_figures(last_values),
    )


class JudgedShare(Protocol):
    """What the terms of the loss need of a recipe."""

    @property
    def judged_share(self) -> float:
        """Share of a batch for which the perceptual and the identity term are computed."""

    @property
    def judged_views(self) -> bool:
        """Whether these two terms are computed on shifted and blurred images."""


def load_loss_terms(
    networks: FrozenNetworks,
    device: torch.device,
    recipe: JudgedShare,
    *,
    with_ssim: bool,
    with_lpips: bool = True,
) -> LossTerms:
    """The terms of the loss, as ``LossTerms`` describes them. Moves the frozen networks to the device."""
    for network in (networks.identity, networks.judge):
        if network is not None:
            network.to(device)
    return LossTerms(
        networks.identity,
        weights=networks.weights,
        device=device,
        with_ssim=with_ssim,
        with_lpips=with_lpips,
        judged_share=recipe.judged_share,
        judged_views=recipe.judged_views,
    )


def check_features(faces: LmdbFaces, identity: IdentityNetwork, feature_dim: int, circumstances: int = 0) -> None:
    """Refuse features that the generator cannot take, or that another network computed.

    Args:
        faces: The training set, with features.
        identity: The network that should have computed them.
        feature_dim: Width of the features that the generator takes.
        circumstances: Numbers at the end of a feature that do not come from the network.

    Raises:
        InputError: If the widths of the stored features, of the network and of the generator differ, or the network
            gives other features than are stored, for 16 faces spread over the set.
    """
    stored = faces.features(0).reshape(-1).shape[0]
    if not stored == identity.feature_dim + circumstances == feature_dim:
        added = f" + {circumstances} circumstances" if circumstances else ""
        raise InputError(
            f"{faces.path} holds features of width {stored}, the identity network gives {identity.feature_dim}{added} "
            f"and the generator takes sizes.feature_dim={feature_dim}; all three must be equal, change network or "
            "recipe"
        )
    images, features = load_faces(faces, np.linspace(0, len(faces) - 1, min(_CHECKED_FACES, len(faces))).astype(int))
    with torch.no_grad():
        computed = identity(to_network_input(images))
    cosine = F.cosine_similarity(computed.float(), features[:, : computed.shape[1]]).mean().item()
    if not cosine > _MIN_COSINE:
        raise InputError(
            f"{faces.path} holds features of another identity network: mean cosine {cosine:.2f} over {len(images)} "
            "faces; give the network of generate prepare, or prepare the set again"
        )
