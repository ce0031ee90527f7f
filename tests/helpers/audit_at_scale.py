"""Audit made-up embeddings on disk and print seconds and peak memory: the proof that memory does not grow with them.

``python tests/helpers/audit_at_scale.py NUM_IMAGES IMAGES_PER_IDENTITY float16|float32 FOLDER``; a reference of a tenth
of the identities, a hundredth of them shared, is compared too. Not a test: tests/evaluate/audit/test_scale.py runs it.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from bench.machine.stopwatch import peak_memory_mb
from evaluate.audit.embeddings import Embedded
from evaluate.audit.run import compare, describe_embeddings
from evaluate.audit.source import Source

DIM = 512


def write_embeddings(path, ids, first_identity, dtype):
    """Unit rows, each its identity's direction and noise; in blocks, straight to disk."""
    array = np.lib.format.open_memmap(path, "w+", dtype, (len(ids), DIM))
    for start in range(0, len(ids), 10_000):
        part = ids[start : start + 10_000]
        rng = np.random.default_rng([1, first_identity, start])
        rows = rng.standard_normal((len(part), DIM), dtype=np.float32)
        for identity in np.unique(part):
            center = np.random.default_rng([0, first_identity + int(identity)]).standard_normal(DIM, dtype=np.float32)
            rows[part == identity] += center
        array[start : start + 10_000] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    array.flush()


def made_up(path, num_images, each, first_identity, dtype):
    ids = np.arange(num_images) // each
    if not path.exists():
        write_embeddings(path, ids, first_identity, dtype)
    names = [f"identity {first_identity + label}" for label in range(ids.max() + 1)]
    source = Source(path.stem, path, "", lambda i: b"", lambda i: f"image {i}", ids, names)
    values = {"magnitude": np.ones(num_images, dtype=np.float32)}
    return Embedded(source, np.arange(num_images), ids, names, np.load(path, mmap_mode="r"), values)


def main():
    num_images, each, dtype, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
    num_identities = num_images // each
    dataset = made_up(folder / f"set_{num_images}_{dtype}.npy", num_images, each, 0, dtype)
    shared = num_identities // 100
    reference = made_up(folder / f"reference_{num_images}.npy", num_images // 10, each, num_identities - shared, dtype)
    before = peak_memory_mb()
    start = time.perf_counter()
    sections = describe_embeddings(dataset)
    described = time.perf_counter()
    leakage = compare(dataset, reference)
    found = {
        "num_images": num_images,
        "num_identities": num_identities,
        "dtype": dtype,
        "reference_identities": len(reference.identity_names),
        "memory_before_mb": round(before),
        "peak_memory_mb": round(peak_memory_mb()),
        "describe_seconds": round(described - start, 1),
        "leakage_seconds": round(time.perf_counter() - described, 1),
        "unique": sections["separation"].unique["0.4"].kept,
        "fisher_ratio": round(sections["pairs"].fisher_ratio, 2),
        "num_genuine": sections["pairs"].genuine.num_pairs,
        "num_impostor": sections["pairs"].impostor.num_pairs,
        "num_shared": shared,
        "num_shared_found": len(leakage.shared_identities()),
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
