"""How fast is scoring, and how much memory does a verification set take?

Five sets of 6,000 pairs by ``fold_accuracies``, against the grid loop that the field copies (``python -m bench.speed
evaluate``; embeddings are made up, speed does not depend on them); and a set of 6,000 pairs read and embedded, against
float32 images with their mirror images (``python -m bench.speed train``, whose validations read them).
"""

import multiprocessing
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from bench.faces.face import FACE_SIZE, decode_image, encode_jpeg
from bench.machine.device import peak_memory_mb
from evaluate.layouts.packed import read_bin, write_bin
from evaluate.measure.embed import embed
from evaluate.metrics import GRID, fold_accuracies, fold_ids
from evaluate.protocol import load_protocol

NUM_SETS, NUM_PAIRS, EMBEDDING_DIM, NUM_FOLDS = 5, 6000, 512, 10

NOTES = (
    "Grid loop: in every fold, true and false accepts and rejects are counted at each of 400 thresholds, on the nine "
    "learning folds and again on the tenth, as the published evaluation scripts do; ours sorts each distance into the "
    "grid once and adds up. Both start from embeddings and end with the accuracy of each fold; the fold accuracies are "
    "compared and equal to the last bit. The fastest of three passes counts, both ways in turn in one run."
)


def scoring_rows() -> list[dict[str, str | float]]:
    """Seconds of both ways over all sets, and how many times faster ours is.

    Raises:
        RuntimeError: If the fold accuracies differ.
    """
    sets = [made_up_pairs(NUM_PAIRS, EMBEDDING_DIM, seed) for seed in range(NUM_SETS)]
    seconds: dict[str, list[float]] = {"grid loop": [], "ours": []}
    for _ in range(3):
        for way, measure in (("grid loop", grid_loop), ("ours", fold_accuracies)):
            start = perf_counter()
            found = [measure(embeddings, is_genuine) for embeddings, is_genuine in sets]
            seconds[way].append(perf_counter() - start)
            if way == "grid loop":
                expected = found
        if not np.array_equal(expected, found):
            raise RuntimeError(f"fold accuracies differ: grid loop {expected}, ours {found}")
    slowest = min(seconds["grid loop"])
    return [
        {
            "way": way,
            "seconds": min(times),
            "times faster": slowest / min(times),
            "sets": NUM_SETS,
            "pairs per set": NUM_PAIRS,
            "dimensions": EMBEDDING_DIM,
            "mean accuracy": float(np.mean(expected)),
        }
        for way, times in seconds.items()
    ]


def made_up_pairs(
    num_pairs: int, embedding_dim: int, seed: int, noise: float = 2.0
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Unit embeddings in pair order, shape (2P, D), and labels, shape (P,); genuine partners differ by ``noise``."""
    rng = np.random.default_rng(seed)
    is_genuine = rng.random(num_pairs) < 0.5
    first = rng.standard_normal((num_pairs, embedding_dim))
    nearby = first + noise * rng.standard_normal((num_pairs, embedding_dim)) * rng.gamma(2, 2, (num_pairs, 1))
    second = np.where(is_genuine[:, None], nearby, rng.standard_normal((num_pairs, embedding_dim)))
    embeddings = np.stack([first, second], axis=1).reshape(2 * num_pairs, embedding_dim)
    return (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype(np.float32), is_genuine


def grid_loop(embeddings: NDArray, is_genuine: NDArray, num_folds: int = NUM_FOLDS) -> NDArray[np.float64]:
    """The published protocol step by step, as scripts of the field write it: the slow reference of ``fold_accuracies``.

    Args:
        embeddings: Unit embeddings, shape (2P, D).
        is_genuine: Shape (P,).
        num_folds: Contiguous folds.

    Returns:
        Accuracies, shape (num_folds,).
    """
    distances = np.sum(np.square(np.subtract(embeddings[0::2], embeddings[1::2])), axis=1)
    fold = fold_ids(len(distances), num_folds)
    accuracies = np.empty(num_folds)
    for k in range(num_folds):
        learning = [_share_right(distances[fold != k], is_genuine[fold != k], threshold) for threshold in GRID]
        measured = [_share_right(distances[fold == k], is_genuine[fold == k], threshold) for threshold in GRID]
        accuracies[k] = measured[int(np.argmax(learning))]
    return accuracies


def _share_right(distances: NDArray, is_genuine: NDArray, threshold: float) -> float:
    is_accepted = np.less(distances, threshold)
    true_accepts = np.sum(np.logical_and(is_accepted, is_genuine))
    false_accepts = np.sum(np.logical_and(is_accepted, np.logical_not(is_genuine)))
    true_rejects = np.sum(np.logical_and(np.logical_not(is_accepted), np.logical_not(is_genuine)))
    false_rejects = np.sum(np.logical_and(np.logical_not(is_accepted), is_genuine))
    return float((true_accepts + true_rejects) / (true_accepts + true_rejects + false_accepts + false_rejects))


def memory_rows(images: NDArray[np.uint8]) -> list[dict[str, str | float]]:
    """Memory of a verification set of 6,000 pairs, read from a ``.bin`` and embedded, beyond that of the process.

    Args:
        images: Faces, uint8, shape (N, 112, 112, 3), of which 12,000 different ones are made by shifting them.
    """
    rows: list[dict[str, str | float]] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made_up.bin"
        shifts = (np.roll(images[i % len(images)], i // len(images), axis=1) for i in range(2 * NUM_PAIRS))
        write_bin(path, [encode_jpeg(image) for image in shifts], np.arange(NUM_PAIRS) % 2 == 0)
        for way, read in (("float32 with stored flips", _floats_with_flips), ("ours", _as_they_are)):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                peak, resident = pool.apply(_memory, (read, path))
            plain = rows[0] if rows else {"peak MiB": peak, "resident MiB": resident}
            row: dict[str, str | float] = {
                "way": way,
                "peak MiB": peak,
                "share of peak": peak / float(plain["peak MiB"]),
            }
            rows.append(row | {"resident MiB": resident, "share of resident": resident / float(plain["resident MiB"])})
    return rows


def _memory(read: Callable[[Path], object], path: Path) -> tuple[float, float]:
    """Peak and what stays, MiB, of reading and embedding a set, beyond what the process had before."""
    embed(_mean_colour, np.zeros((1, FACE_SIZE, FACE_SIZE, 3), np.uint8))  # what torch loads when it is first used
    before = psutil.Process().memory_info().rss / 2**20
    kept = read(path)
    peak, resident = peak_memory_mb(), psutil.Process().memory_info().rss / 2**20
    del kept
    return peak - before, resident - before


def _mean_colour(images: torch.Tensor) -> torch.Tensor:
    """A network of no size, (B, 3)."""
    return images.mean(dim=(2, 3))


def _floats_with_flips(path: Path) -> object:
    """All images and their mirror images as float32 (2, 2P, 3, 112, 112), as the field's validation holds them."""
    encoded, _ = read_bin(path)
    images = torch.empty(2, len(encoded), 3, FACE_SIZE, FACE_SIZE)
    for i, file in enumerate(encoded):
        images[0, i] = (torch.from_numpy(decode_image(file).copy()).permute(2, 0, 1).float() / 255 - 0.5) / 0.5
        images[1, i] = images[0, i].flip(2)
    for start in range(0, len(encoded), 64):
        _mean_colour(images[0, start : start + 64]) + _mean_colour(images[1, start : start + 64])
    return images


def _as_they_are(path: Path) -> object:
    """As here: files stay encoded; batches are decoded, and mirrored, when it is their turn."""
    protocol = load_protocol(path)
    embed(_mean_colour, protocol.faces)
    return protocol
