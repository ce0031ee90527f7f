"""AdaFace's memfiles: written as AdaFace does, they read back bit by bit; broken ones get a one-line message."""

import json

import numpy as np
import pytest
from paths import FORMATS

from bench.errors import InputError
from evaluate.protocol import load_protocol


def write_memfile(folder, images, labels):
    """As AdaFace's make_memmap does: BGR floats in [-1, 1]."""
    floats = ((images.transpose(0, 3, 1, 2)[:, ::-1].astype(np.float32) / 255) - 0.5) / 0.5
    (folder / "memfile").mkdir(parents=True)
    (folder / "memfile" / "mem_file.dat").write_bytes(np.ascontiguousarray(floats).tobytes())
    about = {"shape": floats.shape, "dtype": str(floats.dtype)}
    (folder / "memfile" / "mem_file.dat.conf").write_text(json.dumps(about))
    np.save(folder.with_name(f"{folder.name}_list.npy"), labels)
    return folder


def test_adaface_s_memfile_gives_the_bytes_back(tmp_path):
    packed = load_protocol(FORMATS / "toy")
    folder = write_memfile(tmp_path / "toy", np.asarray(packed.images), packed.is_genuine)
    protocol = load_protocol(folder)
    assert protocol.name == "toy"
    np.testing.assert_array_equal(np.asarray(protocol.images), np.asarray(packed.images))
    np.testing.assert_array_equal(protocol.is_genuine, packed.is_genuine)
    assert len(protocol.faces) == len(packed.faces)


def test_memfiles_that_do_not_fit(tmp_path):
    packed = load_protocol(FORMATS / "toy")
    folder = write_memfile(tmp_path / "toy", np.asarray(packed.images)[:4], packed.is_genuine[:3])
    with pytest.raises(InputError, match=r"mem_file.dat holds 4 images and 3 labels; needs two images per label"):
        load_protocol(folder)
    data = folder / "memfile" / "mem_file.dat"
    data.write_bytes(data.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"toy is not a complete memfile set \(.*\); copy it again"):
        load_protocol(folder)
    (tmp_path / "toy_list.npy").unlink()
    with pytest.raises(InputError, match=r"toy_list.npy does not exist; copy the set again, with NAME_list.npy beside"):
        load_protocol(folder)
