"""Groups and searches in an evaluation, and the two commands, on folders of made-up faces."""

import json
import re

import numpy as np
import pytest
from verification_images import write_folder

from bench.errors import InputError
from bench.runs.cards import ResultCard, read_card
from evaluate.__main__ import main
from evaluate.measure.groups import resampling
from evaluate.measure.result import describe_result, evaluate

PEOPLE, IMAGES = 24, 6


def embed_colours(images):
    """Unnormalised features of the colours of an image."""
    import torch

    return torch.nn.functional.avg_pool2d(images, 28).flatten(1)


@pytest.fixture
def sets(tmp_path):
    """Noisy faces of 24 people, packed once with groups and once with roles."""
    rng = np.random.default_rng(0)
    looks = rng.integers(60, 190, (PEOPLE, 3, 7, 7)).repeat(IMAGES, axis=0)
    blocks = np.clip(looks + rng.integers(-50, 50, looks.shape), 0, 255).astype(np.uint8)
    faces = blocks.repeat(16, axis=2).repeat(16, axis=3)
    for name in ("made_groups", "made_gallery"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / f"{name}.npy", faces)
    people, images = np.divmod(np.arange(PEOPLE * IMAGES), IMAGES)
    lines = ["identity,half", *(f"p{person:02},{'ab'[person % 2]}" for person in people)]
    (tmp_path / "made_groups" / "groups.csv").write_text("\n".join(lines) + "\n")
    lines = ["identity,role"]
    for person, image in zip(people, images, strict=True):  # the last four people are strangers, the four before
        is_stranger, is_distractor = person >= 20, 16 <= person < 20  # distractors with images of their own
        role = "probe" if is_stranger or (image and not is_distractor) else "distractor" if is_distractor else "gallery"
        lines.append(f"p{person:02},{role}")
    (tmp_path / "made_gallery" / "searches.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


@pytest.fixture
def few_resamples(monkeypatch):
    for name in ("estimate_groups", "shuffled_measures"):
        defaults = dict(getattr(resampling, name).__kwdefaults__)
        few = {key: 50 if key.startswith("num_") else value for key, value in defaults.items()}
        monkeypatch.setattr(getattr(resampling, name), "__kwdefaults__", few)


@pytest.mark.usefixtures("few_resamples")
def test_an_evaluation_holds_groups_and_searches_and_no_accuracy(sets, tmp_path, monkeypatch):
    monkeypatch.setattr("evaluate.measure.groups.measure.FMRS", ("1e-1", "1e-2"))
    monkeypatch.setattr("evaluate.measure.result.FMRS", ("1e-1", "1e-2"))
    paths = [sets / "made_groups", sets / "made_gallery"]
    card = evaluate(embed_colours, paths, result_dir=tmp_path / "result")
    assert card.protocols == {} and card.mean_accuracy is None
    errors = card.group_errors["made_groups"].attributes["half"]["1e-1"]
    assert [group.group for group in errors.groups] == ["a", "b"]
    assert errors.groups[0].num_impostors == 72 * 71 // 2 - 12 * 15
    found = card.identification["made_gallery"].galleries["gallery"]
    assert (found.num_enrolled, found.num_mated, found.num_non_mated) == (16 + 24, 80, 24)
    assert found.rank["1"] > 0.5 and found.tpir_at_fpir["1e-1"] is not None and found.tpir_at_fpir["1e-2"] is None
    assert read_card(tmp_path / "result", ResultCard) == card
    assert describe_result(card).startswith("made_gallery rank-1 ")
    assert evaluate(embed_colours, paths[1:]).fingerprint != card.fingerprint


@pytest.fixture
def run(monkeypatch, capsys):
    monkeypatch.setattr("evaluate.measure.embed.load_network", lambda path, device="cpu": embed_colours)
    for module in ("groups", "identification"):
        monkeypatch.setattr(f"evaluate.measure.{module}.report.load_network", lambda path, device: embed_colours)

    def call(*words):
        monkeypatch.setattr("sys.argv", ["evaluate", *map(str, words)])
        assert main() == 0
        return capsys.readouterr().out

    return call


@pytest.mark.usefixtures("few_resamples")
def test_the_command_groups_prints_tables_and_writes_a_page(sets, tmp_path, run):
    out = tmp_path / "out"
    words = ["groups", "net.onnx", sets / "made_groups", "--fmr", "1e-1", "--out", out, "--device", "cpu"]
    text = run(*words, "--against", "net.onnx")
    assert "## half, FMR 1e-1" in text and "| a | 12 | 72 | 2,376 | 180 |" in text
    assert "## net minus net: half, FMR 1e-1" in text and "| garbe |" in text
    content = json.loads((out / "groups.json").read_text())
    assert content["num_identities"] == 24
    page = (out / "groups.html").read_text()
    assert page.count("<svg") == 3 and "DET by group" in page
    with pytest.raises(InputError, match="FMR 1e-2 needs 3,000 impostor comparisons in every group"):
        run("groups", "net.onnx", sets / "made_groups", "--out", out)
    with pytest.raises(InputError, match=r"false match rate '0\.5' is unknown"):
        run("groups", "net.onnx", sets / "made_groups", "--fmr", "0.5")
    with pytest.raises(InputError, match="attribute 'third' is unknown; "):
        run(*words, "--attributes", "third")


@pytest.mark.parametrize("name", ["made_groups", "made_gallery"])
def test_sets_without_pairs_are_read_and_not_shortened(sets, tmp_path, run, name):
    text = run("shorten", sets / name, "--out", tmp_path / "short.bin")
    assert re.search(r"made_\w+: \d+ images read, not shortened, since it holds no pairs", text)
    assert not (tmp_path / "short.bin").exists()


def test_the_command_identify_prints_rates_and_writes_a_page(sets, tmp_path, run):
    text = run("identify", "net.onnx", sets / "made_gallery", "--out", tmp_path / "out", "--device", "cpu")
    assert "| gallery | 40 | 80 | 24 |" in text
    assert (tmp_path / "out" / "searches.html").read_text().count("<svg") == 2
    with pytest.raises(InputError, match=r"made_groups holds no searches; give a folder with searches\.csv"):
        run("identify", "net.onnx", sets / "made_groups")
    with pytest.raises(
        InputError, match=r"render_gallery does not exist; render it with .* protocols render_gallery, and"
    ):
        run("identify", "net.onnx", tmp_path / "render_gallery")
    with pytest.raises(InputError, match="gone does not exist"):
        run("identify", "net.onnx", tmp_path / "gone")
    (tmp_path / "ijbc" / "meta").mkdir(parents=True)
    with pytest.raises(InputError, match="holds templates; evaluate it with --protocols"):
        run("identify", "net.onnx", tmp_path / "ijbc")


def test_a_folder_of_images_is_searched_too(tmp_path):
    folder = write_folder(tmp_path / "few", ["a.png", "b.png", "c.png"])
    (folder / "searches.csv").write_text("image,identity,role\na.png,x,gallery\nb.png,y,gallery\nc.png,x,probe\n")
    found = evaluate(embed_colours, [folder]).identification["few"]
    assert found.rank.keys() == {"1", "5", "10", "20"} and found.tpir_at_fpir == {"1e-2": None, "1e-1": None}
