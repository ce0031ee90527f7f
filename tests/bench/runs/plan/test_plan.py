"""Disk and memory that a plan states, compared with runs."""

import multiprocessing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_generation import SIZE, Read, all_kept, make, settings

from bench.config.benchmarks import load_benchmark
from bench.config.generator import FilesGenerator
from bench.faces.open import open_faces
from bench.machine.stopwatch import peak_memory_mb
from bench.runs.fingerprints import plan_stages
from bench.runs.inputs import missing_inputs
from bench.runs.plan.describe import describe_plan, faces_bytes, generation_memory_bytes
from generate.draw.dataset_run import Networks
from generate.draw.engine import generate_dataset
from generate.draw.plan import Plan
from generate.hub.catalogue import find_file
from generate.render.dataset import render_dataset

SCALE = load_benchmark("300k").generator


def test_disk_by_hand():
    images = 15_000_000
    assert faces_bytes(SCALE) == {"faces": images * 8_520, "shards": images * 6_140}
    rendered = faces_bytes(load_benchmark("smoke_reference").generator)
    assert rendered == {"faces": 4480 * 8_520, "shards": 4480 * 8_460}
    published = load_benchmark("10k_published").generator
    assert faces_bytes(published) == {"published faces, in WEIGHTS": pytest.approx(1.85e9)}
    for quality in (1, 75, 76, 95, 96, 100):  # the next higher quality that was measured counts
        assert sum(faces_bytes(SCALE.model_copy(update={"jpeg_quality": quality})).values()) >= images * 7_610


def test_a_scale_of_vec2face_plus_says_where_its_weights_are_and_what_they_need(tmp_path):
    benchmark = load_benchmark("v20k")
    text = describe_plan(
        benchmark,
        {0: plan_stages(benchmark, seed=0, runs=tmp_path, test_sets=tmp_path)},
        missing_inputs(benchmark, test_sets=tmp_path, weights=tmp_path),
        tmp_path,
    )
    for file, name in (("main_model.pth", "plus-generator"), ("pose_model.pth", "plus-pose")):
        assert find_file(name).local_name == file
        command = f".venv/bin/python -m generate fetch {name} --weights {tmp_path}"
        page = "https://huggingface.co/BooBooWu/Vec2Face_plus"
        assert f"{file} is missing: run {command}, or download {page}, file vec2face_plus/{file}, to {tmp_path}" in text
    assert "1,000,000 (20,000 identities x 50)" in text and "accuracy   94.1% to 95.1%" in text
    without = benchmark.generator.model_copy(update={"pose": None})
    attention, pose_network = 20 * 4 * 768 * (768 + 1), 10_022_976
    extra = generation_memory_bytes(benchmark.generator) - generation_memory_bytes(without)
    assert extra == pytest.approx(4 * (attention + pose_network), rel=0.01)


def test_memory_grows_with_the_batch_and_little_with_the_identities():
    small = SCALE.model_copy(update={"num_identities": 64})
    assert generation_memory_bytes(SCALE) - generation_memory_bytes(small) == pytest.approx(4.2e9, rel=0.01)
    assert generation_memory_bytes(small.model_copy(update={"batch_size": 32})) < 0.7 * generation_memory_bytes(small)


def test_too_small_a_disk_is_named(tmp_path, monkeypatch):
    benchmark = load_benchmark("300k")
    stages = plan_stages(benchmark, seed=0, runs=tmp_path, test_sets=tmp_path)

    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=100_000_000_000))
    assert f"too small: 120.5 GB are missing in {tmp_path}; free them" in describe_plan(
        benchmark, {0: stages}, [], tmp_path
    )

    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=300_000_000_000))
    assert "too small" not in describe_plan(benchmark, {0: stages}, [], tmp_path)


def test_every_file_of_given_faces_is_named_if_missing(tmp_path):
    names = {"path": "faces {x}", "mask": "mask.npy", "leave_out": "names.txt"}
    generator = FilesGenerator(kind="files", **{name: str(tmp_path / file) for name, file in names.items()})
    benchmark = load_benchmark("smoke").model_copy(update={"generator": generator})
    missing = missing_inputs(benchmark, test_sets=tmp_path, weights=tmp_path)
    assert [str(item) for item in missing] == [
        f"face dataset is missing: get it from its publisher and save it as {tmp_path}/faces {{x}}",
        f"mask is missing: save the .npy of positions as {tmp_path}/mask.npy, or leave out generator.mask",
        f"leave_out is missing: save the text file of identity names as {tmp_path}/names.txt, "
        "or leave out generator.leave_out",
    ]
    (tmp_path / "mask.npy").touch()
    assert len(missing_inputs(benchmark, test_sets=tmp_path, weights=tmp_path)) == 2


@pytest.mark.parametrize(
    ("file", "advice"),
    [
        ("mine/deviations.npy", "run .venv/bin/python -m generate prepare --out {weights}/mine on the generator's "),
        ("mine/differences.npy", "run .venv/bin/python -m generate variation --prepared {weights}/mine"),
        (
            "center_feature_examples.npy",
            "run .venv/bin/python -m generate fetch center-features --weights {weights}, or download https://huggingface.co",
        ),
        ("{a}.npy", "no command makes this file; save your own as "),
    ],
)
def test_a_missing_array_names_the_command_that_makes_it(tmp_path, file, advice):
    generator = SCALE.model_copy(update={"centers": file})
    benchmark = load_benchmark("300k").model_copy(update={"generator": generator})
    missing = missing_inputs(benchmark, test_sets=tmp_path, weights=tmp_path)
    (item,) = [item for item in missing if item.path == tmp_path / file]
    advice = advice.replace("{weights}", str(tmp_path))
    assert str(item).startswith(f"{Path(file).name} is missing: {advice}")


def test_landmarks_that_do_not_exist_are_the_users_own(tmp_path):
    benchmark = load_benchmark("v10k")
    pose = benchmark.generator.pose.model_copy(update={"landmarks": "points.npy"})
    benchmark = benchmark.model_copy(update={"generator": benchmark.generator.model_copy(update={"pose": pose})})
    (item,) = [
        item for item in missing_inputs(benchmark, test_sets=tmp_path, weights=tmp_path) if "points" in item.name
    ]
    assert str(item) == (
        f"points.npy is missing: no command makes this file; save your own as {tmp_path}/points.npy, or correct its "
        "name in the section generator"
    )


class Painted(torch.nn.Module):
    """Stands in for the generator: a rendered face for every mask."""

    architecture = SIZE

    def __init__(self, faces):
        super().__init__()
        self.images = torch.from_numpy(np.stack([faces.image(i) for i in range(len(faces))])).permute(0, 3, 1, 2)

    def forward(self, features, noise, mask_ratio):
        numbers = (noise[:, 0] * 1e6).long() % len(self.images)
        return self.images[numbers].to(features) / 127.5 - 1


@pytest.mark.slow
def test_64_identities_scaled_confirm_the_disk(tmp_path):
    render_dataset(tmp_path / "rendered", num_identities=64, images_per_identity=2, seed=0)
    networks = Networks(Painted(open_faces(tmp_path / "rendered" / "faces.lmdb")), Read(16, 1), Read(1, 2))
    generator = settings(
        num_identities=64,
        images_per_identity=4,
        attributes={"max_steps": 0, "pose_share": 0},
        filters={"exact_duplicates": False},
    )
    plan = Plan(all_kept(generator))
    measured = generate_dataset(tmp_path / "made", plan, networks).statistics.bytes_per_image
    num_images = SCALE.num_identities * SCALE.images_per_identity
    planned = faces_bytes(SCALE)
    assert measured.faces * num_images == pytest.approx(planned["faces"], rel=0.2)
    assert measured.most * num_images == pytest.approx(sum(planned.values()), rel=0.2)


def peak_of_a_run(directory, num_identities):
    sizes = {"num_identities": num_identities, "images_per_identity": 1, "identities_per_shard": 8, "batch_size": 16}
    attributes = {"max_steps": 1, "pose_share": 0}
    make(directory, Plan(all_kept(settings(attributes=attributes, **sizes))))
    return peak_memory_mb()


@pytest.mark.slow
def test_memory_is_flat_in_the_number_of_identities(tmp_path):
    peaks = []
    for num_identities in (32, 256):
        with multiprocessing.get_context("spawn").Pool(1) as pool:  # a process each: a peak never goes down
            peaks.append(pool.apply(peak_of_a_run, (tmp_path / str(num_identities), num_identities)))
    assert peaks[1] < 1.05 * peaks[0]
