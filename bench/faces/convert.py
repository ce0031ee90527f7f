"""Rewrites a face dataset in another layout. Image files are copied byte by byte, unless the faces are moved."""

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.alignment.align import align
from bench.faces.alignment.landmarks import match_landmarks, read_landmarks
from bench.faces.face import Faces, decode_image, encode_jpeg, image_suffix
from bench.faces.folders import FolderFaces, FolderWriter
from bench.faces.lmdb_file import FaceWriter
from bench.faces.recordio import RecordWriter
from bench.faces.webdataset import ShardWriter
from bench.machine.progress import progress

Layout = Literal["lmdb", "rec", "shards", "folder"]


def convert(
    faces: Faces,
    target: str | Path,
    layout: Layout,
    *,
    shift_right: int = 0,
    landmarks: str | Path | None = None,
) -> None:
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
            template for 96 x 112 without its offset of 8 pixels, see ``bench.faces.alignment.mirror_axis``.
        landmarks: File of five-point landmarks of every image of a folder, by which faces are aligned to 112 x 112;
            each becomes a JPEG of quality 95. See ``bench.faces.alignment.landmarks``.

    Raises:
        InputError: If the target exists, a face is not an image file (the message names it), or images have no
            landmarks.
    """
    target = Path(target)
    if target.exists():
        raise InputError(f"{target} exists already; delete it or name another")
    points = None if landmarks is None else landmarks_of(faces, landmarks)
    order = np.argsort(faces.identity_ids, kind="stable") if layout == "rec" else np.arange(len(faces))
    with _make_writer(faces, target, layout) as writer:
        for index in progress(order, desc=f"write {layout}"):
            encoded = faces.encoded(int(index))
            image_suffix(encoded, faces.name(int(index)))  # raises if the bytes are not an image file
            if shift_right or points is not None:
                image = decode_image(encoded, faces.name(int(index)))
                if points is not None:
                    image = align(image, points[index])
                encoded = encode_jpeg(_shift(image, shift_right))
            writer.write(encoded, int(faces.identity_ids[index]))


def landmarks_of(faces: Faces, path: str | Path) -> NDArray[np.float64]:
    """Landmarks as of ``known_landmarks``, of faces that must all have them.

    Raises:
        InputError: As ``known_landmarks``, or if images have no line in the file (the message names some).
    """
    points = known_landmarks(faces, path)
    missing = np.flatnonzero(np.isnan(points).any(axis=(1, 2)))
    if len(missing):
        names = [_name_in_folder(faces, int(index)) for index in missing[:5]]
        raise InputError(
            f"{path} has no line of their own for {len(missing)} of {len(points)} images, such as "
            f"{', '.join(names)}; add their landmarks, or remove the images"
        )
    return points


def known_landmarks(faces: Faces, path: str | Path) -> NDArray[np.float64]:
    """Landmarks of every face of a folder, x and y in pixels, shape (N, 5, 2); NaN where the file has none.

    An image is found by its path below the folder, as ``match_landmarks`` describes.

    Args:
        faces: A folder of images.
        path: File of landmarks, see ``bench.faces.alignment.landmarks``.

    Raises:
        InputError: If the faces lie in another layout, or the file is damaged.
    """
    if not isinstance(faces, FolderFaces):
        raise InputError(f"{faces.path} is not a folder of images, whose names landmarks need; give such a folder")
    names = [_name_in_folder(faces, index) for index in range(len(faces))]
    points = np.full((len(names), 5, 2), np.nan)
    for row, landmarks in enumerate(match_landmarks(names, read_landmarks(path))):
        if landmarks is not None:
            points[row] = landmarks.points
    return points


def _name_in_folder(faces: Faces, index: int) -> str:
    return Path(faces.name(index)).relative_to(faces.path).as_posix()


def _shift(image: NDArray[np.uint8], pixels_right: int) -> NDArray[np.uint8]:
    """Move an image sideways and repeat its edge column in the gap."""
    columns = np.clip(np.arange(image.shape[1]) - pixels_right, 0, image.shape[1] - 1)
    return np.ascontiguousarray(image[:, columns])


def _make_writer(faces: Faces, target: Path, layout: Layout) -> FaceWriter | RecordWriter | ShardWriter | FolderWriter:
    if layout == "folder":
        return FolderWriter(target, faces.identity_names)
    return {"lmdb": FaceWriter, "rec": RecordWriter, "shards": ShardWriter}[layout](target)
