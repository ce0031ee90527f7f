"""Faces that exist -> identity centres for the generator: the mean feature of every identity.

In: an LMDB, a folder with one sub-folder per person, or a folder of images that each show another person; aligned
112 x 112 faces. Out: un-normalised features by the identity network, shape (C, D). As Vec2Face's center_features.py.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.face import FACE_SIZE, IMAGE_SUFFIXES, Faces, decode_image
from bench.faces.folders import FolderFaces
from bench.faces.lmdb_file import LmdbFaces
from bench.machine.progress import progress
from bench.vectors.nearest import identity_centers
from generate.draw.attrop import Estimator
from generate.draw.shards import write_array
from generate.networks.estimators import identity_estimator

CONSENT = (
    "These people exist. Generate images of them only with their consent or another lawful basis, say that the images "
    "are synthetic, and do not publish them as a dataset of invented people"
)
"""Printed when images are made of people who exist."""
_BATCH = 64


class PeopleFaces(FolderFaces):
    """A folder whose images each show another person, who is named as the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
        if not self._files:
            raise InputError(f"{path} holds no image; give aligned faces, or one sub-folder of them per person")
        self.identity_names = [file.stem for file in self._files]
        self.identity_ids = np.arange(len(self._files))
        self._positions = np.arange(len(self._files))


def open_people(path: str | Path) -> Faces:
    """The faces of an LMDB, of a folder with one sub-folder per person, or of a folder of single images.

    Raises:
        InputError: If there are none.
    """
    path = Path(path)
    if path.is_dir() and not (path / "data.mdb").exists():
        has_people = any(entry.is_dir() for entry in path.iterdir())
        return FolderFaces(path) if has_people else PeopleFaces(path)
    if not path.exists():
        raise InputError(f"{path} does not exist; give an LMDB or a folder of aligned faces")
    return LmdbFaces(path)


@torch.no_grad()
def face_centers(faces: Faces, identity: Estimator, *, device: str | torch.device = "cpu") -> NDArray[np.float32]:
    """Mean un-normalised feature of every identity, in the order of ``faces.identity_names``; shape (C, D).

    Args:
        faces: Aligned faces, 112 x 112.
        identity: Images (B, 3, 112, 112) in [-1, 1] -> features (B, D).
        device: Where the network is.

    Raises:
        InputError: If a face has another size, or does not decode.
    """
    features = []
    for start in progress(range(0, len(faces), _BATCH), desc="features", unit="batch"):
        batch = np.stack([_aligned(faces, index) for index in range(start, min(start + _BATCH, len(faces)))])
        images = torch.from_numpy(batch).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
        features.append(identity(images).float().cpu().numpy())
    return identity_centers(np.concatenate(features), faces.identity_ids)


def _aligned(faces: Faces, index: int) -> NDArray[np.uint8]:
    image = decode_image(faces.encoded(index), faces.name(index))
    if image.shape != (FACE_SIZE, FACE_SIZE, 3):
        size = f"{image.shape[1]} x {image.shape[0]}"
        raise InputError(f"{faces.name(index)} is {size}; give faces aligned to the ArcFace template, 112 x 112")
    return image


def write_centers(path: Path, out: Path, network: Path, *, device: str = "cpu") -> tuple[int, int]:
    """Write the identity centres of existing faces as a ``.npy``, shape (C, D), in the order of the identities.

    Args:
        path: LMDB, folder with one sub-folder per person, or folder of images that each show another person.
        out: The file to write.
        network: Weights of the identity network.
        device: Torch device of the network.

    Returns:
        Number of identities and of faces.

    Raises:
        InputError: If there are no faces, one is not 112 x 112, or the weights cannot be read.
    """
    faces = open_people(path)
    write_array(out, face_centers(faces, identity_estimator(network, device), device=device))
    return faces.num_identities, len(faces)
