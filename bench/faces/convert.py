"""A face dataset in any layout -> the same faces in another. Image files are copied, unless they are to be shifted."""

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
    """Write a face dataset in another layout; it appears whole or not at all.

    Faces keep their order, except in a ``.rec``, which holds one identity after the other. Identities are numbered
    without gaps, in the order of ``faces.identity_names``; a folder keeps the names.

    Args:
        faces: The dataset.
        target: The LMDB file, or the folder that gets the other layouts. Must not exist.
        layout: lmdb; rec (train.rec, train.idx, property in insightface's dialect); shards (WebDataset); or folder
            (one sub-folder per identity).
        shift_right: Pixels by which every face moves (negative: left); the pixels at the free edge repeat, and the file
            becomes a JPEG of quality 95. Faces cut to 112 x 112 by ArcFace's template for 96 x 112, without the 8
            pixels that belong to it, need 8: otherwise their mirror images are faces in another place.

    Raises:
        InputError: If the target exists, or a face is no image file (names it).
    """
    target = Path(target)
    if target.exists():
        raise InputError(f"{target} exists already; delete it or name another")
    order = np.argsort(faces.identity_ids, kind="stable") if layout == "rec" else np.arange(len(faces))
    with _writer(faces, target, layout) as writer:
        for index in progress(order, desc=f"write {layout}"):
            encoded = faces.encoded(int(index))
            image_suffix(encoded, faces.name(int(index)))
            if shift_right:
                image = decode_image(encoded, faces.name(int(index)))
                encoded = encode_jpeg(_shifted(image, shift_right))
            writer.write(encoded, int(faces.identity_ids[index]))


def _shifted(image: NDArray[np.uint8], pixels: int) -> NDArray[np.uint8]:
    columns = np.clip(np.arange(image.shape[1]) - pixels, 0, image.shape[1] - 1)
    return np.ascontiguousarray(image[:, columns])


def _writer(faces: Faces, target: Path, layout: Layout) -> FaceWriter | RecordWriter | ShardWriter | FolderWriter:
    if layout == "folder":
        return FolderWriter(target, faces.identity_names)
    return {"lmdb": FaceWriter, "rec": RecordWriter, "shards": ShardWriter}[layout](target)
