"""Checks of training on a device: rates and memory of a step, the loss scale of fp16, NCCL, and resuming.

Faces are random pixels. Without a GPU the networks are small, and what needs one is skipped.
"""

import math
import socket
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from bench.config.recipe import Recipe
from bench.faces.face import encode_jpeg
from bench.faces.lmdb_file import FaceWriter
from bench.faces.open import open_faces
from bench.files import read_json_lines
from bench.machine.journal import JOURNAL_NAME
from bench.speed.checks import Check, Finding, rate
from fr_train.speed.faces import fastest_seconds
from fr_train.trainer.data import Batch, FaceBatches
from fr_train.trainer.engine import Engine
from fr_train.trainer.options import RunOptions
from fr_train.trainer.train import train

_NUM_STEPS = 10
_OVERFLOWING_SCALE = 2.0**120
_LARGEST_LOSS_DIFFERENCE = 1e-2


def training_checks() -> list[Check]:
    """Rates of IResNet-50 and -100 with 10,000 and 300,000 identities, and what only a GPU can do."""
    checks = [
        Check("fp16: an overflow skips the step and lowers the loss scale", _check_loss_scale),
        Check("NCCL: as many processes as GPUs, at most 2, give the loss of one", _check_nccl, needs_gpu=True),
        Check("a training is interrupted and resumed", _check_resuming),
        Check("faces decoded and augmented by one core: rate", _face_rate),
        Check("faces encoded as JPEG by one core: rate", _encoding_rate),
    ]
    for depth in (50, 100):
        for num_identities in (10_000, 300_000):
            name = f"a training step of IResNet-{depth} in bf16, {num_identities:,} identities: rate"
            checks.append(Check(name, partial(_step_rate, depth=depth, num_identities=num_identities)))
    return checks


def _recipe(*, depth: int = 18, width: int = 8, **changes: Any) -> Recipe:
    settings = {
        "backbone": {"depth": depth, "width": width, "embedding_dim": 512 if width == 64 else 16},
        "margin": {"margin": 0.5, "scale": 64.0},
        "schedule": {"kind": "step", "epochs": 2, "drop_epochs": [2]},
        "batch_size": 16,
    }
    return Recipe.model_validate(settings | changes)


def _make_batch(num_faces: int, num_identities: int, rank: int = 0, world_size: int = 1) -> Batch:
    """A rank's share of a batch of random faces, which is the same at every call."""
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (num_faces, 112, 112, 3), dtype=torch.uint8, generator=random)
    labels = torch.randint(0, num_identities, (num_faces,), generator=random)
    own = slice(rank, None, world_size)
    return Batch(pixels[own], labels[own], np.arange(num_faces)[own], epoch=0)


def _step_rate(device: str, *, depth: int, num_identities: int) -> Finding:
    is_gpu = device.startswith("cuda")
    size = 128 if is_gpu else 4
    network = {"depth": depth, "width": 64} if is_gpu else {"depth": 18, "width": 4}
    num_identities = num_identities if is_gpu else 100
    recipe = _recipe(**network, batch_size=size, precision="bf16")
    torch.manual_seed(0)
    engine = Engine(num_identities, recipe, RunOptions(device), seed=0, device=torch.device(device))
    batch = _make_batch(size, num_identities)

    def step() -> int:
        engine.update(batch, 0.01)
        return size

    images_per_second = rate(step, device, num_steps=_NUM_STEPS if is_gpu else 1, num_warm=3 if is_gpu else 1)
    detail = f"batch of {size}, {num_identities:,} identities, SGD"
    return Finding(detail, images_per_second, int(engine.first_bad_step) > engine.step)


def _check_loss_scale(device: str) -> Finding:
    """Let the gradients overflow once: no weight may move and the scale must fall; then a step must move them."""
    torch.manual_seed(0)
    engine = Engine(20, _recipe(precision="fp16"), RunOptions(device), seed=0, device=torch.device(device))
    batch = _make_batch(16, 20)
    engine.update(batch, 0.01)
    engine.scaler.update(_OVERFLOWING_SCALE)
    before, head = engine.backbone.state_dict()["fc.weight"].clone(), engine.head.weight.detach().clone()
    engine.update(batch, 0.01)
    is_still = torch.equal(before, engine.backbone.state_dict()["fc.weight"]) and torch.equal(head, engine.head.weight)
    lowered = engine.scaler.get_scale()
    engine.scaler.update(1024.0)
    loss = float(engine.update(batch, 0.01)["loss"])
    moves = not torch.equal(before, engine.backbone.state_dict()["fc.weight"])
    detail = f"weights kept {is_still}, scale lowered {lowered < _OVERFLOWING_SCALE}, next step moves {moves}"
    return Finding(detail, None, is_still and lowered < _OVERFLOWING_SCALE and moves and math.isfinite(loss))


def _check_nccl(device: str) -> Finding:
    """Train three steps in one process, then in a process group over NCCL with synchronised batch norm."""
    world_size = min(2, torch.cuda.device_count())
    alone = _losses(device)
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        path = Path(folder, "losses.pt")
        mp.spawn(_losses_of_rank, args=(world_size, port, path), nprocs=world_size)
        together = torch.load(path)
    difference = max(abs(one - other) for one, other in zip(alone, together, strict=True))
    detail = f"{world_size} process(es): losses differ by {difference:.1e} of {alone[0]:.1f}"
    return Finding(detail, None, difference < _LARGEST_LOSS_DIFFERENCE * alone[0])


def _losses_of_rank(rank: int, world_size: int, port: int, path: Path) -> None:
    torch.cuda.set_device(rank)
    address = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("nccl", init_method=address, rank=rank, world_size=world_size)
    losses = _losses(f"cuda:{rank}", rank, world_size)
    if rank == 0:
        torch.save(losses, path)
    dist.destroy_process_group()


def _losses(device: str, rank: int = 0, world_size: int = 1) -> list[float]:
    recipe = _recipe(sync_batch_norm=True)
    torch.manual_seed(0)
    engine = Engine(20, recipe, RunOptions(device), seed=0, device=torch.device(device))
    batch = _make_batch(16, 20, rank, world_size)
    return [float(engine.update(batch, 0.01)["loss"]) for _ in range(3)]


def _check_resuming(device: str) -> Finding:
    """Interrupt a training after its first epoch, and start it again in the same folder."""
    with tempfile.TemporaryDirectory() as folder:
        faces = open_faces(_write_faces(Path(folder), num_faces=32))
        run, options = Path(folder, "run"), RunOptions(device, num_workers=0, validate_every=2)
        with suppress(KeyboardInterrupt):
            train(faces, _recipe(), run, seed=0, options=options, validate=_interrupt)
        epochs_before = {line["step"] for line in read_json_lines(run / JOURNAL_NAME)}
        summary = train(faces, _recipe(), run, seed=0, options=RunOptions(device, num_workers=0))
    detail = f"journal before at steps {sorted(epochs_before)}, {summary.num_images_seen} images seen at the end"
    return Finding(detail, None, summary.num_images_seen == 64 and math.isfinite(summary.final_loss or math.nan))


def _interrupt(_: torch.nn.Module) -> dict[str, float]:
    """Called as the validation, which runs after the last step, when the checkpoint of the first epoch is written."""
    raise KeyboardInterrupt


def _write_faces(folder: Path, num_faces: int) -> Path:
    pixels = _make_batch(num_faces, 4).faces.numpy()
    with FaceWriter(folder / "faces.lmdb") as writer:
        for index, face in enumerate(pixels):
            writer.write(encode_jpeg(face), index % 4)
    return folder / "faces.lmdb"


def _face_rate(device: str) -> Finding:
    num_faces = 512 if device.startswith("cuda") else 16
    recipe = _recipe(augmentation={"crop": 0.2, "low_resolution": 0.2, "photometric": 0.2})
    with tempfile.TemporaryDirectory() as folder:
        batches = FaceBatches(open_faces(_write_faces(Path(folder), num_faces)), recipe, seed=0)
        num_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        (seconds,) = fastest_seconds([lambda: [batches[step] for step in range(batches.steps_per_epoch)]], num_passes=3)
        torch.set_num_threads(num_threads)
    return Finding("random pixels, which are slower than faces; times the workers of a run", num_faces / seconds)


def _encoding_rate(device: str) -> Finding:
    faces = _make_batch(256 if device.startswith("cuda") else 8, 4).faces.numpy()
    (seconds,) = fastest_seconds([lambda: [encode_jpeg(face) for face in faces]], num_passes=3)
    return Finding("random pixels, which are slower than faces", len(faces) / seconds)
