"""Speed and memory of training: a step, the time spent waiting for faces, and the head over several processes.

In: recipes and faces. Out: rows of tables. Each row is measured in a process of its own, so that its peak memory is not
that of another row.
"""

import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from numpy.typing import NDArray

from bench.config.recipe import Margin, Recipe
from bench.faces.face import encode_jpeg
from bench.faces.lmdb_file import FaceWriter
from bench.faces.open import open_faces
from bench.files import read_json_lines
from bench.machine.device import keep_freed_memory, num_cores
from bench.machine.stopwatch import peak_memory_mb
from bench.speed import in_own_process
from fr_train.speed.faces import Row
from fr_train.trainer.data import Batch
from fr_train.trainer.engine import Engine
from fr_train.trainer.head import Head, active_rows, build_margin
from fr_train.trainer.options import RunOptions
from fr_train.trainer.train import train

STEP_BATCH, NUM_STEPS, STEP_IDENTITIES = 32, 2, 10_000
NUM_HEAD_IDENTITIES, HEAD_DIM, HEAD_BATCH = 300_000, 512, 128
WAIT_FACES, WAIT_EPOCHS = 2048, 3  # every epoch begins with a wait, so a short epoch would overstate it

NOTES = (
    "All faces are rendered.\n\n"
    "Decoding and augmentation: one core reads the same LMDB and ends with a float32 batch, normalised and erased. The "
    "loaders take turns; the figure is the fastest of five passes. PIL + torchvision takes one image at a time, as "
    "common trainers do, with Pillow in place of OpenCV for resizing.\n\n"
    "Step: forward pass, backward pass and both optimisers with ArcFace over 10,000 identities, in batches of 32. The "
    "figure is the fastest of two steps after an untimed one. Plain is float32, NCHW and eager; the other rows also "
    "keep freed memory.\n\n"
    f"Wait: a whole run of {WAIT_EPOCHS} epochs over {WAIT_FACES:,} faces. The first share is the mean over its "
    "journal's lines but the first; the second is that of the whole run, whose start includes starting the worker "
    "processes.\n\n"
    "Test set: 6,000 pairs in a .bin of 12,000 different images, read, then embedded by their mean colours. "
    "Memory is what the process needs beyond its memory before. Plain holds all images and their mirror images as "
    "float32.\n\n"
    "Head: one step of SGD with momentum. Tensors are class weights, gradient and momentum of one rank."
)


def step_rows(recipe: Recipe) -> list[Row]:
    """Images per second of a training step on all cores, for combinations of precision and memory layout.

    Args:
        recipe: Gives backbone and optimiser.
    """
    variants = {
        "plain: float32, NCHW": {"precision": "float32", "channels_last": False},
        "float32, channels-last": {"precision": "float32", "channels_last": True},
        "bf16, channels-last": {"precision": "bf16", "channels_last": True},
    }
    rows: list[Row] = []
    for name, settings in variants.items():
        changed = recipe.model_copy(update=settings | {"batch_size": STEP_BATCH})
        rate, memory = in_own_process(_time_steps, changed.model_dump_json(), bool(rows))
        plain = float(rows[0]["images/s"] or 0) if rows else rate
        rows.append({"implementation": name, "images/s": rate, "times plain": rate / plain, "peak memory MiB": memory})
    return rows


def _time_steps(recipe_json: str, keeps_memory: bool) -> tuple[float, float]:
    """Images per second of the fastest step, and peak memory in MiB."""
    torch.set_num_threads(num_cores())
    if keeps_memory:
        keep_freed_memory()
    recipe = Recipe.model_validate_json(recipe_json)
    torch.manual_seed(0)
    engine = Engine(STEP_IDENTITIES, recipe, RunOptions(), seed=0, device=torch.device("cpu"))
    pixels = torch.randint(0, 256, (STEP_BATCH, 112, 112, 3), dtype=torch.uint8)
    labels = torch.randint(0, STEP_IDENTITIES, (STEP_BATCH,))
    seconds = []
    for _ in range(1 + NUM_STEPS):
        start = time.perf_counter()
        engine.update(Batch(pixels, labels, np.arange(STEP_BATCH), epoch=0), 0.01)
        seconds.append(time.perf_counter() - start)
    return STEP_BATCH / min(seconds[1:]), peak_memory_mb()


def wait_rows(images: NDArray[np.uint8], recipes: dict[str, Recipe]) -> list[Row]:
    """Share of a run's time that is spent waiting for faces.

    Args:
        images: Faces, uint8, shape (N, 112, 112, 3); repeated to ``WAIT_FACES`` faces.
        recipes: Name -> recipe. Each is trained for ``WAIT_EPOCHS`` epochs.
    """
    rows: list[Row] = []
    for name, recipe in recipes.items():
        schedule = recipe.schedule.model_copy(update={"epochs": WAIT_EPOCHS, "drop_epochs": ()})
        short = recipe.model_copy(update={"schedule": schedule})
        rate, whole, steady = in_own_process(_train_briefly, images, short.model_dump_json())
        backbone = f"IResNet-{recipe.backbone.depth} width {recipe.backbone.width}"
        row: Row = {"recipe": name, "network": backbone, "images/s": rate}
        rows.append(row | {"waiting for faces, share": steady, "with the start of the run": whole})
    return rows


def _train_briefly(images: NDArray[np.uint8], recipe_json: str) -> tuple[float, float, float]:
    """Images per second; share of time waiting for faces over the whole run; the same after the first journal line."""
    recipe = Recipe.model_validate_json(recipe_json)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "faces.lmdb"
        with FaceWriter(path) as writer:
            for index in range(WAIT_FACES):
                writer.write(encode_jpeg(images[index % len(images)]), index % 16)
        start = time.perf_counter()
        summary = train(open_faces(path), recipe, folder, seed=0)
        rate = summary.num_images_seen / (time.perf_counter() - start)
        later = [line["data_wait_share"] for line in read_json_lines(Path(folder) / "train.jsonl")[1:]]
    whole = float(summary.last_line["data_wait_share"] or 0)
    return rate, whole, float(np.mean(later))


def head_rows(num_identities: int = NUM_HEAD_IDENTITIES) -> list[Row]:
    """Memory of the head per rank, for one and two ranks, and for all and a tenth of the identities per step."""
    rows: list[Row] = []
    for num_ranks, sample_rate in ((1, 1.0), (2, 1.0), (1, 0.1), (2, 0.1)):
        figures = _head_memory(num_identities, num_ranks, sample_rate)
        first = rows[0] if rows else None
        rows.append(
            {
                "ranks": float(num_ranks),
                "sampled": sample_rate,
                "tensors of a rank MiB": figures["tensors_mb"],
                "share": figures["tensors_mb"] / float(first["tensors of a rank MiB"] or 0) if first else 1.0,
                "peak of a rank MiB": figures["peak_mb"],
                "logits of a rank": figures["num_logits"],
                "share of logits": figures["num_logits"] / float(first["logits of a rank"] or 0) if first else 1.0,
            }
        )
    return rows


def _head_memory(num_identities: int, num_ranks: int, sample_rate: float) -> dict[str, float]:
    """Numbers of ``_measure_rank``, each the largest over the ranks."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_measure_rank, args=(num_identities, num_ranks, sample_rate, folder), nprocs=num_ranks)
        ranks = [json.loads(path.read_text()) for path in Path(folder).glob("*.json")]
    return {name: max(rank[name] for rank in ranks) for name in ranks[0]}


def _measure_rank(rank: int, num_identities: int, num_ranks: int, sample_rate: float, folder: str) -> None:
    """Take one step of a head, and write memory of tensors, peak memory (MiB) and number of logits as JSON."""
    torch.set_num_threads(max(1, num_cores() // num_ranks))
    if num_ranks > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=num_ranks)
    memory_before, num_logits = peak_memory_mb(), []
    margin = build_margin(Margin(), num_identities)
    margin.register_forward_hook(lambda _, __, outputs: num_logits.append(outputs[0].numel()))
    head = Head(num_identities, HEAD_DIM, margin, sample_rate=sample_rate)
    optimizer = torch.optim.SGD([head.weight], lr=0.1, momentum=0.9)
    labels = torch.arange(rank, HEAD_BATCH, num_ranks) * (num_identities // HEAD_BATCH)
    head.start_step(labels, step=0)
    head(torch.randn(len(labels), HEAD_DIM), labels).backward()
    with active_rows(optimizer, head):
        optimizer.step()
    tensors = [head.weight, head.active_weight.grad, *optimizer.state[head.weight].values()]
    figures: dict[str, float] = {
        "tensors_mb": sum(tensor.nbytes for tensor in tensors if isinstance(tensor, torch.Tensor)) / 2**20,
        "peak_mb": peak_memory_mb() - memory_before,
        "num_logits": num_logits[0],
    }
    Path(folder, f"{rank}.json").write_text(json.dumps(figures))
    if num_ranks > 1:
        dist.destroy_process_group()
