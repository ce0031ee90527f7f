"""A folder of images and a pairs file -> a test set in any layout, aligned. ``python -m evaluate pack``."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.alignment.align import align
from bench.faces.alignment.landmarks import Landmarks, match_landmarks, path_key, read_landmarks
from bench.faces.face import decode_image, encode_png
from bench.files import atomic_path
from evaluate.layouts.images import check_faces, decode_face, listed
from evaluate.layouts.packed import write_bin, write_npy
from evaluate.layouts.pairs import Pair, find_images, read_pairs
from evaluate.protocol import Protocol, load_protocol

_PACKED_SUFFIXES = {".bin", ".xz", ".npy"}


def pack(
    folder: str | Path, pairs_file: str | Path, target: str | Path, landmarks: str | Path | None = None
) -> Protocol:
    """Write a test set, and read it back.

    Args:
        folder: Folder of the images that the pairs name; they may lie in its ``images``.
        pairs_file: LFW's layout, RFW's, or lines ``pathA pathB 0|1``, in the order of the folds.
        target: ``NAME.bin``, ``NAME.xz``, ``NAME.npy`` (writes a folder NAME with NAME.npy and issame.txt), or a folder
            for PNG files and a pairs.txt.
        landmarks: File of five-point landmarks of every image. None if the images are aligned already.

    Returns:
        The set as read back. In a ``.bin`` or ``.xz`` images that needed no alignment keep their bytes; others are PNG.

    Raises:
        InputError: If ``target`` exists, the pairs file is wrong, images or landmarks are missing or broken, or two
            images of a folder would get one name. Then nothing is written.
    """
    folder, pairs_file, target = Path(folder), Path(pairs_file), Path(target)
    if target.exists():
        raise InputError(f"{target} exists already; delete it, or give another --out")
    if target.suffix in _PACKED_SUFFIXES and target.with_suffix("").exists():
        raise InputError(f"{target.with_suffix('')} has the name of the new set {target}; give another --out")
    pairs = read_pairs(pairs_file)
    names = sorted({name for pair in pairs for name in pair.names})
    files = dict(zip(names, find_images(names, folder, source=pairs_file), strict=True))
    faces = _AlignedFaces(files, _landmarks_by_name(files, landmarks))
    faces.check(pairs_file)
    is_genuine = np.array([pair.is_genuine for pair in pairs])
    names_in_pair_order = [name for pair in pairs for name in pair.names]
    if target.suffix in {".bin", ".xz"}:
        encoded = {name: faces.encoded(name) for name in names}
        write_bin(target, [encoded[name] for name in names_in_pair_order], is_genuine)
        return load_protocol(target)
    if target.suffix == ".npy":
        write_npy(target.with_suffix(""), (faces.pixels(name) for name in names_in_pair_order), is_genuine)
        return load_protocol(target.with_suffix(""))
    _write_folder(target, faces, pairs)
    return load_protocol(target)


class _AlignedFaces:
    """Aligned faces by name of the image."""

    def __init__(self, files: dict[str, Path], landmarks: dict[str, Landmarks] | None) -> None:
        self.files = files
        self.landmarks = landmarks

    def check(self, source: Path) -> None:
        """Without landmarks, refuse images that cannot be aligned faces."""
        if self.landmarks is None:
            encoded = (file.read_bytes() for file in self.files.values())
            check_faces(encoded, list(self.files), str(source))

    def pixels(self, name: str) -> NDArray[np.uint8]:
        """One face, uint8, shape (112, 112, 3), RGB."""
        data = self.files[name].read_bytes()
        if self.landmarks is None:
            return decode_face(data, str(self.files[name]))
        return align(decode_image(data, str(self.files[name])), self.landmarks[name].points)

    def encoded(self, name: str) -> bytes:
        """One face as an image file."""
        return self.files[name].read_bytes() if self.landmarks is None else encode_png(self.pixels(name))


def _landmarks_by_name(files: Mapping[str, Path], path: str | Path | None) -> dict[str, Landmarks] | None:
    if path is None:
        return None
    name_of_file = {file: name for name, file in files.items()}  # the pairs may name a file with and without suffix
    matched = match_landmarks(list(name_of_file.values()), read_landmarks(path))
    landmarks_of_file = dict(zip(name_of_file, matched, strict=True))
    landmarks = {name: points for name, file in files.items() if (points := landmarks_of_file[file]) is not None}
    missing = [name for name in files if name not in landmarks]
    if missing:
        raise InputError(
            f"{path} has no line of their own for {len(missing)} of {len(files)} images: {listed(missing)}; add lines "
            "that name these images as the pairs do"
        )
    return landmarks


def _write_folder(target: Path, faces: _AlignedFaces, pairs: Sequence[Pair]) -> None:
    file_of_png: dict[str, Path] = {}
    for name, file in faces.files.items():
        other = file_of_png.setdefault(_png_name(name), file)
        if other != file:
            raise InputError(
                f"{other} and {file} would both become {_png_name(name)}; rename one, or give --out NAME.bin"
            )
    with atomic_path(target) as temporary:
        for name in faces.files:
            path = temporary / _png_name(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_png(faces.pixels(name)))
        lines = [f"{_png_name(pair.names[0])}\t{_png_name(pair.names[1])}\t{int(pair.is_genuine)}\n" for pair in pairs]
        (temporary / "pairs.txt").write_text("".join(lines), encoding="utf-8")


def _png_name(name: str) -> str:
    """Path of an image in the new folder: as the pairs file names it, with the suffix ``.png``."""
    folders = Path(name).parts[:-1]
    if ".." in folders or Path(name).is_absolute():
        raise InputError(f"image {name} lies outside its folder; write paths below the folder into the pairs file")
    return "/".join([*folders, f"{path_key(name)[-1]}.png"])
