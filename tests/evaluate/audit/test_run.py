"""The audit from end to end on made-up faces: planted faults appear in the card, the tables and the page."""

import csv
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from bench.errors import InputError
from bench.faces.convert import convert
from bench.faces.open import open_faces
from bench.runs.card_parts.audit import DuplicatePair, ExactDuplicates, MirrorAxisPart, UniqueIdentities
from bench.runs.cards import AuditCard, read_card
from bench.runs.fingerprints import audit_stage
from evaluate.audit.embeddings import Embedder, cached_embeddings, cached_scan
from evaluate.audit.page import at_a_glance, render_audit
from evaluate.audit.run import Comparisons, audit
from evaluate.audit.source import find_source, find_sources, open_source
from evaluate.layouts.packed import write_bin

NUM_IDENTITIES, EACH = 6, 4


def face(identity, image, swap=False):
    """Red shows the identity, blue is noise of the image: a network that looks at red sees people."""
    red, blue = (
        np.random.default_rng(seed).integers(0, 255, (8, 8), dtype=np.uint8)
        for seed in ([0, identity], [1, identity, image])
    )
    shade = np.random.default_rng([2, identity, image]).integers(0, 25, (8, 8))
    channels = [np.clip(red * 0.9 + shade, 0, 255).astype(np.uint8), np.full((8, 8), 90, np.uint8), blue]
    small = np.stack(channels[::-1] if swap else channels, axis=2)
    return Image.fromarray(small).resize((112, 112), Image.Resampling.NEAREST)


def write_faces(folder, identities, *, first_image=0, swap=False):
    for identity in identities:
        (folder / f"person{identity}").mkdir(parents=True)
        for image in range(first_image, first_image + EACH):
            face(identity, image, swap).save(folder / f"person{identity}" / f"{image}.png")
    return folder


def sees_red(images):
    """Features: the red channel in 8 x 8, less its mean."""
    red = torch.nn.functional.avg_pool2d(images[:, :1], 14).flatten(1)
    return red - red.mean(dim=1, keepdim=True)


EMBEDDER = Embedder(sees_red, "5" * 64, estimators={"quality": lambda images: images.mean(dim=(1, 2, 3))})


def run(tmp_path, source, references=(), embedder=EMBEDDER, real=None):
    stage = audit_stage("datasets", (source.name, source.state), {}, None, runs=tmp_path / "runs")
    return audit(stage, source, Comparisons(references, real), embedder, cache=tmp_path / "cache"), stage.directory


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """Faces 0-5 with one duplicate under another name and a broken file, against other images of faces 4 and 5."""
    tmp_path = tmp_path_factory.mktemp("audit")
    folder = write_faces(tmp_path / "mine", range(NUM_IDENTITIES))
    face(0, 0).save(folder / "person3" / "copy.png")
    (folder / "person2" / "9.png").write_bytes(b"no image")
    reference = write_faces(tmp_path / "reference", [4, 5, 7, 8], first_image=10)
    card, directory = run(tmp_path, open_source(folder), [open_source(reference)])
    return tmp_path, card, directory


def test_what_was_planted_is_found(audited):
    _, card, _ = audited
    assert (card.num_images, card.num_identities) == (26, 6)
    assert card.images.num_broken == 1
    assert card.images.broken[0].startswith("person2/9.png does not decode")
    assert card.duplicates.exact == ExactDuplicates(num_images=1, num_images_across_identities=1)
    assert card.duplicates.across_identities[0] == DuplicatePair(
        first="person0/0.png", second="person3/copy.png", bits=0
    )
    assert card.separation.unique["0.4"] == UniqueIdentities(kept=6, earlier=6)
    assert card.consistency.lowest[0].image == "person3/copy.png"
    assert card.pairs.fisher_ratio > 5
    assert card.diversity["quality"].num == 25
    assert card.diversity["magnitude"].min > 0
    assert card.colour_order.order == "RGB"


def test_leaked_identities_are_found_and_no_others(audited):
    _, card, directory = audited
    (leakage,) = card.leakage
    assert leakage.reference == "reference"
    assert {(shared.identity, shared.reference_identity) for shared in leakage.identities} == {
        ("person4", "person4"),
        ("person5", "person5"),
    }
    assert leakage.num_identities_above == 2
    assert leakage.share_of_images_above["0.5"] == pytest.approx(8 / 25)
    with (directory / "leakage_reference.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["identity"] for row in rows] == [shared.identity for shared in leakage.identities]


def test_card_and_page_say_the_same(audited):
    _, card, directory = audited
    stored = read_card(directory, AuditCard)
    assert stored == card
    page = (directory / "audit.html").read_text()
    assert page == render_audit(stored)
    for _, value, _ in at_a_glance(card):
        assert value in page
    assert "<img" not in page
    values = json.dumps(card.model_dump(mode="json"))
    for shown in re.findall(r"<td>(\d\.\d{3})</td>", page):
        assert any(f"{float(number):.3f}" == shown for number in re.findall(r"-?\d+\.\d+(?:e-?\d+)?", values)), shown


@pytest.mark.parametrize(
    ("left", "value"), [(8.0, "8 pixels left"), (-4.5, "4.5 pixels right"), (0.5, "in the middle")]
)
def test_the_page_says_where_faces_lie(audited, left, value):
    _, card, _ = audited
    axis = MirrorAxisPart(pixels_left=left, symmetry=0.99, num_faces=1000)
    images = card.images.model_copy(update={"mirror_axis": axis})
    glance = at_a_glance(card.model_copy(update={"images": images}))
    ((shown, meaning),) = [row[1:] for row in glance if row[0] == "Mirror axis"]
    assert shown == value
    assert ("--shift-right" in meaning) == (abs(left) >= 1)


def test_quality_against_real_faces(audited):
    """Other images of the same people are near, other people with the colours exchanged are far and as sharp."""
    tmp_path, _, _ = audited
    real = open_source(write_faces(tmp_path / "real", range(20, 32)))
    cards = {}
    for name, identities in (("near", range(20, 28)), ("far", range(40, 48))):
        source = open_source(write_faces(tmp_path / name, identities, first_image=30))
        cards[name], directory = run(tmp_path, source, real=real)
        assert read_card(directory, AuditCard) == cards[name]
    near, far = (cards[name].quality for name in ("near", "far"))
    assert near.num_images == 24  # half of the real images
    assert near.real_halves == far.real_halves
    assert near.ours.frechet < far.ours.frechet
    assert near.ours.coverage > far.ours.coverage
    assert near.sharpness_ratio == pytest.approx(1, rel=0.3)
    assert cards["near"].diversity_scores.vendi_identities < 8
    assert "Distance to real faces: real" in (directory / "audit.html").read_text()
    alone = open_source(write_faces(tmp_path / "few", range(2)))
    with pytest.raises(InputError, match="4 images are too few to compare with few"):
        run(tmp_path, real, real=alone)


def test_embeddings_are_computed_once(audited):
    tmp_path, card, _ = audited

    def fails(images):
        raise AssertionError("embedded again")

    again, _ = run(
        tmp_path, open_source(tmp_path / "mine"), embedder=Embedder(sees_red, "5" * 64, "cpu", {"quality": fails})
    )
    assert again.separation == card.separation


def test_another_estimator_of_the_same_name_is_applied(tmp_path):
    source = open_source(write_faces(tmp_path / "mine", range(2)))
    scan = cached_scan(source, tmp_path / "cache")
    for number in (1.0, 2.0):
        estimators = {"quality": lambda images, number=number: images.new_full((len(images),), number)}
        embedder = Embedder(sees_red, "5" * 64, "cpu", estimators, {"quality": str(number)})
        embedded = cached_embeddings(source, scan, embedder, tmp_path / "cache")
        assert set(embedded.values["quality"]) == {number}


@pytest.mark.parametrize("damaged", ["embeddings.npy", "values.npz", "*.npz"])
def test_a_damaged_cache_is_named(tmp_path, damaged):
    source, cache = open_source(write_faces(tmp_path / "mine", range(2))), tmp_path / "cache"

    def measure():
        return cached_embeddings(source, cached_scan(source, cache), Embedder(sees_red, "5" * 64), cache)

    measure()
    (path,) = cache.glob(damaged if "*" in damaged else f"*/{damaged}")
    path.write_bytes(path.read_bytes()[:50])
    problem = rf"{path.name} is not a whole .np[yz] .*; delete it(s folder)?, and run the audit again"
    with pytest.raises(InputError, match=problem):
        measure()


def test_a_rec_is_audited_like_the_folder_that_it_was_made_of(tmp_path):
    folder = write_faces(tmp_path / "mine", range(4))
    convert(open_faces(folder), tmp_path / "packed", "rec")
    cards = []
    for path in (folder, tmp_path / "packed" / "train.rec"):
        card, _ = run(tmp_path, open_source(path))
        cards.append(card)
    assert (cards[1].num_images, cards[1].num_identities) == (4 * EACH, 4)
    assert cards[1].duplicates == cards[0].duplicates
    assert cards[1].pairs == cards[0].pairs
    assert cards[1].separation.unique == cards[0].separation.unique
    assert cards[1].consistency.to_others == cards[0].consistency.to_others


def test_without_a_network_only_the_images(tmp_path):
    card, directory = run(tmp_path, open_source(write_faces(tmp_path / "mine", range(3))), embedder=None)
    assert card.separation is None
    assert "Only the images were measured" in (directory / "audit.html").read_text()


def test_exchanged_channels_are_noticed(tmp_path):
    card, _ = run(tmp_path, open_source(write_faces(tmp_path / "mine", range(6), swap=True)))
    assert card.colour_order.order == "BGR"


def test_a_verification_set_is_a_reference(tmp_path):
    images = [(tmp_path / "mine" / f"person{i}" / "0.png") for i in (1, 1, 2, 0)]
    source = open_source(write_faces(tmp_path / "mine", range(4)))
    write_bin(tmp_path / "pairs.bin", [image.read_bytes() for image in images], [True, False])
    (leakage,) = run(tmp_path, source, [find_source("pairs", tmp_path)])[0].leakage
    assert leakage.reference == "pairs"
    assert leakage.num_images_with_same_pixels == 3
    assert leakage.num_identities_above == 3
    with pytest.raises(InputError, match=r"pairs\.bin is a test set, of which no part can be taken; remove m\.npy"):
        open_source(tmp_path / "pairs.bin", mask="m.npy")
    with pytest.raises(InputError, match="lwf is neither a path nor a set in"):
        find_source("lwf", tmp_path)


def test_embeddings_that_are_not_finite_name_the_images(tmp_path):
    def breaks(images):
        features = sees_red(images)
        features[2] = torch.nan
        return features

    source = open_source(write_faces(tmp_path / "mine", range(2)))
    with pytest.raises(InputError, match=r"embeddings of .*person0/2\.png are not finite; check these images"):
        run(tmp_path, source, embedder=Embedder(breaks, "6" * 64))
    assert not list(tmp_path.rglob("audit.*"))
    assert not list(tmp_path.rglob("embeddings.npy"))


def test_names_are_escaped(audited):
    _, card, _ = audited
    page = render_audit(card.model_copy(update={"name": "<script>alert(1)</script>"}))
    assert "<script>alert" not in page


def test_references_of_one_name_are_named_by_their_folders(tmp_path):
    for folder in ("A", "B"):
        write_faces(tmp_path / folder / "faces", range(2))
    write_faces(tmp_path / "mine", range(3))
    paths = [str(tmp_path / name) for name in ("A/faces", "B/faces", "mine", "A/../A/faces")]
    assert [source.name for source in find_sources(paths, tmp_path)] == ["A_faces", "B_faces", "mine"]
