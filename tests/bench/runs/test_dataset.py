"""The faces of a stage: their digest is checked, and a files dataset is opened where it lies now."""

import shutil

import pytest
from face_files import make_faces
from results import write_run
from verification_images import write_folder

from bench.config.generator import FilesGenerator
from bench.errors import InputError
from bench.files import sha256
from bench.runs.cards import DatasetCard, read_card, write_card
from bench.runs.dataset import open_dataset


def write_dataset(folder, **fields):
    made_up = write_run(folder / "made_up").parent.parent / "faces" / "faces0"
    write_card(folder, read_card(made_up, DatasetCard).model_copy(update=fields))


def test_a_flipped_byte_is_refused(tmp_path):
    path = make_faces(tmp_path, num_identities=2, images_per_identity=2).path.rename(tmp_path / "faces.lmdb")
    write_dataset(tmp_path, content_sha256=sha256(path))
    assert len(open_dataset(tmp_path)) == 4
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"faces\.lmdb was changed: .*; make the faces again, or restore them"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("generator", [None, "mine", {}])
def test_a_card_without_a_generator_is_named(tmp_path, generator):
    write_dataset(tmp_path, inputs={"generator": generator} if generator is not None else {})
    with pytest.raises(InputError):
        open_dataset(tmp_path)


def test_moved_files_are_opened_where_they_lie_now(tmp_path):
    folder = write_folder(tmp_path / "faces", ["Ann/1.png", "Bo/1.png"])
    settings = FilesGenerator(kind="files", path=str(folder))
    write_dataset(tmp_path, inputs={"generator": settings.model_dump()})
    assert len(open_dataset(tmp_path)) == 2
    shutil.move(folder, tmp_path / "moved")
    with pytest.raises(InputError, match="faces does not exist"):
        open_dataset(tmp_path)
    moved = settings.model_copy(update={"path": str(tmp_path / "moved")})
    assert len(open_dataset(tmp_path, moved)) == 2
