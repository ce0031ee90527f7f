"""Synthetic face images, as arrays, as JPEG files and as a folder of files, and a protocol of grey faces."""

import numpy as np
from PIL import Image

from bench.faces.face import encode_jpeg
from evaluate.layouts.images import LazyImages
from evaluate.protocol import Protocol


def faces(num, seed=0):
    """Smooth random images, which JPEG keeps nearly unchanged."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (num, 7, 7, 3), dtype=np.uint8)
    return [np.asarray(Image.fromarray(blocks).resize((112, 112), Image.Resampling.BILINEAR)) for blocks in small]


def jpegs(num, seed=0):
    return [encode_jpeg(face) for face in faces(num, seed)]


def write_folder(folder, names):
    for name, face in zip(names, faces(len(names)), strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(face).save(folder / name)
    return folder


def write_lfw(folder):
    """A miniature in LFW's layout: two folds of one genuine and one impostor pair."""
    write_folder(folder, [f"{person}/{person}_000{i}.png" for person in ("Ann", "Bob") for i in (1, 2)])
    (folder / "pairs.txt").write_text("2\t1\nAnn\t1\t2\nAnn\t1\tBob\t1\nBob\t1\t2\nAnn\t2\tBob\t2\n")
    return folder


def make_protocol(pairs, is_genuine, name="made_up"):
    """Protocol of given pairs (P, 2) and labels (P,); face i has the grey value i."""
    pairs = np.asarray(pairs)
    black = np.zeros((112, 112, 3), dtype=np.uint8)
    faces = LazyImages(lambda i: black + np.uint8(i), np.arange(pairs.max() + 1))
    return Protocol(name, faces, pairs, np.asarray(is_genuine), "0" * 64)
