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


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"shape": [-4, 3, 112, 112], "dtype": "float32"}, r"is 'float32' of shape \[-4, 3, 112, 112\]; needs floats"),
        ({"shape": [10**30, 3, 112, 112], "dtype": "float32"}, "needs floats"),
        (
            {"shape": [2**39, 3, 112, 112], "dtype": "float64"},
            r"is not a complete memfile set \(mem_file.dat has 602112",
        ),
        ({"shape": [4.0, 3, 112, 112], "dtype": "float32"}, "needs floats"),
        ({"shape": [4, 3, 112, 112], "dtype": "object"}, "is 'object' of shape .*; needs floats"),
        ({"shape": [4, 3, 112, 112], "dtype": None}, "is None of shape .*; needs floats"),
        ({"shape": None, "dtype": "float32"}, "of shape None; needs floats"),
        ([1, 2], "is None of shape None; needs floats"),
    ],
)
def test_shapes_that_no_file_has(tmp_path, conf, message):
    packed = load_protocol(FORMATS / "toy")
    folder = write_memfile(tmp_path / "toy", np.asarray(packed.images)[:4], packed.is_genuine[:2])
    (folder / "memfile" / "mem_file.dat.conf").write_text(json.dumps(conf))
    with pytest.raises(InputError, match=message):
        load_protocol(folder)


def test_values_that_are_not_numbers(tmp_path):
    packed = load_protocol(FORMATS / "toy")
    folder = write_memfile(tmp_path / "toy", np.asarray(packed.images)[:4], packed.is_genuine[:2])
    data = np.fromfile(folder / "memfile" / "mem_file.dat", np.float32)
    data[-1] = np.nan
    data.tofile(folder / "memfile" / "mem_file.dat")
    with pytest.raises(InputError, match="holds values that are not numbers"):
        load_protocol(folder).images[-1]
