"""Photographs -> identity centres for the generator: the mean feature of every identity.

In: aligned 112 x 112 faces, as an LMDB, a folder with one sub-folder per person, or a folder of images of different
people. Out: un-normalised features of the identity network, shape (C, D). Follows Vec2Face's
``center_features.py`` (docs/field.md, section 4.1, issue 2).
"""

from collections import Counter
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.face import Faces, check_sizes
from bench.faces.folders import FolderFaces, list_images, note_unread, sub_folders
from bench.faces.lmdb_file import LmdbFaces
from bench.files import write_array
from bench.machine.progress import progress
from bench.vectors.nearest import identity_centers
from generate.networks.estimators import Estimator, identity_estimator
from generate.networks.over_faces import outputs_over_faces

CONSENT = (
    "These people exist. Generate images of them only with their consent or another lawful basis, say that the images "
    "are synthetic, and do not publish them as a dataset of invented people"
)
"""Printed before images of real people are generated."""
_BATCH = 64


class PeopleFaces(FolderFaces):
    """A folder whose images each show another person, named after the file (with its suffix where two need it)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        unread: Counter[str] = Counter()
        self._files = list_images(path, unread)
        note_unread(path, unread)
        if not self._files:
            raise InputError(f"{path} holds no image; give aligned faces, or one sub-folder of them per person")
        stems = Counter(file.stem for file in self._files)
        self.identity_names = [file.stem if stems[file.stem] == 1 else file.name for file in self._files]
        self.identity_ids = np.arange(len(self._files))
        self._positions = np.arange(len(self._files))


def open_people(path: str | Path) -> Faces:
    """The faces of an LMDB, of a folder with one sub-folder per person, or of a folder of single images.

    Raises:
        InputError: If the path does not exist or holds no face.
    """
    path = Path(path)
    if path.is_dir() and not (path / "data.mdb").exists():
        return FolderFaces(path) if sub_folders(path) else PeopleFaces(path)
    if not path.exists():
        raise InputError(f"{path} does not exist; give an LMDB or a folder of aligned faces")
    return LmdbFaces(path)


def face_centers(faces: Faces, identity: Estimator, *, device: str | torch.device = "cpu") -> NDArray[np.float32]:
    """Mean un-normalised feature of every identity, in the order of ``faces.identity_names``; shape (C, D).

    Args:
        faces: Aligned faces; square ones are scaled to 112 x 112.
        identity: Images (B, 3, 112, 112) in [-1, 1] -> features (B, D).
        device: Where the network is.

    Raises:
        InputError: If a face is not square, or does not decode.
    """
    with progress(desc="features", total=len(faces)) as bar:
        features = outputs_over_faces(identity, faces, batch_size=_BATCH, device=device, on_done=bar.update)
    return identity_centers(features, faces.identity_ids)


def write_centers(path: Path, centers_path: Path, network: Path, *, device: str = "cpu") -> tuple[int, int]:
    """Write the identity centres of existing faces as a ``.npy``, shape (C, D), in the order of the identities.

    Args:
        path: LMDB, folder with one sub-folder per person, or folder of images of different people.
        centers_path: The file to write.
        network: Weights of the identity network.
        device: Torch device of the network.

    Returns:
        Number of identities and of faces.

    Raises:
        InputError: If there are no faces, one is not an aligned face, or the weights cannot be read.
    """
    faces = open_people(path)
    check_sizes(faces)
    write_array(centers_path, face_centers(faces, identity_estimator(network, device), device=device))
    return faces.num_identities, len(faces)
