"""Folders of people: who counts as a person, and that two files are never one."""

import numpy as np
import pytest
from PIL import Image

from bench.errors import InputError
from bench.faces.face import encode_jpeg
from generate.draw.centers import open_people

FACE = np.zeros((112, 112, 3), np.uint8)


@pytest.fixture
def flat(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(encode_jpeg(FACE))
    return tmp_path


@pytest.mark.parametrize("hidden", [".ipynb_checkpoints", "__MACOSX", "@eaDir", ".Trash-0"])
def test_hidden_folders_are_no_people(flat, hidden):
    (flat / hidden).mkdir()
    (flat / hidden / "0-checkpoint.jpg").write_bytes(encode_jpeg(FACE))
    (flat / "._0.jpg").write_bytes(b"\0\5\x16\7")
    assert open_people(flat).identity_names == ["0", "1", "2"]


def test_files_that_differ_in_their_suffix_are_two_people(flat):
    Image.fromarray(FACE).save(flat / "0.png")
    Image.fromarray(FACE).save(flat / "00.png")
    assert open_people(flat).identity_names == ["0.jpg", "0.png", "00", "1", "2"]


def test_folders_without_an_image_are_no_people(tmp_path):
    for name in ("ann", "bob"):
        (tmp_path / name).mkdir()
    (tmp_path / "ann" / "0.jpg").write_bytes(encode_jpeg(FACE))
    assert open_people(tmp_path).identity_names == ["ann"]
    (tmp_path / "ann" / "0.jpg").unlink()
    with pytest.raises(InputError, match="holds no image in any sub-folder"):
        open_people(tmp_path)
