"""Subsets: as asked for, equal for equal seeds, and nested; a slow drawing gives the same faces."""

import numpy as np
import pytest

from bench.errors import InputError
from bench.faces.mixture.subset import Subset, choose_subset, face_ranks, first_faces

IDS = np.repeat(np.arange(12), [1, 2, 3, 4, 5, 6, 6, 6, 6, 7, 8, 9])[np.random.default_rng(0).permutation(63)]


def drawn_one_by_one(identity_ids, subset, seed):
    """The rule in plain words: sort the identities, and of each the faces, by their random numbers; take the first."""
    of_identity = np.random.default_rng([seed, 0]).random(identity_ids.max() + 1)
    of_face = np.random.default_rng([seed, 1]).random(len(identity_ids))
    identities = [i for i in range(len(of_identity)) if (identity_ids == i).sum() >= subset.min_images_per_identity]
    identities = sorted(identities, key=lambda i: of_identity[i])[: subset.identities]
    limit = min(subset.images_per_identity or 99, subset.max_images_per_identity or 99)
    faces = []
    for identity in identities:
        own = [face for face in range(len(identity_ids)) if identity_ids[face] == identity]
        faces += sorted(own, key=lambda face: of_face[face])[:limit]
    return sorted(faces)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "subset",
    [
        Subset(),
        Subset(identities=5),
        Subset(max_images_per_identity=3),
        Subset(identities=4, images_per_identity=5, min_images_per_identity=6),
        Subset(identities=7, max_images_per_identity=6, min_images_per_identity=2),
    ],
)
def test_it_is_drawn_as_the_rule_says(subset, seed):
    assert choose_subset(IDS, subset, seed=seed).tolist() == drawn_one_by_one(IDS, subset, seed)


def test_it_has_exactly_the_identities_and_images():
    chosen = choose_subset(IDS, Subset(identities=3, images_per_identity=4, min_images_per_identity=4), seed=1)
    assert np.unique(IDS[chosen], return_counts=True)[1].tolist() == [4, 4, 4]


@pytest.mark.parametrize("seed", range(3))
def test_the_smaller_lies_in_the_larger(seed):
    def subset(identities, images):
        asked = Subset(identities=identities, images_per_identity=images, min_images_per_identity=6)
        return set(choose_subset(IDS, asked, seed=seed).tolist())

    for identities in range(1, 8):
        for images in range(1, 7):
            small = subset(identities, images)
            assert small <= subset(identities, min(images + 1, 6))
            assert small <= subset(min(identities + 1, 7), images)


def test_seeds_draw_differently():
    draws = {tuple(choose_subset(IDS, Subset(identities=4), seed=seed)) for seed in range(5)}
    assert len(draws) == 5


@pytest.mark.parametrize("by", ["identities", "images"])
def test_first_faces_are_nested_and_fill_as_told(by):
    before = set()
    for num_faces in range(1, len(IDS) + 1):
        chosen = first_faces(IDS, num_faces, by=by, seed=3)
        assert len(chosen) == num_faces
        assert before <= set(chosen.tolist())
        before = set(chosen.tolist())
        counts = np.bincount(IDS[chosen], minlength=12)
        cut = (counts < np.bincount(IDS)) & (counts > 0)
        assert by == "images" or cut.sum() <= 1, "one identity after the other"
    first = first_faces(IDS, 12, by="images", seed=3)
    assert sorted(IDS[first]) == list(range(12)), "one face of every identity first"


def test_ranks_count_the_faces_of_each_identity():
    ranks = face_ranks(IDS, 7)
    for identity in range(12):
        assert sorted(ranks[identity == IDS]) == list(range((identity == IDS).sum()))


@pytest.mark.parametrize(
    ("subset", "message"),
    [
        (Subset(identities=13), r"identities=13, but the dataset has 12; give at most 12"),
        (
            Subset(identities=9, min_images_per_identity=6),
            r"identities=9, but the dataset has 7 with at least 6 images; give at most 7",
        ),
        (
            Subset(images_per_identity=6),
            r"images_per_identity=6, but 5 of 12 identities have fewer, as few as 1; lower it, set min_images",
        ),
        (Subset(min_images_per_identity=10), r"no identity has min_images_per_identity=10 images, the most is 9"),
    ],
)
def test_a_subset_larger_than_its_set_is_refused(subset, message):
    with pytest.raises(InputError, match=message):
        choose_subset(IDS, subset, seed=0)
