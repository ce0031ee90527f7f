"""Precision and recall, or Vendi score, of made-up embeddings: prints seconds and peak memory.

``python tests/evaluate/audit/quality/at_scale.py overlap|vendi NUM_IMAGES FOLDER``; overlap compares two sets of that
size. The embeddings are memory-mapped files in the folder. Not a test: tests/evaluate/audit/test_scale.py runs it.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from bench.machine.stopwatch import peak_memory_mb
from evaluate.audit.quality.diversity import vendi_score
from evaluate.audit.quality.neighbours import measure_overlap

DIM = 512


def made_up(path, num_images, shift):
    """Unit rows around a common direction, written block by block."""
    array = np.lib.format.open_memmap(path, "w+", np.float32, (num_images, DIM))
    for start in range(0, num_images, 10_000):
        part = array[start : start + 10_000]
        rows = np.random.default_rng([int(100 * shift), start]).standard_normal(part.shape, dtype=np.float32)
        rows[:, 0] += shift
        part[:] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    array.flush()
    return np.load(path, mmap_mode="r")


def main():
    figure, num_images, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    shifts = (0, 0.3) if figure == "overlap" else (0.3,)
    sets = [made_up(folder / f"{figure}_{num_images}_{shift}.npy", num_images, shift) for shift in shifts]
    before, start, start_cpu = peak_memory_mb(), time.perf_counter(), time.process_time()
    result = vars(measure_overlap(*sets)) if figure == "overlap" else vendi_score(sets[0])
    found = {
        "figure": figure,
        "num_images": num_images,
        "result": result,
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(time.process_time() - start_cpu, 1),
        "memory_before_mb": round(before),
        "peak_memory_mb": round(peak_memory_mb()),
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
