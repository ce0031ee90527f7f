"""The backbone of a recipe, made ready for training: memory layout, synchronised batch norm, checkpointing, compiling.

Two handles on one set of weights: the backbone itself, which is saved and validated, and what a step calls, which may
be compiled and shared out over processes.
"""

import copy
import warnings

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from bench.config.recipe import Recipe
from bench.errors import InputError
from bench.machine.progress import note
from fr_train.backbone import build_backbone
from fr_train.trainer.options import RunOptions

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def is_channels_last(recipe: Recipe) -> bool:
    """Whether batches and weights are laid out channels-last.

    Not under 16 channels: there oneDNN of torch 2.14 corrupts memory in the float32 backward of convolutions.
    """
    return recipe.channels_last and recipe.backbone.width >= 16


def make_backbone(recipe: Recipe, options: RunOptions, device: torch.device) -> nn.Module:
    """The recipe's backbone with random weights, on its device.

    Raises:
        InputError: If batch norm shall be synchronised on a CPU, or the backbone cannot compute activations again.
    """
    layout = torch.channels_last if is_channels_last(recipe) else torch.contiguous_format
    network = build_backbone(recipe.backbone)
    if options.gradient_checkpointing:
        network.checkpoint_gradients()
    backbone = network.to(device).to(memory_format=layout)
    if recipe.sync_batch_norm and dist.is_initialized():
        if device.type != "cuda":
            raise InputError("recipe.sync_batch_norm works on GPUs alone; set it to false, or DEVICE=cuda")
        backbone = nn.SyncBatchNorm.convert_sync_batchnorm(backbone)
    return backbone


def callable_for_steps(backbone: nn.Module, recipe: Recipe, options: RunOptions, num_faces: int) -> nn.Module:
    """What a step calls: the backbone, compiled if asked for, its gradients averaged over the processes.

    Args:
        backbone: On its device.
        recipe: For precision and layout.
        options: Of the run.
        num_faces: Faces at a time.
    """
    network = backbone
    if options.compile:
        parameter = next(backbone.parameters())
        faces = torch.zeros(num_faces, 3, 112, 112, device=parameter.device)
        if is_channels_last(recipe):
            faces = faces.to(memory_format=torch.channels_last)
        network = compiled(backbone, faces, AUTOCAST.get(recipe.precision))
    if dist.is_initialized():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # the new name of broadcast_buffers is not in torch 2.9
            network = DistributedDataParallel(network, broadcast_buffers=False, gradient_as_bucket_view=True)
    return network


def compiled(backbone: nn.Module, faces: Tensor, autocast: torch.dtype | None) -> nn.Module:
    """The backbone through torch.compile; the backbone itself, with a word, where that does not work.

    A copy is tried, forward and backward, so that a failure leaves no trace in the statistics of batch norm.
    """
    try:
        trial = torch.compile(copy.deepcopy(backbone).train())
        with torch.autocast(faces.device.type, autocast, enabled=autocast is not None):
            features = trial(faces)
        features.float().sum().backward()
    except Exception as error:  # compilers fail in too many ways to list, and none of them shall end a run
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        note(f"train: torch.compile does not work here, going on without it ({reason})")
        return backbone
    return torch.compile(backbone)  # type: ignore[return-value]
