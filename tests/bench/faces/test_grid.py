"""The grid of sample faces, and the faces of a ``files`` generator."""

import numpy as np
import pytest
from face_files import make_faces
from PIL import Image

from bench.errors import InputError
from bench.faces.face import encode_jpeg
from bench.faces.grid import sample_grid, write_grid
from bench.faces.lmdb_file import FaceWriter
from bench.faces.open import open_faces
from bench.runs.dataset import open_files


def faces_of_counts(path, counts):
    """A dataset with the given number of faces per identity; the grey value of a face is ten times its identity."""
    with FaceWriter(path) as writer:
        for identity_id, count in enumerate(counts):
            for _ in range(count):
                writer.write(encode_jpeg(np.full((112, 112, 3), 10 * identity_id, np.uint8)), identity_id)
    return open_faces(path)


def identities_of(rows):
    return [round(row[0].mean() / 10) for row in rows]


def test_rows_are_identities_with_enough_faces_evenly_spaced(tmp_path):
    faces = faces_of_counts(tmp_path / "faces.lmdb", [3, 1, 4, 5, 3, 3])
    rows = sample_grid(faces, num_rows=3, num_columns=3)
    assert identities_of(rows) == [0, 3, 5]
    assert [len(row) for row in rows] == [3, 3, 3]
    assert identities_of(sample_grid(faces, num_rows=9, num_columns=3)) == [0, 2, 3, 4, 5]


def test_identities_with_most_faces_where_none_has_enough(tmp_path):
    rows = sample_grid(faces_of_counts(tmp_path / "faces.lmdb", [1, 2, 2]), num_rows=4, num_columns=8)
    assert identities_of(rows) == [1, 2]
    assert [len(row) for row in rows] == [2, 2]


def test_a_grid_is_drawn_on_white_and_other_sizes_are_resized(tmp_path):
    black = np.zeros((112, 112, 3), np.uint8)
    write_grid(tmp_path / "grid.png", [[black, black[:50, :60]], [black]])
    image = np.asarray(Image.open(tmp_path / "grid.png"))
    assert image.shape == (2 + 2 * 114, 2 + 2 * 114, 3)
    expected = np.full_like(image, 255)
    for top, left in ((2, 2), (2, 116), (116, 2)):
        expected[top : top + 112, left : left + 112] = 0
    np.testing.assert_array_equal(image, expected)


@pytest.fixture
def damaged(tmp_path):
    """Two identities of two faces; the second face of each does not decode."""
    with FaceWriter(tmp_path / "faces.lmdb") as writer:
        for index in range(4):
            writer.write(b"no image" if index % 2 else encode_jpeg(np.zeros((112, 112, 3), np.uint8)), index // 2)
    return open_faces(tmp_path / "faces.lmdb")


def test_a_face_that_does_not_decode_is_named_or_skipped(damaged, capsys):
    with pytest.raises(InputError, match=r"faces\.lmdb key 1 does not decode"):
        sample_grid(damaged)
    assert [len(row) for row in sample_grid(damaged, skip_corrupt=True)] == [1, 1]
    told = capsys.readouterr().err
    assert "sample left out of the grid" in told
    assert "key 1 does not decode" in told
    assert "key 3 does not decode" in told


def test_a_grid_without_any_face_is_refused(damaged):
    damaged.select(np.array([1, 3]))
    with pytest.raises(InputError, match=r"none of the faces sampled from .*faces\.lmdb decodes"):
        sample_grid(damaged, skip_corrupt=True)


def test_names_to_leave_out_come_from_a_text_file(tmp_path):
    faces = make_faces(tmp_path, num_identities=4, images_per_identity=2)
    (tmp_path / "names.txt").write_text("1\n3\n")
    assert open_files(str(faces.path), None, str(tmp_path / "names.txt")).identity_names == ["0", "2"]
    assert open_files(str(faces.path), None, None).identity_names == ["0", "1", "2", "3"]
    with pytest.raises(InputError, match=r"generator\.leave_out=gone\.txt does not exist; give a text file"):
        open_files(str(faces.path), None, "gone.txt")
