"""How fast is training, and how large: a step, the wait for faces, the head over processes.

``python -m bench.speed train`` writes the tables; ``speed_faces`` has those of the data path. Each way has a process
of its own, so that its peak memory is its own.
"""

import json
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from numpy.typing import NDArray

from bench.config.recipe import Margin, Recipe
from bench.faces.lmdb_file import FaceWriter, encode_jpeg, open_faces
from bench.files import read_json_lines
from bench.machine.device import keep_freed_memory, num_cores, peak_memory_mb
from fr_train.speed.faces import Row
from fr_train.trainer.data import Batch
from fr_train.trainer.engine import Engine
from fr_train.trainer.head import Head, active_rows, build_margin
from fr_train.trainer.options import RunOptions
from fr_train.trainer.train import train

STEP_BATCH, NUM_STEPS, STEP_IDENTITIES = 32, 2, 10_000
NUM_HEAD_IDENTITIES, HEAD_DIM, HEAD_BATCH = 300_000, 512, 128
WAIT_FACES, WAIT_EPOCHS = 2048, 3  # an epoch begins with a wait, so it must be of a real length

NOTES = (
    "Faces are rendered. Decoding and augmentation: by one core, from the same LMDB to a float32 batch, normalised and "
    "erased, both ways in turn, the fastest of five passes; PIL + torchvision takes one image at a time as the field's "
    "loaders do (Pillow in the place of OpenCV for resizing).\n\n"
    "Step: forward, backward and both optimisers with ArcFace over 10,000 identities, batches of 32, the fastest of "
    "two steps after one that is not timed; plain is float32, NCHW, eager, the others also keep freed memory.\n\n"
    f"Wait: a whole run of {WAIT_EPOCHS} epochs over {WAIT_FACES:,} faces, the mean of its journal's lines "
    "but the first, and all of it: it starts by starting the processes that decode.\n\n"
    "Verification set: 6,000 pairs in a .bin of 12,000 different images, read, then embedded by their mean colours; "
    "memory beyond that of the same process before. Plain holds all images and their mirror images as float32.\n\n"
    "Head: one step with SGD with momentum; tensors are class weights, gradient and momentum of one rank."
)


def step_rows(recipe: Recipe) -> list[Row]:
    """Images per second of a training step on all cores: plain, and with what the recipe adds to it.

    Args:
        recipe: Its backbone and optimiser.
    """
    ways = {
        "plain: float32, NCHW": {"precision": "float32", "channels_last": False},
        "float32, channels-last": {"precision": "float32", "channels_last": True},
        "bf16, channels-last": {"precision": "bf16", "channels_last": True},
    }
    rows: list[Row] = []
    for way, settings in ways.items():
        changed = recipe.model_copy(update=settings | {"batch_size": STEP_BATCH})
        rate, memory = _alone(_time_steps, changed.model_dump_json(), bool(rows))
        plain = float(rows[0]["images/s"] or 0) if rows else rate
        rows.append({"way": way, "images/s": rate, "times plain": rate / plain, "peak memory MiB": memory})
    return rows


def _time_steps(recipe_json: str, keeps_memory: bool) -> tuple[float, float]:
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
    """Share of a whole run's time that is spent waiting for faces.

    Args:
        images: Faces, uint8, shape (N, 112, 112, 3), repeated up to ``WAIT_FACES``.
        recipes: Name -> recipe; trained for ``WAIT_EPOCHS``.
    """
    rows: list[Row] = []
    for name, recipe in recipes.items():
        schedule = recipe.schedule.model_copy(update={"epochs": WAIT_EPOCHS, "drop_epochs": ()})
        short = recipe.model_copy(update={"schedule": schedule})
        rate, whole, steady = _alone(_train_awhile, images, short.model_dump_json())
        backbone = f"IResNet-{recipe.backbone.depth} width {recipe.backbone.width}"
        row: Row = {"recipe": name, "network": backbone, "images/s": rate}
        rows.append(row | {"waiting for faces, share": steady, "with the start of the run": whole})
    return rows


def _train_awhile(images: NDArray[np.uint8], recipe_json: str) -> tuple[float, float, float]:
    """Images/s, and the share of the time waited for faces: of the whole run, and after the journal's first line."""
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
    return rate, float(summary.last_line["data_wait_share"]), float(np.mean(later))


def head_rows(num_identities: int = NUM_HEAD_IDENTITIES) -> list[Row]:
    """Memory of the head in each rank: all identities on one and on two ranks, whole and sampled."""
    rows: list[Row] = []
    for num_ranks, sample_rate in ((1, 1.0), (2, 1.0), (1, 0.1), (2, 0.1)):
        one = _head_memory(num_identities, num_ranks, sample_rate)
        first = rows[0] if rows else None
        rows.append(
            {
                "ranks": float(num_ranks),
                "sampled": sample_rate,
                "tensors of a rank MiB": one["tensors_mb"],
                "share": one["tensors_mb"] / float(first["tensors of a rank MiB"] or 0) if first else 1.0,
                "peak of a rank MiB": one["peak_mb"],
                "logits of a rank": one["num_logits"],
                "share of logits": one["num_logits"] / float(first["logits of a rank"] or 0) if first else 1.0,
            }
        )
    return rows


def _head_memory(num_identities: int, num_ranks: int, sample_rate: float) -> dict[str, float]:
    """The largest of the ranks' figures."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_one_rank, args=(num_identities, num_ranks, sample_rate, folder), nprocs=num_ranks)
        ranks = [json.loads(path.read_text()) for path in Path(folder).glob("*.json")]
    return {name: max(rank[name] for rank in ranks) for name in ranks[0]}


def _one_rank(rank: int, num_identities: int, num_ranks: int, sample_rate: float, folder: str) -> None:
    """One step of a head, and what it took."""
    torch.set_num_threads(max(1, num_cores() // num_ranks))
    if num_ranks > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=num_ranks)
    before, sizes = peak_memory_mb(), []
    margin = build_margin(Margin(), num_identities)
    margin.register_forward_hook(lambda _, __, outputs: sizes.append(outputs[0].numel()))
    head = Head(num_identities, HEAD_DIM, margin, sample_rate=sample_rate)
    optimizer = torch.optim.SGD([head.weight], lr=0.1, momentum=0.9)
    labels = torch.arange(rank, HEAD_BATCH, num_ranks) * (num_identities // HEAD_BATCH)
    head.start_step(labels, step=0)
    head(torch.randn(len(labels), HEAD_DIM), labels).backward()
    with active_rows(optimizer, head):
        optimizer.step()
    tensors = [head.weight, head.active_weight.grad, *optimizer.state[head.weight].values()]
    figures: dict[str, Any] = {
        "tensors_mb": sum(tensor.nbytes for tensor in tensors if isinstance(tensor, torch.Tensor)) / 2**20,
        "peak_mb": peak_memory_mb() - before,
        "num_logits": sizes[0],
    }
    Path(folder, f"{rank}.json").write_text(json.dumps(figures))
    if num_ranks > 1:
        dist.destroy_process_group()


def _alone(measure: Any, *arguments: Any) -> Any:
    """What a function returns in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:  # may have children, unlike a Pool's
        return pool.submit(measure, *arguments).result()
