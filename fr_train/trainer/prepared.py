"""The backbone of a recipe, prepared for training.

Two modules share one set of weights. ``prepare_backbone`` makes the backbone itself, which is saved and validated: its
memory layout, synchronised batch norm and gradient checkpointing. ``wrap_for_steps`` makes the module that a step
calls, which may be compiled and distributed over processes.
"""

import copy

import torch
import torch.distributed as dist
from torch import Tensor, nn

from bench.config.recipe import Recipe
from bench.errors import InputError
from bench.machine.processes import average_gradients
from bench.machine.progress import note
from fr_train.backbone import build_backbone
from fr_train.trainer.options import RunOptions

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""Precision of a recipe -> type of autocast; float32 uses none."""


def is_channels_last(recipe: Recipe) -> bool:
    """Whether batches and weights are channels-last in memory.

    Networks of width below 16 are not, because oneDNN in torch 2.14 corrupts memory in the float32 backward pass of
    their convolutions.
    """
    return recipe.channels_last and recipe.backbone.width >= 16


def prepare_backbone(recipe: Recipe, options: RunOptions, device: torch.device) -> nn.Module:
    """The recipe's backbone with random weights, on the device.

    Raises:
        InputError: If batch norm is to be synchronised on a CPU, or the backbone does not support gradient
            checkpointing.
    """
    layout = torch.channels_last if is_channels_last(recipe) else torch.contiguous_format
    network = build_backbone(recipe.backbone)
    if options.gradient_checkpointing:
        network.checkpoint_gradients()
    backbone = network.to(device).to(memory_format=layout)
    if recipe.sync_batch_norm and dist.is_initialized():
        if device.type != "cuda":
            raise InputError("recipe.sync_batch_norm works on GPUs only; set it to false, or DEVICE=cuda")
        backbone = nn.SyncBatchNorm.convert_sync_batchnorm(backbone)
    return backbone


def wrap_for_steps(backbone: nn.Module, recipe: Recipe, options: RunOptions, num_faces: int) -> nn.Module:
    """The module that a step calls: the backbone, compiled on request, with gradients averaged over the processes.

    Args:
        backbone: From ``prepare_backbone``.
        recipe: Gives precision and memory layout.
        options: Options of the run.
        num_faces: Faces per forward pass, the micro batch.
    """
    network = backbone
    if options.compile:
        parameter = next(backbone.parameters())
        faces = torch.zeros(num_faces, 3, 112, 112, device=parameter.device)
        if is_channels_last(recipe):
            faces = faces.to(memory_format=torch.channels_last)
        network = compile_or_fall_back(backbone, faces, AUTOCAST.get(recipe.precision))
    return average_gradients(network, gradient_as_bucket_view=True)


def compile_or_fall_back(backbone: nn.Module, faces: Tensor, autocast: torch.dtype | None) -> nn.Module:
    """The backbone through torch.compile. Falls back to the uncompiled backbone and logs why.

    A copy of the backbone is tried, forward and backward, so that a failure does not change batch norm statistics.

    Args:
        backbone: From ``prepare_backbone``.
        faces: A batch of the shape, layout and device of training.
        autocast: Type of autocast; None for float32.
    """
    try:
        trial = torch.compile(copy.deepcopy(backbone).train())
        with torch.autocast(faces.device.type, autocast, enabled=autocast is not None):
            features = trial(faces)
        features.float().sum().backward()
    except Exception as error:  # compilers raise too many types to list, and none of them should end a run
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        note(f"train: torch.compile fails here, continuing without it ({reason})")
        return backbone
    return torch.compile(backbone)  # type: ignore[return-value]
