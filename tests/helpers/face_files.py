"""Made-up face datasets for the tests: identities that differ in colour, faces that differ in noise."""

import numpy as np

from bench.faces.face import encode_jpeg
from bench.faces.lmdb_file import FaceWriter
from bench.faces.open import open_faces


def make_faces(directory, *, num_identities, images_per_identity):
    """A small dataset on disk whose identities a network can tell apart."""
    rng = np.random.default_rng(0)
    path = directory / "made_up.lmdb"
    with FaceWriter(path) as writer:
        for identity in range(num_identities):
            blocks = rng.integers(40, 216, (7, 7, 3))
            for _ in range(images_per_identity):
                noisy = np.kron(blocks, np.ones((16, 16, 1))) + rng.normal(0, 20, (112, 112, 3))
                writer.write(encode_jpeg(noisy.clip(0, 255).astype(np.uint8)), identity)
    return open_faces(path)
