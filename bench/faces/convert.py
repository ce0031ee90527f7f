"""Rewrites a face dataset in another layout. Image files are copied byte by byte, unless the faces are shifted."""

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.face import Faces, decode_image, encode_jpeg, image_suffix
from bench.faces.folders import FolderWriter
from bench.faces.lmdb_file import FaceWriter
from bench.faces.recordio import RecordWriter
from bench.faces.webdataset import ShardWriter
from bench.machine.progress import progress

Layout = Literal["lmdb", "rec", "shards", "folder"]


def convert(faces: Faces, target: str | Path, layout: Layout, *, shift_right: int = 0) -> None:
    """Write a face dataset in another layout. After an error nothing is left at ``target``.

    Faces keep their order, except in a ``.rec``, which stores the faces of an identity together. Identities are
    numbered from 0 without gaps, in the order of ``faces.identity_names``. A folder keeps the names instead.

    Args:
        faces: The dataset to write.
        target: LMDB file, or folder for the other layouts. Must not exist yet.
        layout: ``lmdb``; ``rec`` (train.rec, train.idx and property, as insightface writes them); ``shards``
            (WebDataset); or ``folder`` (one sub-folder per identity).
        shift_right: Pixels by which to move all faces to the right; negative moves them left. The edge column fills
            the gap, and each image becomes a JPEG of quality 95. Use 8 for faces that were aligned to ArcFace's
            template for 96 x 112 without its offset of 8 pixels, see ``bench.faces.alignment``.

    Raises:
        InputError: If the target exists, or a face is not an image file (the message names it).
    """
    target = Path(target)
    if target.exists():
        raise InputError(f"{target} exists already; delete it or name another")
    order = np.argsort(faces.identity_ids, kind="stable") if layout == "rec" else np.arange(len(faces))
    with _make_writer(faces, target, layout) as writer:
        for index in progress(order, desc=f"write {layout}"):
            encoded = faces.encoded(int(index))
            image_suffix(encoded, faces.name(int(index)))  # raises if the bytes are not an image file
            if shift_right:
                image = decode_image(encoded, faces.name(int(index)))
                encoded = encode_jpeg(_shift(image, shift_right))
            writer.write(encoded, int(faces.identity_ids[index]))


def _shift(image: NDArray[np.uint8], pixels_right: int) -> NDArray[np.uint8]:
    """Move an image sideways and repeat its edge column in the gap."""
    columns = np.clip(np.arange(image.shape[1]) - pixels_right, 0, image.shape[1] - 1)
    return np.ascontiguousarray(image[:, columns])


def _make_writer(faces: Faces, target: Path, layout: Layout) -> FaceWriter | RecordWriter | ShardWriter | FolderWriter:
    if layout == "folder":
        return FolderWriter(target, faces.identity_names)
    return {"lmdb": FaceWriter, "rec": RecordWriter, "shards": ShardWriter}[layout](target)
