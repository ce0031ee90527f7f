"""Test sets are known by their bytes; unknown copies and wrong pair counts are said on the leaderboard."""

import pytest
from results import make_protocol_result, make_result

from bench.errors import InputError
from evaluate.test_sets.registry import REGISTRY, describe_copy, find_test_set, is_unknown, wrong_count
from evaluate.leaderboard.protocol_names import FIVE
from evaluate.leaderboard.read import Result
from evaluate.leaderboard.tables import make_tables


@pytest.mark.parametrize("name", FIVE)
def test_the_five_sets_are_there_with_their_pairs(name):
    assert REGISTRY[name].num_pairs == (7000 if name == "cfp_fp" else 6000)
    assert "gaunernst" in REGISTRY[name].hub.page
    assert REGISTRY[name].hub.local_name == f"{name}.bin"


def test_digests_are_digests():
    for known in REGISTRY.values():
        assert all(len(digest) == 64 and int(digest, 16) for digest in known.copies)


def test_known_and_unknown_copies():
    digest = next(iter(REGISTRY["lfw"].copies))
    known = make_protocol_result(0.9, num_pairs=6000).model_copy(update={"sha256": digest})
    assert "official pairs" in describe_copy("lfw", digest)
    assert not is_unknown("lfw", known)
    assert is_unknown("cfp_fp", known)
    assert is_unknown("my_own_set", known)
    assert not is_unknown("render_lfw", make_protocol_result(0.9))
    assert wrong_count("lfw", known) is None
    assert wrong_count("cfp_fp", known) == 7000
    assert wrong_count("my_own_set", known) is None


def test_every_set_of_the_issue_is_there():
    names = {"lfw", "cfp_fp", "cfp_ff", "agedb_30", "calfw", "cplfw"}
    assert names == {name for name, known in REGISTRY.items() if known.hub}
    assert REGISTRY.keys() >= names | {"hadrian", "eclipse", "sllfw", "doppelver", "twins"}
    assert all(known.ask for known in REGISTRY.values())
    with pytest.raises(InputError, match=r"'lwf' is unknown; did you mean lfw"):
        find_test_set("lwf")


def test_copies_of_one_name_differ():
    accuracies = REGISTRY["cfp_fp"].yardstick_accuracies.values()
    assert round(100 * (max(accuracies) - min(accuracies)), 2) == 1.68


def test_a_fetched_copy_is_known_by_its_record():
    result = make_protocol_result(0.9, num_pairs=6000)
    assert is_unknown("agedb_30", result)
    assert not is_unknown("agedb_30", result.model_copy(update={"copy_known_as": "Hub dataset, commit 1"}))


def test_the_leaderboard_marks_them():
    row = make_tables([Result(make_result(protocols=("lfw",)))])[0].rows[0]
    assert row.notes == (
        "measured on copies that are not registered: LFW",
        "LFW has 600 pairs instead of the published 6,000",
    )
    rendered = make_tables([Result(make_result())])[0].rows[0]
    assert rendered.notes == ()
