"""Steps of generating a dataset that use no network, over made-up vectors and images of 59 bytes.

Each step calls the code of a real run. Shards have the 64 identities of the released scales.
"""

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bench.files import write_array
from bench.speed.scale import Size, Step
from generate.draw import shards
from generate.draw.qualify.filters import KEPT
from generate.draw.qualify.join import join_shards
from generate.identities import FEATURE_DIM, sample_identities, separated

MAX_COSINE = 0.3
"""As in the released scales. Random vectors of 512 dimensions are all further apart, so that all are compared."""
IDENTITIES_PER_SHARD = 64


def tiny_image(identity: int, image: int) -> bytes:
    """A whole image file of 59 bytes, 4 x 4 pixels as PPM, different for every image."""
    return b"P6 4 4 255\n" + 3 * struct.pack("<qq", identity, image)


def steps() -> list[Step]:
    """All steps, in the order of a run."""
    return [
        Step("draw candidates", _draw_candidates),
        Step("read the features of all shards", _gather_features, _prepare_centers),
        Step("separate identities", _separate, _prepare_features),
        Step("write the list of kept identities", _write_kept, _prepare_centers),
        Step("join shards", _join, _prepare_images),
    ]


def _draw_candidates(size: Size, folder: Path) -> Mapping[str, float]:
    write_array(folder / "candidates.npy", sample_identities(size.num_identities, 0))
    return {"candidates": size.num_identities}


def _shards_of(size: Size, folder: Path, suffix: str) -> dict[Path, range]:
    """Path and identities of each shard."""
    starts = range(0, size.num_identities, IDENTITIES_PER_SHARD)
    ranges = [range(start, min(start + IDENTITIES_PER_SHARD, size.num_identities)) for start in starts]
    return {folder / "parts" / f"{identities.start:06d}{suffix}": identities for identities in ranges}


def _prepare_centers(size: Size, folder: Path) -> None:
    for path, identities in _shards_of(size, folder, ".npz").items():
        if not path.exists():
            rng = np.random.default_rng([1, identities.start])
            rows = rng.standard_normal((2, len(identities), FEATURE_DIM), np.float32)
            numbers = np.zeros(len(identities), np.float32)
            shards.write_arrays(path, vectors=rows[0], features=rows[1], steps=numbers, quality=numbers)


def _gather_features(size: Size, folder: Path) -> Mapping[str, float]:
    features = shards.gather(list(_shards_of(size, folder, ".npz")), "features")
    return {"features": len(features)}


def _prepare_features(size: Size, folder: Path) -> None:
    if not (folder / "features.npy").exists():
        _prepare_centers(size, folder)
        write_array(folder / "features.npy", shards.gather(list(_shards_of(size, folder, ".npz")), "features"))


def _separate(size: Size, folder: Path) -> Mapping[str, float]:
    numbers = np.flatnonzero(separated(np.load(folder / "features.npy"), MAX_COSINE))
    return {"kept": len(numbers)}


def _write_kept(size: Size, folder: Path) -> Mapping[str, float]:
    numbers = np.arange(size.num_identities)
    write_array(folder / "vectors.npy", shards.gather(list(_shards_of(size, folder, ".npz")), "vectors")[numbers])
    write_array(folder / "kept.npy", numbers)
    return {"kept": len(numbers)}


def _prepare_images(size: Size, folder: Path) -> None:
    each = size.images_per_identity
    for path, identities in _shards_of(size, folder, ".parquet").items():
        if path.exists():
            continue
        num = len(identities) * each
        ids, images = np.repeat(identities, each), np.tile(np.arange(each, dtype=np.int32), len(identities))
        records = {"identity_id": ids, "candidate": ids, "image": images, "steps": np.zeros(num, np.int32)}
        records["accepted"] = np.zeros(num, bool)
        for name in ("sigma", "target_yaw", "turned_yaw", "identity_cosine", "quality", "yaw", "known_cosine"):
            records[name] = np.full(num, 0.5, np.float32)
        content = [tiny_image(*pair) for pair in zip(ids.tolist(), images.tolist(), strict=True)]
        shards.write_images(path, records, [KEPT] * num, content)


def _join(size: Size, folder: Path) -> Mapping[str, float]:
    drawn = join_shards(list(_shards_of(size, folder, ".parquet")), folder, size.num_images)
    return {"images": drawn.num_images, "identities": drawn.num_identities}
