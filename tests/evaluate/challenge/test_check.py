"""A result is checked with everything behind it: cards, network, faces and test sets."""

from types import SimpleNamespace

import pytest
from results import make_result, make_template_result, write_run

from bench.errors import InputError
from bench.files import sha256
from bench.runs.cards import DatasetCard, ModelCard, ResultCard, card_sha256, read_card, write_card
from evaluate.challenge.check import check_result


@pytest.fixture
def result(tmp_path):
    """A finished run whose cards record the digests of its files."""
    folder = write_run(tmp_path)
    root = folder.parent.parent
    faces, model = root / "faces" / "faces0", root / "models" / "model0"
    (faces / "faces.lmdb").write_bytes(b"faces")
    (model / "model.safetensors").write_bytes(b"weights")
    change(faces, DatasetCard, content_sha256=sha256(faces / "faces.lmdb"))
    dataset = {"name": "rendered heads", "sha256": card_sha256(faces, DatasetCard)}
    change(model, ModelCard, weights_sha256=sha256(model / "model.safetensors"), dataset=dataset)
    network = {"sha256": card_sha256(model, ModelCard), "weights_sha256": sha256(model / "model.safetensors")}
    write_card(folder, make_result(model=network, protocols=("lfw",)))
    return folder


def change(folder, kind, **fields):
    card = read_card(folder, kind).model_dump() | fields
    write_card(folder, kind.model_validate(card))


def test_an_unchanged_result_lists_what_was_checked(result, tmp_path):
    lines = check_result(result, tmp_path / "sets").splitlines()
    assert lines == check_result(result / "result.json", tmp_path / "sets").splitlines()
    assert [line.split()[0] for line in lines] == ["ok"] * 5 + ["missing"]
    assert lines[-1] == "missing  test set lfw: cannot be checked"


@pytest.mark.parametrize(
    "name",
    [
        "models/model0/model.safetensors",
        "faces/faces0/faces.lmdb",
        "models/model0/model.json",
        "faces/faces0/dataset.json",
    ],
)
def test_a_changed_file_is_named(result, tmp_path, name):
    path = result.parent.parent / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(InputError, match=rf"{path.name} was changed: its SHA-256 is .*; restore these files, or run"):
        check_result(result, tmp_path / "sets")


def test_files_that_are_gone_cannot_be_checked(result, tmp_path):
    (result.parent.parent / "faces" / "faces0" / "faces.lmdb").unlink()
    assert "faces.lmdb: cannot be checked" in check_result(result, tmp_path / "sets")
    (result.parent.parent / "models" / "model0" / "model.json").unlink()
    assert "model0: cannot be checked" in check_result(result, tmp_path / "sets")


def test_a_card_that_contradicts_itself_is_refused(result, tmp_path):
    change(result, ResultCard, mean_accuracy=0.5)
    with pytest.raises(InputError, match=r"contradicts itself: mean_accuracy is 0\.5"):
        check_result(result, tmp_path / "sets")


def templates(digit):
    return make_template_result(0.6).model_copy(update={"sha256": digit * 64})


def test_a_test_set_of_templates_is_read_again(result, tmp_path, monkeypatch):
    (tmp_path / "sets" / "ijbb" / "meta").mkdir(parents=True)
    monkeypatch.setattr("evaluate.test_sets.open.load_templates", lambda path, name: SimpleNamespace(sha256="c" * 64))
    change(result, ResultCard, templates={"ijbb": templates("c")})
    assert "ok       test set ijbb: SHA-256 cccc" in check_result(result, tmp_path / "sets")
    change(result, ResultCard, templates={"ijbb": templates("d")})
    with pytest.raises(InputError, match="test set ijbb was changed: its SHA-256 is cccc"):
        check_result(result, tmp_path / "sets")
