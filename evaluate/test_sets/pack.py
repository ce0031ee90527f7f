"""A folder of images and a pairs file -> a verification set in any layout, aligned. ``python -m evaluate pack``."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.errors import InputError
from bench.faces.face import decode_image
from bench.files import atomic_path
from evaluate.layouts.align import align
from evaluate.layouts.images import check_faces, decode_face, listed
from evaluate.layouts.landmarks import Landmarks, image_key, read_landmarks
from evaluate.layouts.packed import write_bin, write_npy
from evaluate.layouts.pairs import Pair, find_images, read_pairs
from evaluate.protocol import Protocol, load_protocol


def pack(folder: str | Path, pairs_file: str | Path, out: str | Path, landmarks: str | Path | None = None) -> Protocol:
    """Write a verification set and read it back.

    Args:
        folder: Where the images of the pairs are, or an ``images`` folder in it.
        pairs_file: LFW's layout, RFW's, or lines ``pathA pathB 0|1``, in the order of the folds.
        out: ``NAME.bin``, ``NAME.xz``, ``NAME.npy`` (a folder NAME with NAME.npy and issame.txt), or a folder of PNG
            files with a pairs.txt.
        landmarks: File of five-point landmarks of every image; without one the images must be aligned already.

    Returns:
        The set as read back. Images that were aligned before keep their bytes in ``.bin`` and ``.xz``; others are PNG.

    Raises:
        InputError: If the pairs file is wrong, or images or landmarks are missing or broken; ``out`` is not written.
    """
    folder, pairs_file, out = Path(folder), Path(pairs_file), Path(out)
    if out.exists() or out.with_suffix("").is_dir():
        raise InputError(f"{out} is there already; delete it, or give another --out")
    pairs = read_pairs(pairs_file)
    names = sorted({name for pair in pairs for name in pair.names})
    files = dict(zip(names, find_images(names, folder, where=pairs_file), strict=True))
    faces = _Faces(files, _landmarks(names, landmarks))
    faces.check(pairs_file)
    is_genuine = np.array([pair.is_genuine for pair in pairs])
    in_order = [name for pair in pairs for name in pair.names]
    if out.suffix in {".bin", ".xz"}:
        encoded = {name: faces.encoded(name) for name in names}
        write_bin(out, [encoded[name] for name in in_order], is_genuine)
        return load_protocol(out)
    if out.suffix == ".npy":
        write_npy(out.with_suffix(""), (faces.pixels(name) for name in in_order), is_genuine)
        return load_protocol(out.with_suffix(""))
    _write_folder(out, faces, pairs)
    return load_protocol(out)


class _Faces:
    """Aligned faces by image name."""

    def __init__(self, files: dict[str, Path], landmarks: dict[str, Landmarks] | None) -> None:
        self.files = files
        self.landmarks = landmarks

    def check(self, where: Path) -> None:
        """Refuse images that are not aligned, where there are no landmarks to align them by."""
        if self.landmarks is None:
            names = list(self.files)
            check_faces((self.files[name].read_bytes() for name in names), names, resize=False, where=str(where))

    def pixels(self, name: str) -> NDArray[np.uint8]:
        """One face, uint8 (112, 112, 3) RGB."""
        data = self.files[name].read_bytes()
        if self.landmarks is None:
            return decode_face(data, str(self.files[name]), resize=False)
        return align(decode_image(data, str(self.files[name])), self.landmarks[name].points)

    def encoded(self, name: str) -> bytes:
        """The image file of one face."""
        return self.files[name].read_bytes() if self.landmarks is None else _png_file(self.pixels(name))


def _landmarks(names: list[str], path: str | Path | None) -> dict[str, Landmarks] | None:
    if path is None:
        return None
    known = {image_key(name): landmarks for name, landmarks in read_landmarks(path).items()}
    missing = [name for name in names if image_key(name) not in known]
    if missing:
        raise InputError(
            f"{path} has no landmarks of {len(missing)} of {len(names)} images: {listed(missing)}; add them"
        )
    return {name: known[image_key(name)] for name in names}


def _write_folder(out: Path, faces: _Faces, pairs: list[Pair]) -> None:
    with atomic_path(out) as temporary:
        for name in faces.files:
            path = temporary / _png(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_png_file(faces.pixels(name)))
        (temporary / "pairs.txt").write_text("".join(_lines(pairs)), encoding="utf-8")


def _lines(pairs: list[Pair]) -> Iterator[str]:
    for pair in pairs:
        first, second = (_png(name) for name in pair.names)
        yield f"{first}\t{second}\t{int(pair.is_genuine)}\n"


def _png_file(image: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def _png(name: str) -> str:
    folders = Path(name).parts[:-1]
    if ".." in folders or Path(name).is_absolute():
        raise InputError(f"image {name} lies outside its folder; write paths below the folder into the pairs file")
    stem = image_key(name)[-1]
    return "/".join([*folders, f"{stem}.png"])
