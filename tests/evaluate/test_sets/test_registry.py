"""Versions of test sets are known by SHA-256; the leaderboard notes unregistered ones and unexpected pair counts."""

import pytest
from results import make_protocol_result, make_result

from bench.config.benchmarks import protocol_names
from bench.errors import InputError
from bench.runs.inputs import find_protocol
from evaluate.leaderboard.protocol_names import FIVE
from evaluate.leaderboard.read import Result
from evaluate.leaderboard.tables import make_tables
from evaluate.test_sets.registry import (
    HARD,
    REGISTRY,
    find_test_set,
    in_mean,
    is_unregistered,
    known_version,
    unexpected_num_pairs,
)


@pytest.mark.parametrize("name", FIVE)
def test_the_five_sets_are_there_with_their_pairs(name):
    assert REGISTRY[name].num_pairs == (7000 if name == "cfp_fp" else 6000)
    assert "gaunernst" in REGISTRY[name].hub.page
    assert REGISTRY[name].hub.local_name == f"{name}.bin"


def test_digests_are_digests():
    for known in REGISTRY.values():
        assert all(len(digest) == 64 and int(digest, 16) for digest in known.versions)


def test_known_and_unregistered_versions():
    digest = next(iter(REGISTRY["lfw"].versions))
    known = make_protocol_result(0.9, num_pairs=6000).model_copy(update={"sha256": digest})
    assert "official pairs" in known_version("lfw", digest)
    assert not is_unregistered("lfw", known)
    assert is_unregistered("cfp_fp", known)
    assert is_unregistered("my_own_set", known)
    assert not is_unregistered("render_lfw", make_protocol_result(0.9))
    assert unexpected_num_pairs("lfw", known) is None
    assert unexpected_num_pairs("cfp_fp", known) == 7000
    assert unexpected_num_pairs("my_own_set", known) is None


def test_every_set_of_the_issue_is_there():
    names = {"lfw", "cfp_fp", "cfp_ff", "agedb_30", "calfw", "cplfw"}
    assert names == {name for name, known in REGISTRY.items() if known.hub}
    assert REGISTRY.keys() >= names | {"hadrian", "eclipse", "sllfw", "doppelver", "twins"}
    assert all(known.source for known in REGISTRY.values())
    with pytest.raises(InputError, match=r"'lwf' is unknown; did you mean lfw"):
        find_test_set("lwf")


def test_later_names_are_the_same_sets(tmp_path):
    assert find_test_set("hadrian_even") is find_test_set("hadrian")
    assert protocol_names(["lfw", "twins_very_easy", "twins"]) == ["lfw", "twins"]
    (tmp_path / "eclipse_even.xz").touch()
    assert find_protocol("eclipse", tmp_path) == tmp_path / "eclipse_even.xz"
    assert find_protocol("hadrian", tmp_path) is None
    (tmp_path / "eclipse.xz").touch()
    assert find_protocol("eclipse", tmp_path) == tmp_path / "eclipse.xz"


def test_hard_sets_do_not_enter_a_mean_of_others():
    assert set(HARD) <= REGISTRY.keys()
    assert in_mean([*FIVE, "xqlfw", "twins"]) == list(FIVE)
    assert in_mean(["xqlfw", "twins"]) == ["xqlfw", "twins"]


def test_versions_of_one_name_differ():
    accuracies = REGISTRY["cfp_fp"].yardstick_accuracies.values()
    assert round(100 * (max(accuracies) - min(accuracies)), 2) == 1.68


def test_a_fetched_version_is_known_by_its_record():
    result = make_protocol_result(0.9, num_pairs=6000)
    assert is_unregistered("agedb_30", result)
    assert not is_unregistered("agedb_30", result.model_copy(update={"copy_known_as": "Hub dataset, commit 1"}))


def test_the_leaderboard_marks_them():
    row = make_tables([Result(make_result(protocols=("lfw",)))])[0].rows[0]
    assert row.notes == (
        "measured on copies that are not registered: LFW",
        "LFW has 600 pairs instead of the published 6,000",
    )
    rendered = make_tables([Result(make_result())])[0].rows[0]
    assert rendered.notes == ()
