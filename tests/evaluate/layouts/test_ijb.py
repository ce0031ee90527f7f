"""IJB's template protocol on a miniature in the official layout, against a slow implementation."""

import json
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from PIL import Image

from bench.errors import InputError
from bench.faces.alignment.align import align
from bench.faces.face import ARCFACE_TEMPLATE
from bench.runs.fingerprints import model_stage
from evaluate.layouts.ijb.templates import is_template_set, load_templates
from evaluate.measure.checks import contradictions
from evaluate.measure.embed import feature_batches
from evaluate.measure.result import describe_result, evaluate, evaluate_network
from evaluate.measure.rows import model_row
from evaluate.measure.templates import pair_scores, pool_templates, verify_templates
from evaluate.metrics import FARS, tar_at_far

NUM_PEOPLE, EACH = 8, 3  # templates of a person


def network(images):
    """Unnormalised features of the colours of an image, which change when it is mirrored."""
    return torch.nn.functional.avg_pool2d(images, 28).flatten(1) * 3


def write_miniature(folder, name="ijbb"):
    """Eight people, three templates each, of one to three media with one to three faces, turned, in large pictures."""
    rng = np.random.default_rng(0)
    (folder / "meta").mkdir(parents=True)
    (folder / "loose_crop").mkdir()
    faces, points = [], []
    for template in range(NUM_PEOPLE * EACH):
        look = np.random.default_rng([1, template % NUM_PEOPLE]).integers(0, 255, (4, 4, 3))
        for media in range(rng.integers(1, 4)):
            for _ in range(rng.integers(1, 4)):
                name_of_face = f"{len(faces) + 1}.png"
                pixels = np.clip(look + rng.integers(-40, 40, (4, 4, 3)), 0, 255).astype(np.uint8)
                small = Image.fromarray(pixels).resize((160, 140), Image.Resampling.BICUBIC)
                small.save(folder / "loose_crop" / name_of_face)
                # published template and media numbers have gaps, and media numbers are shared between templates
                faces.append(f"{name_of_face} {10 * template + 5} {media + 100 * (template % 2)}")
                landmarks = ARCFACE_TEMPLATE * rng.uniform(0.9, 1.2) + rng.normal(0, 2, (5, 2)) + (20, 10)
                numbers = " ".join(f"{value:.3f}" for value in landmarks.ravel())
                points.append(f"{name_of_face} {numbers} {rng.uniform(0.6, 1):.4f}")
    pairs = [
        f"{10 * a + 5} {10 * b + 5} {int(a % NUM_PEOPLE == b % NUM_PEOPLE)}"
        for a, b in combinations(range(NUM_PEOPLE * EACH), 2)
    ]
    for ending, lines in (("face_tid_mid", faces), ("name_5pts_score", points), ("template_pair_label", pairs)):
        (folder / "meta" / f"{name}_{ending}.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def miniature(tmp_path_factory):
    return write_miniature(tmp_path_factory.mktemp("sets") / "ijbb")


def slow_scores(folder):
    """insightface's protocol, line by line of its lists, face by face."""
    read = lambda ending: [line.split() for line in (folder / "meta" / f"ijbb_{ending}.txt").open()]  # noqa: E731
    features = {}
    for name, *numbers in read("name_5pts_score"):
        points, score = np.reshape([float(one) for one in numbers[:10]], (5, 2)), float(numbers[10])
        face = align(np.asarray(Image.open(folder / "loose_crop" / name)), points)
        pixels = ((torch.tensor(face).permute(2, 0, 1)[None].float() / 255) - 0.5) / 0.5
        features[name] = (network(pixels) + network(pixels.flip(3)))[0].double().numpy() * score
    templates = {}
    for name, template, media in read("face_tid_mid"):
        templates.setdefault(template, {}).setdefault(media, []).append(features[name])
    pooled = {key: sum(np.mean(faces, axis=0) for faces in media.values()) for key, media in templates.items()}
    unit = {key: value / np.linalg.norm(value) for key, value in pooled.items()}
    rows = read("template_pair_label")
    return np.array([unit[a] @ unit[b] for a, b, _ in rows]), np.array([label == "1" for _, _, label in rows])


def test_scores_are_those_of_the_protocol_spelt_out(miniature):
    templates = load_templates(miniature)
    assert (templates.name, templates.num_templates) == ("ijbb", 24)
    batches = list(feature_batches(network, templates.faces, batch_size=7))
    scores = pair_scores(pool_templates(batches, templates), templates.pairs)
    expected, is_genuine = slow_scores(miniature)
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    np.testing.assert_array_equal(templates.is_genuine, is_genuine)
    result = verify_templates(batches, templates)
    assert (result.num_pairs, result.num_impostors) == (276, 252)
    assert (result.num_templates, result.num_images) == (24, len(templates.faces))
    for far in FARS:
        tar = tar_at_far(expected, is_genuine, float(far)) if float(far) * 252 >= 1 else None
        assert result.tar_at_far[far] == tar, far
    assert result.tar_at_far["1e-1"] > 0


def test_scores_in_blocks_are_the_same(monkeypatch):
    features = np.random.default_rng(0).standard_normal((9, 16)).astype(np.float32)
    pairs = np.random.default_rng(1).integers(0, 9, (100, 2), dtype=np.int32)
    monkeypatch.setattr("evaluate.measure.templates._PAIRS_PER_BLOCK", 7)
    expected = [features[a] @ features[b] for a, b in pairs]
    np.testing.assert_allclose(pair_scores(features, pairs), expected, rtol=1e-5)


def test_pairs_are_read_in_blocks(miniature, monkeypatch):
    whole = load_templates(miniature)
    monkeypatch.setattr("evaluate.layouts.ijb.templates._LINES_PER_BLOCK", 2)
    parts = load_templates(miniature)
    np.testing.assert_array_equal(whole.pairs, parts.pairs)
    np.testing.assert_array_equal(whole.is_genuine, parts.is_genuine)
    assert whole.sha256 == parts.sha256


def test_one_card_of_a_network_on_templates_alone(miniature, tmp_path):
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"weights")
    stage = model_stage(weights, ["ijbb"], runs=tmp_path / "runs", test_sets=miniature.parent)
    row = model_row(weights, "0" * 64)
    card = evaluate_network(stage, lambda: network, {miniature: "ijbb"}, device="cpu", seed=0, row=row)
    assert card.protocols == {}
    assert card.mean_accuracy is None
    assert card.templates["ijbb"].tar_at_far["1e-6"] is None
    assert contradictions(card) == []
    assert describe_result(card).startswith("ijbb TAR ")
    assert json.loads((stage.directory / "result.json").read_text())["templates"]["ijbb"]["num_pairs"] == 276


@pytest.mark.slow
def test_galleries_are_searched_along_with_the_pairs(tmp_path):
    folder = write_miniature(tmp_path / "ijbc", "ijbc")
    header = "TEMPLATE_ID,SUBJECT_ID,FILE\n"
    person = lambda template: template % NUM_PEOPLE  # noqa: E731
    lists = {"gallery_G1": range(4), "gallery_G2": range(4, 8), "probe_mixed": range(8, 24)}
    for name, templates in lists.items():
        lines = [f"{10 * template + 5},{person(template)},{i}.png\n" for template in templates for i in range(2)]
        (folder / "meta" / f"ijbc_1N_{name}.csv").write_text(header + "".join(lines))
    card = evaluate(network, folder)
    found = card.identification["ijbc"]
    assert {
        name: (each.num_enrolled, each.num_mated, each.num_non_mated) for name, each in found.galleries.items()
    } == {
        "G1": (4, 8, 8),
        "G2": (4, 8, 8),
    }
    features = pool_templates(feature_batches(network, load_templates(folder).faces), load_templates(folder))
    slow = [
        features[probe] @ features[person(probe)] > max(features[probe] @ features[other]
        for other in range(person(probe) // 4 * 4, person(probe) // 4 * 4 + 4) if other != person(probe))
        for probe in range(8, 24)
    ]  # fmt: skip
    assert found.rank["1"] == np.mean(slow) > 0.5
    assert found.sha256 != card.templates["ijbc"].sha256
    assert contradictions(card) == []


@pytest.mark.parametrize(
    ("ending", "old", "new", "message"),
    [
        ("face_tid_mid", "1.png 5", "1.png five", r"line 1 is '1.png five .*'; needs 'image template media'"),
        (
            "face_tid_mid",
            "1.png 5",
            "one.png 5",
            r"name_5pts_score.txt lacks 1 faces of ijbb_face_tid_mid.txt: one.png",
        ),
        ("template_pair_label", "5 15 0", "5 15 2", r"has lines that are not 'template template 0|1'"),
        (
            "template_pair_label",
            "5 15 0",
            "5 15 x",
            r"template_pair_label.txt: .*; needs lines 'template template 0|1'",
        ),
        ("template_pair_label", "5 15 0", "5 7 0", r"names 1 templates without faces, such as 7"),
        ("template_pair_label", "5 15 0", "5 5 1", r"pairs 1 templates with themselves, such as 5; correct the list"),
    ],
)
def test_wrong_lists_are_named(tmp_path, ending, old, new, message):
    folder = write_miniature(tmp_path / "ijbb")
    path = folder / "meta" / f"ijbb_{ending}.txt"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        load_templates(folder)


def test_missing_and_broken_faces_are_counted(tmp_path):
    folder = write_miniature(tmp_path / "ijbb")
    (folder / "loose_crop" / "2.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"ijbb: 1 of \d+ files are not images: 2.png does not decode; replace them$"):
        load_templates(folder)
    (folder / "loose_crop" / "2.png").unlink()
    with pytest.raises(InputError, match=r"loose_crop lacks 1 of \d+ faces: 2.png; unpack it again"):
        load_templates(folder)
    (folder / "meta" / "ijbb_face_tid_mid.txt").unlink()
    with pytest.raises(InputError, match=r"meta holds 0 files \*_face_tid_mid.txt; needs one"):
        load_templates(folder)
    assert is_template_set(folder)
    assert not is_template_set(tmp_path)


def test_features_that_are_not_finite_name_the_faces(miniature):
    templates = load_templates(miniature)
    batches = list(feature_batches(network, templates.faces, batch_size=4))
    batches[1] = (batches[1][0], batches[1][1].clone())
    batches[1][1][2] = torch.nan
    with pytest.raises(InputError, match=r"ijbb: features of 7.png are not finite; inspect these images, or evaluate"):
        pool_templates(batches, templates)


@pytest.mark.parametrize(
    ("ending", "old", "new", "message"),
    [
        ("face_tid_mid", "1.png 5", "1.png ²", r"line 1 is '1.png ² .*'; needs 'image template media'"),
        ("face_tid_mid", "1.png 5", f"1.png {'9' * 30}", r"line 1 is '1.png 999.*'; needs 'image template media'"),
        ("face_tid_mid", "1.png 5", f"{'x' * 5000}.png 5", r"name_5pts_score.txt lacks 1 faces"),
        ("template_pair_label", "5 15 0", f"5 {'9' * 30} 0", "template_pair_label.txt: .*; needs lines 'template"),
        ("template_pair_label", "5 15 0", "5 15 \xff", "template_pair_label.txt: .*; needs lines 'template"),
    ],
)
def test_numbers_and_texts_that_are_none(tmp_path, ending, old, new, message):
    folder = write_miniature(tmp_path / "ijbb")
    path = folder / "meta" / f"ijbb_{ending}.txt"
    encoding = "latin1" if "\xff" in new else "utf-8"
    path.write_bytes(path.read_text().replace(old, new, 1).encode(encoding))
    with pytest.raises(InputError, match=message) as error:
        load_templates(folder)
    assert len(str(error.value)) < 800


def test_what_macos_leaves_beside_the_lists_is_not_read(tmp_path, miniature):
    folder = write_miniature(tmp_path / "IJBB")
    for path in list((folder / "meta").iterdir()):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\26\7")
    assert load_templates(folder).sha256 == load_templates(miniature).sha256
    assert load_templates(folder, "mine").name == "mine"


def test_media_numbers_of_any_size_pool_alike(miniature):
    templates = load_templates(miniature)
    batches = list(feature_batches(network, templates.faces))
    large = replace(templates, media_ids=templates.media_ids + 2**62)
    np.testing.assert_array_equal(pool_templates(batches, large), pool_templates(batches, templates))
