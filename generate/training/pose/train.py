"""Faces with landmark pictures, a generator and a recipe -> its pose model: ``pose.safetensors`` and ``train.jsonl``.

Follows ``pose_training.py`` of HaiyuWu/Vec2Face_plus; ``recipes.py`` lists where it departs from it. Runs in one
process or in several under torchrun. A checkpoint is written after every epoch. An interrupted run resumes from it and,
on a CPU, ends with the same bits as an uninterrupted one.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bench.faces.lmdb_file import LmdbFaces
from bench.machine.device import forked_rng, process_rank
from bench.machine.processes import process_group
from generate.networks.masks import POSED_MASK_RATIO, MaskRatio
from generate.networks.plus.pose_weights import save_pose_model
from generate.training.data import open_batches
from generate.training.held_out import HeldOut, choose_held_out, spread
from generate.training.loop import TrainingLoop, TrainOptions, TrainSummary
from generate.training.pose.data import PoseBatches, check_pictures, load_pictures
from generate.training.pose.exchange import fit_exchange
from generate.training.pose.recipes import PoseRecipe
from generate.training.pose.state import PoseState
from generate.training.train import (
    FrozenNetworks,
    check_features,
    load_loss_terms,
    options_that_must_match,
    summarise,
)
from generate.vec2face import load_generator

POSE_NAME = "pose.safetensors"


def train_pose(
    faces: LmdbFaces,
    networks: FrozenNetworks,
    generator: Path,
    recipe: PoseRecipe,
    directory: Path,
    *,
    seed: int,
    options: TrainOptions | None = None,
) -> TrainSummary:
    """Train the pose model of a generator; resume where an interrupted run stopped.

    Args:
        faces: The training set, with features and landmark pictures.
        networks: Frozen networks, in eval mode on the CPU.
        generator: Weights of the generator, which stay as they are.
        recipe: How to train.
        directory: Gets checkpoint.pt, train.jsonl, a grid per epoch and at the end pose.safetensors, which
            ``load_generator(generator, pose=...)`` reads.
        seed: Seed of LoRA, pose network, order, masks and held-out identities.
        options: Settings of the execution; by default those of ``TrainOptions``, on a CPU.

    Raises:
        InputError: If the set has no landmark pictures or others than it should, its features do not fit the networks,
            the checkpoint belongs to another run (such as one of another rank), or a term of the loss is not finite.
    """
    options = options or TrainOptions()
    check_pictures(faces)
    model = load_generator(generator)
    check_features(faces, networks.identity, model.architecture.feature_dim)
    batches, trained, held_out = open_batches(
        faces,
        MaskRatio(**recipe.masking.model_dump()),
        batch_size=recipe.batch_size,
        num_held_out=recipe.held_out_identities,
        seed=seed,
    )
    is_writing = process_rank()[0] == 0
    exchange = fit_exchange(faces, trained) if recipe.exchange_pose else None
    with process_group(options.device) as device, forked_rng(device):
        terms = load_loss_terms(networks, device, recipe, with_ssim=recipe.losses.ssim > 0)
        torch.manual_seed(seed)
        state = PoseState(recipe, model, terms, seed=seed, device=device)
        measured = _posed_held_out(faces, held_out, trained, seed)
        options = options_that_must_match(options, terms, faces, recipe, seed)
        loop = TrainingLoop(
            state,
            PoseBatches(batches, faces, trained, seed=seed, exchange=exchange),
            partial(measured.measure, state.posed, networks.identity, networks.judge),
            directory,
            options,
        )
        last_values = loop.run(is_writing=is_writing)
        if is_writing:
            save_pose_model(directory / POSE_NAME, state.posed.generator, state.posed.network)
    return summarise(state, state.trained, faces, terms, loop.earlier_seconds, last_values)


def _posed_held_out(faces: LmdbFaces, held_out: NDArray[np.int64], trained: NDArray[np.int64], seed: int) -> HeldOut:
    """The faces that are measured after every epoch, each with its own landmark picture."""
    pictures = torch.from_numpy(load_pictures(faces, spread(held_out)))
    return replace(choose_held_out(faces, held_out, trained, seed), landmarks=pictures, masks=POSED_MASK_RATIO)
