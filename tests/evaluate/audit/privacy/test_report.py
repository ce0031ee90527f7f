"""Privacy from end to end: a generator that repeats its training people is seen, one that does not is not."""

import numpy as np
import pytest
import torch
from PIL import Image

from bench.errors import InputError
from bench.faces.open import open_faces
from bench.runs.cards import AuditCard, read_card
from bench.runs.fingerprints import audit_stage
from bench.runs.tracking.fields import audit_metrics
from evaluate.audit.embeddings import Embedder
from evaluate.audit.page import render_audit
from evaluate.audit.privacy.people import open_people, refuse_shared_images
from evaluate.audit.privacy.picture import draw_pairs
from evaluate.audit.run import Comparisons, audit
from evaluate.audit.source import open_source

NUM_MEMBERS, NUM_CONTROLS, EACH = 130, 100, 8
SIDE = 7


def write_people(folder, numbers, *, each, first_image=0):
    """A person is a pattern of 7 x 7 squares, an image of it has noise."""
    for person in numbers:
        pattern = np.random.default_rng([0, person]).integers(40, 215, (SIDE, SIDE, 3))
        (folder / f"p{person:03}").mkdir(parents=True)
        for image in range(first_image, first_image + each):
            noise = np.random.default_rng([1, person, image]).integers(-25, 26, (SIDE, SIDE, 3))
            small = Image.fromarray((pattern + noise).astype(np.uint8))
            small.resize((112, 112), Image.Resampling.NEAREST).save(folder / f"p{person:03}" / f"{image}.png")
    return folder


def sees_squares(images):
    return torch.nn.functional.avg_pool2d(images, 16).flatten(1)


def sees_grey(images):
    return torch.nn.functional.avg_pool2d(images.mean(dim=1, keepdim=True), 16).flatten(1)


FIRST, SECOND = Embedder(sees_squares, "1" * 64, name="squares"), Embedder(sees_grey, "2" * 64, name="grey")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Members, held-out people, and two synthetic sets: new images of 40 members, and images of strangers."""
    tmp_path = tmp_path_factory.mktemp("privacy")
    write_people(tmp_path / "members", range(NUM_MEMBERS), each=EACH)
    write_people(tmp_path / "control", range(200, 200 + NUM_CONTROLS), each=3)
    write_people(tmp_path / "leaky", range(40), each=2, first_image=50)
    write_people(tmp_path / "strangers", range(400, 440), each=2)
    return tmp_path


def measure(world, name, mask=None, **options):
    source = open_source(world / name, mask=mask)
    people = open_people(world / "members", world / "control")
    others = Comparisons(people=people, second_judge=SECOND, **options)
    stage = audit_stage("datasets", (source.name, source.state), {}, None, others=options, runs=world / "runs")
    return audit(stage, source, others, FIRST, cache=world / "cache"), stage.directory


@pytest.mark.slow
def test_a_generator_that_repeats_its_people_is_seen_by_both_judges(world):
    card, directory = measure(world, "leaky")
    privacy = card.privacy
    assert [judge.network for judge in privacy.judges] == ["squares", "grey"]
    assert (privacy.num_members, privacy.num_controls, privacy.num_members_compared) == (NUM_MEMBERS, NUM_CONTROLS, 100)
    for judge in privacy.judges:
        low, _ = judge.membership["centre"].interval
        assert low > 0.5
        assert judge.num_images_above == 80 and judge.num_identities_above == 40
        assert judge.num_control_images_above <= 3
        assert judge.matches.median > judge.control_matches.p99
        assert judge.membership["image"].tpr_at_fpr["1e-3"] is None
    assert privacy.num_kept == len(np.load(directory / "kept.npy")) == 0
    assert privacy.nearest[0].identity == privacy.nearest[0].member
    assert privacy.hashes.median < privacy.control_hashes.median
    assert Image.open(directory / "nearest_pairs.png").size[0] > 900
    assert read_card(directory, AuditCard) == card


@pytest.mark.slow
def test_a_generator_that_does_not_is_no_nearer_than_held_out_people(world):
    card, directory = measure(world, "strangers")
    for judge in card.privacy.judges:
        low, high = judge.membership["centre"].interval
        assert low < 0.5 < high
        assert judge.num_images_above <= 1
        assert judge.matches.median == pytest.approx(judge.control_matches.median, abs=0.05)
    kept = np.load(directory / "kept.npy")
    assert len(kept) == card.privacy.num_kept >= 79
    assert len(open_faces(world / "strangers", directory / "kept.npy")) == len(kept)  # a mask


@pytest.mark.slow
def test_the_mask_of_a_part_counts_in_the_whole_file(world):
    part = np.arange(30, 80)
    np.save(world / "part.npy", part)
    _, directory = measure(world, "strangers", mask=world / "part.npy")
    kept = np.load(directory / "kept.npy")
    assert len(kept) >= 49 and set(kept) <= set(part)


def test_the_page_says_what_was_measured_and_promises_nothing(world):
    card, _ = measure(world, "leaky")
    page = render_audit(card)
    judge = card.privacy.judges[0]
    assert f"AUC of membership {judge.membership['centre'].auc:.3f}" in page
    assert "40 of 40 identities (80 of 80 images) have a nearest training person above it" in page
    assert page.count("Other judges may see more.") >= 2
    for promise in ("privacy-safe", "safe to", "does not exist", "do not exist"):
        assert promise not in page


def test_mlflow_gets_the_figures(world):
    card, _ = measure(world, "leaky")
    metrics = audit_metrics(card)
    assert metrics["audit/privacy/judge2/auc_by_image"] == card.privacy.judges[1].membership["image"].auc
    assert metrics["audit/privacy/judge1/images_above"] == 80
    assert metrics["audit/sharpness"] == card.detail.sharpness
    assert metrics["audit/diversity/vendi_images"] == card.diversity_scores.vendi_images


@pytest.mark.slow
def test_training_images_are_drawn_only_if_asked_for(world, tmp_path):
    _, blank = measure(world, "leaky")
    _, shown = measure(world, "leaky", show_members=True)
    pictures = [np.asarray(Image.open(folder / "nearest_pairs.png")) for folder in (blank, shown)]
    assert (pictures[0][12:124, 12:124] == pictures[1][12:124, 12:124]).all()  # the synthetic image
    right = [picture[12:124, 124:236] for picture in pictures]
    assert len(np.unique(right[0].reshape(-1, 3), axis=0)) < 200 < len(np.unique(right[1].reshape(-1, 3), axis=0)) + 180
    face = np.zeros((112, 112, 3), np.uint8)
    draw_pairs(tmp_path / "one.png", [(face, face, "cosine 1.000")])
    assert Image.open(tmp_path / "one.png").size == (4 * 236 + 12, 142 + 12)


def test_held_out_people_as_a_list_of_names(world, tmp_path):
    names = [f"p{number:03}" for number in range(100, 130)]
    (tmp_path / "held_out.txt").write_text("\n".join(names))
    people = open_people(world / "members", tmp_path / "held_out.txt")
    assert people.controls.identity_names == names
    assert len(people.members.identity_names) == 100 and len(people.members) == 100 * EACH
    assert people.controls.label(0).endswith("p100/0.png")
    np.testing.assert_array_equal(
        people.controls.pixels(EACH), np.asarray(Image.open(world / "members" / "p101" / "0.png"))
    )
    assert people.members.state != people.controls.state
    (tmp_path / "held_out.txt").write_text("nobody\n")
    with pytest.raises(InputError, match="names 1 people, such as 'nobody', who are not in"):
        open_people(world / "members", tmp_path / "held_out.txt")
    (tmp_path / "held_out.txt").write_text("\n".join(f"p{number:03}" for number in range(NUM_MEMBERS)))
    with pytest.raises(InputError, match="names all identities of"):
        open_people(world / "members", tmp_path / "held_out.txt")


def test_people_in_both_sets_are_refused(world, tmp_path):
    with pytest.raises(InputError, match="130 people, such as 'p000', are in"):
        open_people(world / "members", world / "members")
    copy = tmp_path / "control"
    write_people(copy, [300], each=2)
    (copy / "p301").mkdir()
    (copy / "p301" / "0.png").write_bytes((world / "members" / "p003" / "1.png").read_bytes())
    from evaluate.audit.images.scan import scan_images

    people = open_people(world / "members", copy)
    scans = [scan_images(source) for source in (people.members, people.controls)]
    with pytest.raises(InputError, match="1 images of control are in members too, pixel by pixel"):
        refuse_shared_images(people, *scans)


def test_one_network_is_one_judge(world):
    source = open_source(world / "leaky")
    people = open_people(world / "members", world / "control")
    twice = Comparisons(people=people, second_judge=FIRST)
    stage = audit_stage("datasets", ("twice", source.state), {}, None, runs=world / "runs")
    with pytest.raises(InputError, match="squares is the same file as squares; give a second network"):
        audit(stage, source, twice, FIRST, cache=world / "cache")
