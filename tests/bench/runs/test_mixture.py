"""A mixture in benchmarks.yaml: its settings, fingerprint, plan and faces; the commands subset and mix."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import yaml
from paths import ROOT
from soak import write_inputs
from verification_images import write_folder

from bench.__main__ import COMMANDS
from bench.cli import add_commands, make_parser, parse_flags
from bench.config.benchmarks import BENCHMARKS_PATH, load_benchmark
from bench.errors import InputError
from bench.faces.convert import convert
from bench.faces.open import open_faces
from bench.machine.stopwatch import Stopwatch
from bench.runs.cards import DatasetCard, read_card, write_card
from bench.runs.dataset import open_dataset
from bench.runs.fingerprints import generator_sha256, part_stage, plan_stages
from bench.runs.inputs import missing_inputs
from bench.runs.plan.describe import describe_plan
from fr_train.trainer.data import FaceBatches
from generate.stage import make_faces

RENDERED = {"kind": "render", "num_identities": 3, "images_per_identity": 4}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    names = [f"{person}/{i}.png" for person in ("Ann", "Bo", "Cy", "Di", "Ed") for i in range(3)]
    return write_folder(tmp_path_factory.mktemp("photos") / "photos", names)


@pytest.fixture
def load(tmp_path, photos):
    """Loads a benchmark whose generator is a mixture of these fields; ``drawn`` is a benchmark of rendered faces."""

    def load(scale="mixed", **fields):
        document = yaml.safe_load(BENCHMARKS_PATH.read_text())
        smoke = document["benchmarks"]["smoke"]
        parts = [{"benchmark": "drawn"}, {"path": str(photos)}]
        mixture = {"kind": "mixture", "parts": parts} | fields
        document["benchmarks"] = {
            "drawn": smoke | {"generator": RENDERED},
            "mixed": smoke | {"generator": mixture},
        }
        (tmp_path / "benchmarks.yaml").write_text(yaml.safe_dump(document))
        return load_benchmark(scale, tmp_path / "benchmarks.yaml")

    return load


def stage_of(tmp_path, benchmark, seed=0):
    return plan_stages(benchmark, seed=seed, runs=tmp_path / "runs", test_sets=tmp_path).generate


def make(tmp_path, benchmark, seed=0):
    """Make the faces of a benchmark as ``python -m generate`` does, and return them with their card."""
    stage = stage_of(tmp_path, benchmark, seed)
    stage.directory.mkdir(parents=True, exist_ok=True)
    made = make_faces(stage.directory, benchmark, seed=seed, weights=tmp_path, device="cpu")
    card = DatasetCard(
        **stage.card_header(scale=benchmark.name, seed=seed),
        cost=Stopwatch().cost(images=1, phase="faces", device="cpu"),
        **{field: getattr(made, field) for field in ("name", "path", "num_images", "num_identities", "content_sha256")},
        statistics=made.statistics,
    )
    write_card(stage.directory, card)
    return open_dataset(stage.directory, benchmark.generator), card


@pytest.mark.slow
def test_a_benchmark_and_a_folder_are_mixed(tmp_path, load, photos):
    make(tmp_path, load("drawn"))
    faces, card = make(tmp_path, load())
    assert (len(faces), faces.num_identities) == (card.num_images, card.num_identities) == (27, 8)
    assert [part.model_dump() for part in card.statistics.parts] == [
        {"name": name, "num_images": images, "num_identities": people, "sha256": part.sha256, "is_real": False}
        for part, name, images, people in zip(card.statistics.parts, ("drawn", "photos"), (12, 15), (3, 5), strict=True)
    ]
    assert card.statistics.composition == "44% drawn + 56% photos"
    assert faces.encoded(12) == (photos / "Ann" / "0.png").read_bytes()
    assert (stage_of(tmp_path, load()).directory / "grid.png").exists()
    assert not list(stage_of(tmp_path, load()).directory.glob("*.lmdb")), "nothing is copied"


@pytest.mark.slow
def test_training_reads_the_same_batches_as_from_one_lmdb_with_workers_and_ranks(tmp_path, load):
    make(tmp_path, load("drawn"))
    faces, _ = make(tmp_path, load())
    convert(faces, tmp_path / "copy.lmdb", "lmdb")
    recipe = load().recipe.model_copy(update={"batch_size": 8})
    for rank in range(2):
        of_view, of_copy = (
            FaceBatches(data, recipe, seed=1, rank=rank, world_size=2)
            for data in (faces, open_faces(tmp_path / "copy.lmdb"))
        )
        for ours, theirs in zip(of_view.stream(0, num_workers=2), of_copy.stream(0, num_workers=0), strict=True):
            assert np.array_equal(ours.faces.numpy(), theirs.faces.numpy())
            assert np.array_equal(ours.labels.numpy(), theirs.labels.numpy())


def test_subsets_of_a_benchmark_are_nested(tmp_path, load):
    make(tmp_path, load("drawn"))
    before = set()
    for identities, images in ((1, 2), (2, 2), (2, 3), (3, 4)):
        part = {"benchmark": "drawn", "identities": identities, "images_per_identity": images}
        faces, _ = make(tmp_path, load(parts=[part]))
        now = {faces.encoded(index) for index in range(len(faces))}
        assert len(now) == identities * images
        assert before <= now
        before = now


def test_the_fingerprint_follows_the_contents_of_the_parts(tmp_path, load, photos):
    shutil.copytree(photos, tmp_path / "elsewhere" / "photos")
    there = [{"benchmark": "drawn"}, {"path": str(tmp_path / "elsewhere" / "photos")}]
    before = stage_of(tmp_path, load())
    moved = stage_of(tmp_path, load(parts=there))
    assert moved.fingerprint == before.fingerprint, "places do not count"
    (tmp_path / "elsewhere" / "photos" / "Ann" / "0.png").unlink()
    changed = stage_of(tmp_path, load(parts=there)).fingerprint
    other = [{"benchmark": "drawn", "seed": 5}, {"path": str(photos)}]
    fewer = [{"benchmark": "drawn", "identities": 2}, {"path": str(photos)}]
    merged = load(shared_identities="merge")
    prints = {stage_of(tmp_path, load(parts=parts)).fingerprint for parts in (other, fewer)}
    prints |= {changed, before.fingerprint, stage_of(tmp_path, merged).fingerprint}
    assert len(prints) == 5
    at_seed_1 = stage_of(tmp_path, load(), seed=1)
    assert at_seed_1.fingerprint != before.fingerprint
    hashes = {generator_sha256(stage.inputs["generator"]) for stage in (before, moved, at_seed_1)}
    assert len(hashes) == 1, "seeds are one row of the leaderboard"
    assert generator_sha256(stage_of(tmp_path, load(parts=fewer)).inputs["generator"]) not in hashes


def test_a_part_is_the_stage_of_its_own_benchmark(tmp_path, load):
    part = load().generator.parts[0]
    assert part_stage(part, seed=3, runs=tmp_path / "runs") == stage_of(tmp_path, load("drawn"), seed=3)


def test_mixtures_of_mixtures(tmp_path, load):
    benchmark = load()
    make(tmp_path, load("drawn"))
    make(tmp_path, benchmark)
    text = (tmp_path / "benchmarks.yaml").read_text()
    document = yaml.safe_load(text)
    generator = {"kind": "mixture", "parts": [{"benchmark": "mixed", "identities": 6}]}
    document["benchmarks"]["outer"] = document["benchmarks"]["mixed"] | {"generator": generator}
    (tmp_path / "benchmarks.yaml").write_text(yaml.safe_dump(document))
    faces, _ = make(tmp_path, load_benchmark("outer", tmp_path / "benchmarks.yaml"))
    assert faces.num_identities == 6
    assert {name.split("/")[0] for name in faces.identity_names} <= {"drawn", "photos"}


def test_moved_parts_are_opened_where_they_lie_now(tmp_path, load, photos):
    shutil.copytree(photos, tmp_path / "a" / "photos")
    benchmark = load(parts=[{"path": str(tmp_path / "a" / "photos")}])
    make(tmp_path, benchmark)
    shutil.move(tmp_path / "a", tmp_path / "b")
    now = load(parts=[{"path": str(tmp_path / "b" / "photos")}])
    assert stage_of(tmp_path, now).directory == stage_of(tmp_path, now).directory
    assert len(open_dataset(stage_of(tmp_path, now).directory, now.generator)) == 15


def test_the_plan_names_parts_and_what_is_missing(tmp_path, load, photos):
    parts = [
        {"benchmark": "drawn", "share": 0.25},
        {"path": str(photos), "share": 0.25, "real": True},
        {"path": "data/none", "share": 0.5},
    ]
    benchmark = load(parts=parts, total_images=40, same_people="none.tsv")
    missing = missing_inputs(benchmark, test_sets=tmp_path, weights=tmp_path)
    assert [(item.name, str(item.path)) for item in missing] == [
        ("face dataset", "data/none"),
        ("same_people", "none.tsv"),
    ]
    stages = plan_stages(benchmark, seed=0, runs=tmp_path, test_sets=tmp_path)
    text = describe_plan(benchmark, {0: stages}, missing, tmp_path)
    assert f"  drawn: faces of SCALE=drawn, share 0.25\n  photos: {photos}, share 0.25, real True\n" in text
    assert "images     40; 120 seen in training" in text
    with_weights = load_benchmark("smoke").generator
    part = benchmark.generator.parts[0].model_copy(update={"generator": with_weights})
    mixture = benchmark.generator.model_copy(update={"parts": (part,)})
    assert mixture.weight_files == with_weights.weight_files


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"parts": []}, r"generator\.parts: .*at least 1 item"),
        ({"parts": [{"benchmark": "drawn", "path": "x"}]}, r"benchmark=drawn and path=x: give one of them"),
        ({"parts": [{}]}, "benchmark=None and path=None: give one of them"),
        ({"parts": [{"benchmark": "drwan"}]}, r"parts\.0\.benchmark=drwan is unknown; did you mean drawn\?"),
        ({"parts": [{"benchmark": "mixed"}]}, r"benchmark=mixed makes a circle \(mixed -> mixed\); take it out"),
        ({"parts": [{"path": "x", "generator": {}}]}, r"parts\.0\.generator is unknown; name an entry"),
        ({"parts": [{"path": "x", "identites": 3}]}, r"identites is unknown \(did you mean identities\?"),
        ({"parts": [{"path": "x", "seed": 3}]}, "seed=3 belongs to a benchmark"),
        ({"parts": [{"benchmark": "drawn", "mask": "m"}]}, "mask and leave_out belong to a path"),
        ({"parts": [{"path": "a/x"}, {"path": "b/x"}]}, "two parts are called x; give each a name of its own"),
        ({"parts": [{"path": "x", "name": "a/b"}]}, "name: .*should match pattern"),
        ({"parts": [{"path": "x", "identities": 0}]}, r"identities: .*greater than 0, got 0"),
        ({"caps": {"image": 3}}, r"caps\.image is unknown \(did you mean images\?"),
    ],
)
def test_a_mistake_in_the_settings_is_named(load, fields, message):
    with pytest.raises(InputError, match=message):
        load(**fields)


def test_shares_that_do_not_add_up_are_refused_before_anything_runs(tmp_path, load, photos):
    parts = [{"benchmark": "drawn", "share": 0.5}, {"path": str(photos), "share": 0.6}]
    with pytest.raises(InputError, match=r"mixture mixed: the shares add up to 1\.1; with total_images they must"):
        stage_of(tmp_path, load(parts=parts, total_images=10))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"caps": {"images": 3}, "total_images": 4}, "total_images=4 is above the limit of 3 images; lower total_im"),
        ({"same_people": "x", "shared_identities": "separate"}, "same_people=x is of no use"),
        (
            {"parts": [{"benchmark": "drawn", "images_per_identity": 4, "max_images_per_identity": 2}]},
            "part drawn: max_images_per_identity=2 is below images_per_identity=4; remove one",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused_before_anything_runs(tmp_path, load, fields, message):
    parts = [{"benchmark": "drawn", "share": 1.0}] if "total_images" in fields else [{"benchmark": "drawn"}]
    with pytest.raises(InputError, match=f"mixture mixed: {message}"):
        stage_of(tmp_path, load(**{"parts": parts} | fields))


def test_parts_that_are_missing_or_empty_are_named(tmp_path, load, photos):
    with pytest.raises(InputError, match=r"part drawn: .* holds no faces; run make generate SCALE=drawn SEED=0"):
        make(tmp_path, load())
    (tmp_path / "empty" / "Ann").mkdir(parents=True)
    for path, problem in (("none", "does not exist"), ("empty", "holds no image in any sub-folder")):
        benchmark = load(parts=[{"path": str(tmp_path / path)}, {"path": str(photos)}])
        with pytest.raises(InputError, match=f"part {path}: .*{problem}"):
            make(tmp_path, benchmark)
    twice = load(parts=[{"path": str(photos)}, {"path": str(photos), "name": "again"}], shared_identities="separate")
    with pytest.raises(InputError, match="hold the same files: 5 people"):
        make(tmp_path, twice)


def run(*words):
    parser = make_parser("bench", "")
    add_commands(parser, COMMANDS)
    args = parse_flags(parser, [str(word) for word in words])
    return args.run(args)


def test_the_commands_subset_and_mix(tmp_path, photos):
    half = tmp_path / "half"
    text = run("subset", photos, half, "--identities", 3, "--images-per-identity", 2, "--seed", 4)
    assert text == f"{half}: 6 of 15 faces, 3 identities"
    convert(open_faces(photos), tmp_path / "all.lmdb", "lmdb")
    other = write_folder(tmp_path / "other", ["Flo/1.png", "Gil/1.png", "Ann/9.png"])
    text = run("mix", tmp_path / "mixed", f"some={half}", other, "--shared-identities", "merge", "--max-images", 7)
    assert text.startswith(f"{tmp_path / 'mixed'}: 7 faces of ")
    card = json.loads((tmp_path / "mixed" / "mixture.json").read_text())
    assert [part["name"] for part in card["parts"]] == ["some", "other"]
    text = run("mix", tmp_path / "budget", half, other, "--keep-real", "other", "--shares", 2, "--filled-by", "images")
    assert "9 faces of" in text
    assert "half 6 of" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["subset", "{photos}", "{photos}"], "exists already; delete it or name another"),
        (["subset", "{photos}", "out", "--identities", "9"], "part photos: identities=9, but the dataset has 5"),
        (["mix", "out", "{photos}", "x/photos"], "two parts have one name; give each its own, as NAME=PATH"),
        (["mix", "out", "{photos}", "--keep-real", "photo"], "--keep-real photo names no part; did you mean photos"),
        (["mix", "out", "{photos}", "--total-images", "9", "--shares", "1", "2"], "holds 2 numbers for 1 parts"),
        (["mix", "out", "{photos}", "--total-images", "9"], "photos without a share"),
        (["mix", "out", "{photos}", "b={photos}"], "hold the same files: 5 people"),
        (["mix", "out", "none", "{photos}"], "none does not exist"),
        (
            ["subset", "{photos}", "out", "--images-per-identity", "3", "--max-images-per-identity", "2"],
            "max_images_per_identity=2 is below images_per_identity=3; remove one",
        ),
        (
            ["mix", "out", "{photos}", "--shared-identities", "separate", "--same-people", "none.txt"],
            "same_people=none.txt is of no use with shared_identities=separate; remove one",
        ),
        (
            ["mix", "out", "{photos}", "--total-images", "8", "--shares", "1", "--max-images", "4"],
            "total_images=8 is above the limit of 4 images; lower total_images",
        ),
    ],
)
def test_bad_input_of_the_commands(tmp_path, monkeypatch, photos, words, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        run(*(word.format(photos=photos) for word in words))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_benchmark_makes_the_faces_of_its_parts_first(tmp_path):
    inputs = write_inputs(tmp_path / "inputs")
    document = yaml.safe_load((inputs / "benchmarks.yaml").read_text())
    tiny = document["benchmarks"]["tiny"]
    parts = [{"benchmark": "tiny", "identities": 10}, {"benchmark": "few", "images_per_identity": 2}]
    document["benchmarks"] |= {
        "few": tiny | {"generator": {"kind": "render", "num_identities": 6, "images_per_identity": 3}},
        "mixed": tiny | {"generator": {"kind": "mixture", "parts": parts}},
    }
    (inputs / "benchmarks.yaml").write_text(yaml.safe_dump(document))
    flags = ["--scale", "mixed", "--config", inputs / "benchmarks.yaml", "--test-sets", inputs / "test_sets"]
    command = [sys.executable, "-m", "bench", "run", *flags, "--runs", tmp_path / "runs", "--device", "cpu"]
    first = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    assert "part tiny: run" in first.stdout
    assert "part few: run" in first.stdout
    (path,) = tmp_path.glob("runs/mixed/faces/*")
    card = read_card(path, DatasetCard)
    assert (card.num_identities, card.num_images) == (16, 10 * 4 + 6 * 2)
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert second.stdout.count("skip, unchanged") == 3
