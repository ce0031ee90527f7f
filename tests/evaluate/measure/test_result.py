"""``evaluate`` from Python: a callable or a file on named sets and paths gives the card; files appear on demand."""

import json
import shutil

import numpy as np
import pytest
import torch
from paths import FORMATS
from verification_images import write_folder

from bench.config.recipe import Backbone
from bench.errors import InputError
from bench.files import sha256
from bench.runs.card_parts.references import ModelReference
from evaluate.measure.checks import contradictions
from evaluate.measure.compare import compare_results
from evaluate.measure.embed import embed, raw_pixels
from evaluate.measure.result import evaluate
from evaluate.measure.scores import read_scores
from evaluate.measure.verify import verify
from evaluate.protocol import load_protocol
from fr_train.backbone import build_backbone
from fr_train.checkpoint import save_backbone


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    settings = Backbone(depth=18, width=4, embedding_dim=16)
    path = tmp_path_factory.mktemp("weights") / "net.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_backbone(path, build_backbone(settings), settings)
    return path


@pytest.fixture
def sets(tmp_path):
    """A folder of test sets with one set, ``toy``."""
    shutil.copy(FORMATS / "toy.bin", tmp_path / "toy.bin")
    return tmp_path


def test_a_callable_on_a_named_set(sets, tmp_path):
    card = evaluate(raw_pixels, "toy", test_sets_dir=sets)
    expected = verify(lambda images: embed(raw_pixels, images), load_protocol(sets / "toy.bin")).result
    assert card.protocols == {"toy": expected}
    assert card.mean_accuracy == expected.accuracy
    assert (card.name, card.row, card.model) == ("raw_pixels", "model", ModelReference(name="raw_pixels"))
    assert card.cost.images == len(load_protocol(sets / "toy.bin").faces)
    assert contradictions(card) == []
    assert [path.name for path in tmp_path.iterdir()] == ["toy.bin"]  # nothing is written


def test_a_file_and_a_module_give_the_same_card_and_files(sets, tmp_path, weights):
    from_file = evaluate(str(weights), ["toy"], device="cpu", test_sets_dir=sets, result_dir=tmp_path / "a")
    assert from_file.model == ModelReference(name="net.safetensors", weights_sha256=sha256(weights))
    assert from_file.name == "net"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = build_backbone(Backbone(depth=18, width=4, embedding_dim=16))
    from_module = evaluate(module, [sets / "toy.bin"], result_dir=tmp_path / "b")
    assert from_module.protocols["toy"].accuracy == from_file.protocols["toy"].accuracy
    assert from_module.fingerprint != from_file.fingerprint
    assert json.loads((tmp_path / "a" / "result.json").read_text())["fingerprint"] == from_file.fingerprint
    scores = [read_scores(tmp_path / name / "scores.npz")["toy"]["scores"] for name in "ab"]
    np.testing.assert_allclose(*scores, atol=1e-6)
    assert compare_results(tmp_path / "a", tmp_path / "b")["toy"].value == 0


def test_what_cannot_be_evaluated_is_said(sets):
    with pytest.raises(InputError, match=r"lfw is neither a set in .* nor a path that exists; give a path, or"):
        evaluate(raw_pixels, ["lfw"], test_sets_dir=sets)
    with pytest.raises(
        InputError, match=r"render it with .*generate protocols render_groups, and give runs/protocols/render_v"
    ):
        evaluate(raw_pixels, ["render_groups"], test_sets_dir=sets)
    with pytest.raises(InputError, match="no test sets to evaluate on"):
        evaluate(raw_pixels, [])
    with pytest.raises(InputError, match="network is a int; give the path of a network's file, or a callable"):
        evaluate(3, ["toy"], test_sets_dir=sets)
    with pytest.raises(InputError, match=r"gone.onnx does not exist; give a .safetensors, .pth, .ckpt or .onnx file"):
        evaluate("gone.onnx", ["toy"], device="cpu", test_sets_dir=sets)
    with pytest.raises(InputError, match=r"two test sets are called toy, one of them .*toy; rename one"):
        evaluate(raw_pixels, [sets / "toy.bin", FORMATS / "toy"])


def test_sets_keep_the_names_they_are_asked_for_by(tmp_path):
    """``five`` is a list of sets, and a set in a folder ``lfw`` with ``pairs_LFW.txt`` is ``lfw``."""
    for name in ("lfw", "cfp_fp", "agedb_30", "calfw", "cplfw"):
        names = [f"p{i}/{j}.png" for i in range(10) for j in (0, 1)]
        folder = write_folder(tmp_path / name, names)
        genuine = [f"p{i}/0.png p{i}/1.png 1\n" for i in range(10)]
        impostor = [f"p{i}/0.png p{(i + 1) % 10}/1.png 0\n" for i in range(10)]
        lines = [line for pair in zip(genuine, impostor, strict=True) for line in pair]
        (folder / f"pairs_{name.upper()}x.txt").write_text("".join(lines))
    card = evaluate(raw_pixels, ["five"], test_sets_dir=tmp_path)
    assert list(card.protocols) == ["lfw", "cfp_fp", "agedb_30", "calfw", "cplfw"]
    with pytest.raises(InputError, match=r"xxx \.\.\. xxx.* is neither a set in"):
        evaluate(raw_pixels, ["x" * 5000], test_sets_dir=tmp_path)
