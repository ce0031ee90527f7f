"""Candidates that run short: further ones in order, up to a stated cap; and shards that are used again."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small_generation import PLAN, change, make, make_networks

from bench.errors import InputError
from bench.faces.open import open_faces
from generate.draw.dataset_run import DatasetRun
from generate.draw.qualify.adopt import parts_alike

SCARCE = replace(
    change(PLAN, max_cosine=0.65, spare_share=0.0, num_identities=6, images_per_identity=2),
    digests={"filled": "a" * 64},
)
"""A plan whose first candidates are not apart in their images, so that further ones are needed."""


@pytest.fixture(scope="module")
def scarce(tmp_path_factory):
    directory = tmp_path_factory.mktemp("scarce") / "faces"
    return directory, make(directory, SCARCE)


def test_further_candidates_are_drawn_in_order_until_enough_are_kept(scarce):
    directory, drawn = scarce
    assert drawn.num_identities == 6
    assert drawn.statistics.candidates > 6
    assert (directory / "parts" / "candidates-000001.npy").exists()
    first = np.load(directory / "parts" / "candidates.npy")
    assert np.array_equal(np.load(directory / "parts" / "candidates-000001.npy")[: len(first)], first)
    numbers = pd.read_parquet(directory / "faces.parquet")["candidate"].unique()
    assert numbers.tolist() == np.load(directory / "parts" / "kept.npy").tolist()


def test_shards_of_a_round_stay_and_further_ones_begin_behind_them(tmp_path):
    run = DatasetRun(SCARCE, make_networks(), tmp_path, rank=0, world_size=1)
    names = {path.name: list(numbers) for path, numbers in run.shard_ranges("centers", ".npz", (3, 4, 9)).items()}
    assert names == {
        "centers-000000.npz": [0, 1],
        "centers-000001.npz": [2],
        "centers-000001-000001.npz": [3],
        "centers-000002.npz": [4, 5],
        "centers-000003.npz": [6, 7],
        "centers-000004.npz": [8],
    }


def test_interrupted_between_rounds_it_has_the_same_bytes(scarce, tmp_path):
    directory, _ = scarce
    parts = tmp_path / "faces" / "parts"
    parts.mkdir(parents=True)
    for path in (directory / "parts").glob("[!.]*"):
        if not path.name.startswith(("images", "kept", "vectors", "centers-000003")):
            (parts / path.name).write_bytes(path.read_bytes())
    make(tmp_path / "faces", SCARCE)
    for name in ("faces.lmdb", "faces.parquet"):
        assert (tmp_path / "faces" / name).read_bytes() == (directory / name).read_bytes()


@pytest.mark.slow
def test_at_the_cap_shards_stay_and_fewer_identities_use_them(scarce, tmp_path):
    plan = replace(SCARCE, settings=SCARCE.settings.model_copy(update={"max_candidates": 8, "num_identities": 8}))
    with pytest.raises(
        InputError, match=r"(\d) of 8 candidates are separated, but num_identities=8; set num_id"
    ) as error:
        make(tmp_path / "many", plan)
    num_kept = int(str(error.value).split(" of 8 candidates")[0][-1])
    before = {path.name: path.read_bytes() for path in (tmp_path / "many" / "parts").glob("centers-*")}
    assert len(before) == 4
    fewer = replace(plan, settings=plan.settings.model_copy(update={"num_identities": num_kept}))
    (tmp_path / "alone" / "faces").parent.mkdir()
    make(tmp_path / "fewer", fewer)
    taken = {path.name: path.read_bytes() for path in (tmp_path / "fewer" / "parts").glob("centers-*")}
    whole = set(before) - {"centers-000002.npz"}  # five candidates end in the middle of it
    assert {name: taken[name] for name in whole} == {name: before[name] for name in whole}
    make(tmp_path / "alone" / "faces", fewer)
    assert len(open_faces(tmp_path / "fewer" / "faces.lmdb")) == 2 * num_kept
    for name in ("faces.lmdb", "faces.parquet"):
        assert (tmp_path / "fewer" / name).read_bytes() == (tmp_path / "alone" / "faces" / name).read_bytes()


def test_shards_are_taken_over_and_not_made_again(scarce, tmp_path, monkeypatch):
    directory, _ = scarce
    (tmp_path / "old").symlink_to(directory)
    made = []
    monkeypatch.setattr(
        "generate.draw.identities_round._make_centers", lambda run, candidates, path, numbers: made.append(path.name)
    )
    plan = replace(SCARCE, settings=SCARCE.settings.model_copy(update={"max_candidates": 30}))
    make(tmp_path / "new", plan)
    assert not made
    assert (tmp_path / "new" / "faces.lmdb").read_bytes() == (directory / "faces.lmdb").read_bytes()


@pytest.mark.parametrize("changed", [{"max_cosine": 0.66}, {"batch_size": 5}, {"jpeg_quality": 90}])
def test_shards_of_other_settings_are_left_alone(scarce, changed):
    directory, _ = scarce
    other = replace(SCARCE, settings=SCARCE.settings.model_copy(update=changed))
    beside = directory.parent / "other" / "parts"
    assert parts_alike(beside, SCARCE.description()) == [directory / "parts"]
    assert parts_alike(beside, replace(SCARCE, digests={"filled": "b" * 64}).description()) == []
    assert parts_alike(beside, replace(SCARCE, digests={}).description()) == []
    assert parts_alike(beside, other.description()) == []
