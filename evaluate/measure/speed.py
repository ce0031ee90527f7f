"""Measured speed of scoring, and measured memory of a test set, each against what the field's scripts do.

``python -m bench.speed evaluate`` times ``fold_accuracies`` on five sets of 6,000 pairs against the published loop over
the grid of thresholds. The embeddings are synthetic; speed does not depend on them. ``python -m bench.speed train``
measures the memory of one set of 6,000 pairs, which validations during training read, against float32 images stored
together with their mirror images. ``python -m bench.speed gpu`` checks and times embedding on a device.
"""

import multiprocessing
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from bench.config.recipe import Backbone
from bench.faces.face import FACE_SIZE, decode_image, encode_jpeg
from bench.faces.pixels import to_network_input
from bench.machine.stopwatch import peak_memory_mb
from bench.speed.checks import Check, Finding, rate
from evaluate.layouts.packed import read_bin, write_bin
from evaluate.measure.embed import Precision, embed
from evaluate.metrics import GRID, fold_accuracies, fold_ids
from evaluate.protocol import load_protocol
from fr_train.checkpoint import untrained_backbone

_LOWEST_COSINE: dict[Precision, float] = {"float32": 0.9999, "bf16": 0.99}
"""Lowest cosine between an embedding of the device and that of the CPU in float32 which passes."""
NUM_SETS, NUM_PAIRS, EMBEDDING_DIM, NUM_FOLDS = 5, 6000, 512, 10

NOTES = (
    "The grid loop counts true and false accepts and rejects in every fold at each of 400 thresholds, on the nine "
    "other folds and again on the fold itself, as the published evaluation scripts do. Ours sorts each distance into "
    "the grid once and adds up the counts. Both start from embeddings and end with the accuracy of each fold. The fold "
    "accuracies are compared and equal to the last bit. The fastest of three passes counts; both run in turn."
)


def scoring_rows() -> list[dict[str, str | float]]:
    """Seconds of the grid loop and of ``fold_accuracies`` over all sets, and how many times faster ours is.

    Raises:
        RuntimeError: If the fold accuracies differ.
    """
    sets = [synthetic_pairs(NUM_PAIRS, EMBEDDING_DIM, seed) for seed in range(NUM_SETS)]
    seconds: dict[str, list[float]] = {"grid loop": [], "ours": []}
    for _ in range(3):
        for name, measure in (("grid loop", grid_loop), ("ours", fold_accuracies)):
            start = perf_counter()
            accuracies = [measure(embeddings, is_genuine) for embeddings, is_genuine in sets]
            seconds[name].append(perf_counter() - start)
            if name == "grid loop":
                expected = accuracies
        if not np.array_equal(expected, accuracies):
            raise RuntimeError(f"fold accuracies differ: grid loop {expected}, ours {accuracies}")
    grid_loop_seconds = min(seconds["grid loop"])
    return [
        {
            "implementation": name,
            "seconds": min(times),
            "times faster": grid_loop_seconds / min(times),
            "sets": NUM_SETS,
            "pairs per set": NUM_PAIRS,
            "dimensions": EMBEDDING_DIM,
            "mean accuracy": float(np.mean(expected)),
        }
        for name, times in seconds.items()
    ]


def synthetic_pairs(
    num_pairs: int, embedding_dim: int, seed: int, noise: float = 2.0
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Random unit embeddings in pair order, shape (2P, D), and labels, shape (P,).

    Args:
        num_pairs: P, about half of them genuine.
        embedding_dim: D.
        seed: Seed of the embeddings.
        noise: How far the embeddings of a genuine pair differ, relative to the spread of all embeddings.
    """
    rng = np.random.default_rng(seed)
    is_genuine = rng.random(num_pairs) < 0.5
    first = rng.standard_normal((num_pairs, embedding_dim))
    nearby = first + noise * rng.standard_normal((num_pairs, embedding_dim)) * rng.gamma(2, 2, (num_pairs, 1))
    second = np.where(is_genuine[:, None], nearby, rng.standard_normal((num_pairs, embedding_dim)))
    embeddings = np.stack([first, second], axis=1).reshape(2 * num_pairs, embedding_dim)
    return (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype(np.float32), is_genuine


def grid_loop(embeddings: NDArray, is_genuine: NDArray, num_folds: int = NUM_FOLDS) -> NDArray[np.float64]:
    """The published protocol step by step, as the field's scripts write it: the slow reference of ``fold_accuracies``.

    Args:
        embeddings: Unit embeddings in pair order, shape (2P, D).
        is_genuine: True where both faces are of one identity, shape (P,).
        num_folds: Number of contiguous folds.

    Returns:
        Accuracies, shape (num_folds,).
    """
    distances = np.sum(np.square(np.subtract(embeddings[0::2], embeddings[1::2])), axis=1)
    fold = fold_ids(len(distances), num_folds)
    accuracies = np.empty(num_folds)
    for k in range(num_folds):
        on_others = [_accuracy(distances[fold != k], is_genuine[fold != k], threshold) for threshold in GRID]
        on_fold = [_accuracy(distances[fold == k], is_genuine[fold == k], threshold) for threshold in GRID]
        accuracies[k] = on_fold[int(np.argmax(on_others))]
    return accuracies


def _accuracy(distances: NDArray, is_genuine: NDArray, threshold: float) -> float:
    is_accepted = np.less(distances, threshold)
    true_accepts = np.sum(np.logical_and(is_accepted, is_genuine))
    false_accepts = np.sum(np.logical_and(is_accepted, np.logical_not(is_genuine)))
    true_rejects = np.sum(np.logical_and(np.logical_not(is_accepted), np.logical_not(is_genuine)))
    false_rejects = np.sum(np.logical_and(np.logical_not(is_accepted), is_genuine))
    return float((true_accepts + true_rejects) / (true_accepts + true_rejects + false_accepts + false_rejects))


def memory_rows(images: NDArray[np.uint8]) -> list[dict[str, str | float]]:
    """Memory of a test set of 6,000 pairs, read from a ``.bin`` and embedded, in MiB above that of the process.

    Args:
        images: Faces, uint8, shape (N, 112, 112, 3), RGB. They are shifted sideways to make 12,000 different images.
    """
    rows: list[dict[str, str | float]] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "synthetic.bin"
        shifts = (np.roll(images[i % len(images)], i // len(images), axis=1) for i in range(2 * NUM_PAIRS))
        write_bin(path, [encode_jpeg(image) for image in shifts], np.arange(NUM_PAIRS) % 2 == 0)
        for name, read in (("float32 with stored flips", _read_as_floats_with_flips), ("ours", _read_encoded)):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                peak, resident = pool.apply(_memory, (read, path))
            baseline = rows[0] if rows else {"peak MiB": peak, "resident MiB": resident}
            row: dict[str, str | float] = {
                "implementation": name,
                "peak MiB": peak,
                "share of peak": peak / float(baseline["peak MiB"]),
                "resident MiB": resident,
                "share of resident": resident / float(baseline["resident MiB"]),
            }
            rows.append(row)
    return rows


def _memory(read: Callable[[Path], object], path: Path) -> tuple[float, float]:
    """Peak and final resident memory of reading and embedding a set, MiB above the process before it."""
    embed(_mean_colour, np.zeros((1, FACE_SIZE, FACE_SIZE, 3), np.uint8))  # torch loads libraries at its first use
    before = psutil.Process().memory_info().rss / 2**20
    images = read(path)
    peak, resident = peak_memory_mb(), psutil.Process().memory_info().rss / 2**20
    del images  # held until here, so that ``resident`` contains it
    return peak - before, resident - before


def _mean_colour(images: torch.Tensor) -> torch.Tensor:
    """A network without weights; features of shape (B, 3)."""
    return images.mean(dim=(2, 3))


def _read_as_floats_with_flips(path: Path) -> object:
    """All images and their mirror images as float32, shape (2, 2P, 3, 112, 112), as the field's scripts hold them."""
    encoded, _ = read_bin(path)
    images = torch.empty(2, len(encoded), 3, FACE_SIZE, FACE_SIZE)
    for i, file in enumerate(encoded):
        images[0, i] = to_network_input(decode_image(file)[None].copy())[0]
        images[1, i] = images[0, i].flip(2)
    for start in range(0, len(encoded), 64):
        _mean_colour(images[0, start : start + 64]) + _mean_colour(images[1, start : start + 64])
    return images


def _read_encoded(path: Path) -> object:
    """The set as ``load_protocol`` holds it: files stay encoded until their batch is embedded."""
    protocol = load_protocol(path)
    embed(_mean_colour, protocol.faces)
    return protocol


def embedding_checks() -> list[Check]:
    """Embeddings of IResNet-100 in both precisions of evaluation."""
    precisions: tuple[Precision, ...] = ("float32", "bf16")
    return [
        Check(f"embedding by IResNet-100 in {precision}: cosine to the CPU, rate", partial(_embedding, precision))
        for precision in precisions
    ]


def _embedding(precision: Precision, device: str) -> Finding:
    is_gpu = device.startswith("cuda")
    faces = _random_faces(512 if is_gpu else 4)
    network = untrained_backbone(Backbone(depth=100) if is_gpu else Backbone(depth=18, width=4)).eval()
    reference = embed(network, faces[:4])
    network = network.to(device).to(memory_format=torch.channels_last)
    cosine = float((reference * embed(network, faces[:4], device=device, precision=precision)).sum(axis=1).min())

    def step() -> int:
        return len(embed(network, faces, device=device, precision=precision))

    detail = f"lowest cosine {cosine:.6f}, at least {_LOWEST_COSINE[precision]}; each image also mirrored"
    return Finding(detail, rate(step, device, num_steps=2), cosine >= _LOWEST_COSINE[precision])


def _random_faces(num: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (num, 112, 112, 3), np.uint8)
