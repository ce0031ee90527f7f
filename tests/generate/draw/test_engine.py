"""The engine: the same bytes after kills, with two processes and any number of threads; other plans are refused."""

import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_generation import DIM, PLAN, Read, change, make, make_networks

from bench.errors import InputError
from bench.faces.face import decode_image
from bench.faces.open import open_faces
from bench.files import remove_parts
from bench.runs.card_parts.statistics import ImagesPerIdentity
from generate.draw.engine import generate_dataset


class StopError(Exception):
    """Ends a run from within."""


def content(directory):
    faces = open_faces(directory / "faces.lmdb")
    records = (directory / "faces.parquet").read_bytes()
    return [(faces.encoded(i), int(faces.identity_ids[i])) for i in range(len(faces))], records


@pytest.fixture(scope="module")
def server():
    """Processes that are forked from one that has everything imported: they start in milliseconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["small_generation"])
    return context


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    directory = tmp_path_factory.mktemp("whole")
    return directory, make(directory)


def test_dataset_holds_what_the_plan_says(whole):
    directory, drawn = whole
    faces, table = open_faces(directory / "faces.lmdb"), pd.read_parquet(directory / "faces.parquet")
    assert (len(faces), faces.num_identities) == (30, 6)
    assert drawn.num_images == 30
    assert drawn.statistics.images_per_identity == ImagesPerIdentity(min=5, mean=5.0, max=5)
    assert drawn.statistics.attribute_images == 12
    assert drawn.statistics.candidates == 9
    assert table["identity_id"].tolist() == faces.identity_ids.tolist() == np.repeat(range(6), 5).tolist()
    posed = table[table["target_yaw"].notna()]
    assert (posed.groupby("identity_id").size() == 2).all()
    assert sorted(posed["target_yaw"].unique()) == [-1, 1]
    assert (table[table["target_yaw"].isna()].steps == 0).all()
    assert posed.steps.max() > 0
    assert decode_image(faces.encoded(7)).shape == (112, 112, 3)
    assert (directory / "grid.png").exists()


def test_remove_parts_leaves_the_dataset(whole, tmp_path):
    shutil.copytree(whole[0], tmp_path, dirs_exist_ok=True)
    remove_parts(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces.lmdb", "faces.parquet", "grid.png"]
    assert content(tmp_path) == content(whole[0])


def start(server, *args, **kwargs):
    process = server.Process(target=make, args=args, kwargs=kwargs)
    process.start()
    return process


def kill_after(server, directory, num_parts):
    """Kill -9 a run when so many files lie among its parts; whether that hit it while it ran."""
    process = start(server, directory)
    while process.is_alive() and len(list((directory / "parts").glob("*"))) < num_parts:
        time.sleep(0.01)
    is_hit = process.is_alive()
    process.kill()
    process.join(60)
    return is_hit


@pytest.mark.slow
def test_killed_and_ended_by_two_processes_it_has_the_same_bytes(whole, server, tmp_path):
    """Each alone, and killed at random moments, is the slow test below."""
    assert kill_after(server, tmp_path, 11)  # while images are made
    processes = [start(server, tmp_path, rank=rank, world_size=2) for rank in range(2)]
    for process in processes:
        process.join(600)
    assert [process.exitcode for process in processes] == [0, 0]
    assert content(tmp_path) == content(whole[0])


@pytest.mark.slow
def test_64_identities_killed_ten_times_and_by_two_processes(server, tmp_path):
    plan = change(PLAN, num_identities=64, identities_per_shard=4)
    for name in ("whole", "killed", "two"):
        (tmp_path / name).mkdir()
    make(tmp_path / "whole", plan)
    draw = random.Random(1)
    for _ in range(10):
        process = start(server, tmp_path / "killed", plan)
        time.sleep(draw.uniform(0.3, 3))
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
        process.join(60)
    make(tmp_path / "killed", plan)
    processes = [start(server, tmp_path / "two", plan, rank=rank, world_size=2) for rank in range(2)]
    for process in processes:
        process.join(600)
    expected = content(tmp_path / "whole")
    assert content(tmp_path / "killed") == expected
    assert content(tmp_path / "two") == expected


@pytest.mark.slow
def test_the_number_of_threads_does_not_matter(whole, tmp_path):
    make(tmp_path, num_threads=2)
    assert content(tmp_path) == content(whole[0])


def test_a_shard_cut_short_is_made_again_and_others_are_kept(whole, tmp_path):
    shutil.copytree(whole[0], tmp_path, dirs_exist_ok=True)
    for name in ("faces.lmdb", "faces.parquet"):
        (tmp_path / name).unlink()
    cut, kept = sorted((tmp_path / "parts").glob("images-*"))[:2]
    before = kept.stat().st_mtime_ns
    cut.write_bytes(cut.read_bytes()[:-100])
    make(tmp_path)
    assert kept.stat().st_mtime_ns == before
    assert content(tmp_path) == content(whole[0])


def test_a_shard_damaged_inside_is_deleted_and_made_again(whole, tmp_path):
    shutil.copytree(whole[0], tmp_path, dirs_exist_ok=True)
    (tmp_path / "faces.lmdb").unlink()
    damaged = sorted((tmp_path / "parts").glob("images-*"))[1]
    changed = bytearray(damaged.read_bytes())
    changed[len(changed) // 2] ^= 255
    damaged.write_bytes(changed)
    with pytest.raises(InputError, match=r"images-000001\.parquet was damaged .* run the same command again"):
        make(tmp_path)
    assert not (tmp_path / "faces.lmdb").exists()
    make(tmp_path)
    assert content(tmp_path) == content(whole[0])


def test_a_second_run_on_the_folder_is_refused(tmp_path):
    class SecondRun(Read):
        """A yaw estimator that is asked while the first run is under way."""

        def forward(self, images):
            with pytest.raises(InputError, match="is in use by another run"):
                make(tmp_path)
            raise StopError

    with pytest.raises(StopError):
        generate_dataset(tmp_path, PLAN, replace(make_networks(), yaw=SecondRun(1, 3)))


@pytest.mark.parametrize(
    ("plan", "changed"),
    [
        (change(PLAN, batch_size=5, filters={"min_quality": 0.1}), "batch_size, filters"),
        (replace(PLAN, seed=4), "seed"),
        (replace(PLAN, digests={"generator.safetensors": "a" * 64}), "digests"),
    ],
)
def test_another_plan_or_other_weights_are_refused(tmp_path, plan, changed):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "plan.json").write_text(json.dumps(PLAN.description()))
    with pytest.raises(InputError, match=rf"holds the shards of another plan .*\(other: {changed}\); delete it"):
        make(tmp_path, plan)


def test_a_plan_does_not_depend_on_where_its_files_lie():
    elsewhere = replace(PLAN, weights=Path("elsewhere"), vectors=Path("elsewhere") / "vectors.npy")
    assert elsewhere.description() == PLAN.description()


def test_shards_of_an_older_version_are_refused(tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "plan.json").write_text('{"fingerprint": "0123", "plan": {}}')
    with pytest.raises(InputError, match=r"or of an older version .*or finish it with the settings and version"):
        make(tmp_path)


@pytest.mark.slow
def test_filters_drop_and_count(tmp_path, whole):
    table = pd.read_parquet(whole[0] / "faces.parquet")
    threshold = float(table["identity_cosine"].median())
    drawn = make(tmp_path, change(PLAN, filters={"min_identity_cosine": threshold}))
    kept = table[table["identity_cosine"] >= np.float32(threshold)]
    assert drawn.statistics.dropped["identity"] == 30 - len(kept)
    assert drawn.num_images == len(kept) == len(open_faces(tmp_path / "faces.lmdb"))
    assert drawn.num_identities == kept["identity_id"].nunique()


@pytest.mark.slow
def test_filters_that_leave_no_image_are_named_and_no_dataset_is_written(tmp_path):
    with pytest.raises(InputError, match=r"all 30 images of .* were dropped by filters \(quality 30\); relax"):
        make(tmp_path, change(PLAN, filters={"min_quality": 1e9}))
    assert not list(tmp_path.glob("faces.*"))


class SeesOnePerson(Read):
    """Features with one direction in common, whatever the image."""

    def forward(self, images):
        return 1 + 0.01 * super().forward(images)


@pytest.mark.slow
def test_identities_that_are_not_apart_after_generation_are_refused(tmp_path):
    networks = replace(make_networks(), identity=SeesOnePerson(DIM, 1))
    with pytest.raises(
        InputError, match=r"features of the images: 1 of 24 candidates are separated, but num_identities=6; set num_id"
    ):
        generate_dataset(tmp_path, PLAN, networks)


def test_a_pose_share_needs_a_yaw_estimator(tmp_path):
    networks = replace(make_networks(), yaw=None)
    with pytest.raises(InputError, match="needs a yaw estimator"):
        generate_dataset(tmp_path, PLAN, networks)
