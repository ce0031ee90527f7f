"""``make fetch``: downloads what the Hub has, once; names what remains."""

import numpy as np
import pytest
import yaml

from bench.__main__ import COMMANDS
from bench.config.benchmarks import BENCHMARKS_PATH, load_benchmark
from bench.errors import InputError
from bench.faces.face import encode_jpeg
from bench.runs.inputs import fetch_inputs
from evaluate.layouts.packed import write_bin

WEIGHTS = (
    "weights/vec2face_generator.pth",
    "weights/arcface-r100-glint360k.pth",
    "weights/magface-r100-glint360k.pth",
    "weights/6DRepNet_300W_LP_AFLW2000.pth",
)


@pytest.fixture
def served(hub, tmp_path):
    """The weights and test sets of 20k on a server of this machine."""
    for name in WEIGHTS:
        hub.files[f"/BooBooWu/Vec2Face/resolve/main/{name}"] = name.encode()
    image = encode_jpeg(np.zeros((112, 112, 3), np.uint8))
    for name, num_pairs in (("lfw", 6000), ("cfp_fp", 7000), ("agedb_30", 6000), ("calfw", 6000), ("cplfw", 6000)):
        write_bin(tmp_path / "set.bin", [image] * 2 * num_pairs, [True, False] * (num_pairs // 2))
        address = f"/datasets/gaunernst/face-recognition-eval/resolve/main/{name}.bin"
        hub.files[address] = (tmp_path / "set.bin").read_bytes()
    return hub


def fetch(tmp_path, scale="20k", config=BENCHMARKS_PATH):
    folders = {"test_sets": tmp_path / "sets", "weights": tmp_path / "weights"}
    return list(fetch_inputs(load_benchmark(scale, config), **folders))


@pytest.mark.slow
def test_everything_that_20k_lacks_is_fetched_once(served, tmp_path, capfd):
    lines = fetch(tmp_path)
    assert lines == [*(f"fetch: {tmp_path / 'weights' / name.split('/')[-1]}" for name in WEIGHTS), lines[-1]]
    assert lines[-1] == "fetch: 20k has all its inputs"
    assert capfd.readouterr().out.count("pairs, SHA-256") == 5
    served.log.clear()
    assert fetch(tmp_path) == ["fetch: 20k has all its inputs"]
    assert served.log == []


@pytest.mark.parametrize(
    ("scale", "address"),
    [
        ("10k_published", "BooBooWu/Vec2Face/resolve/main/HSFaces/hsface10k.lmdb"),
        ("v10k_published", "BooBooWu/Vec2Face_plus/resolve/main/VFaces/vface10k.lmdb"),
    ],
)
def test_a_published_dataset_is_fetched_too(hub, tmp_path, scale, address):
    hub.files[f"/datasets/{address}"] = b"faces"
    for name in ("lfw", "cfp_fp", "agedb_30", "calfw", "cplfw"):
        (tmp_path / "sets" / name).mkdir(parents=True)
    assert fetch(tmp_path, scale)[0] == f"fetch: {tmp_path / 'weights' / address.rsplit('/', 1)[1]}"
    assert [path for command, path, _ in hub.log if command == "GET"] == [f"/datasets/{address}"]


def test_the_parts_of_a_mixture_are_fetched_each_by_its_revision(hub, tmp_path):
    document = yaml.safe_load(BENCHMARKS_PATH.read_text())
    entries = document["benchmarks"]
    published = entries["10k_published"]["generator"] | {"revision": "v7"}
    entries["old"] = entries["10k_published"] | {"generator": published}
    inner = {"kind": "mixture", "parts": [{"benchmark": "v10k_published"}]}
    entries["inner"] = entries["smoke"] | {"generator": inner}
    parts = [{"benchmark": name} for name in ("smoke", "old", "inner")]
    entries["mixed"] = entries["smoke"] | {"generator": {"kind": "mixture", "parts": parts}}
    config = tmp_path / "benchmarks.yaml"
    config.write_text(yaml.safe_dump(document))
    plus_revision = load_benchmark("v10k_published").generator.revision
    hub.files["/datasets/BooBooWu/Vec2Face/resolve/v7/HSFaces/hsface10k.lmdb"] = b"faces"
    hub.files[f"/datasets/BooBooWu/Vec2Face_plus/resolve/{plus_revision}/VFaces/vface10k.lmdb"] = b"more faces"
    lines = fetch(tmp_path, "mixed", config)
    weights = tmp_path / "weights"
    assert lines[:2] == [f"fetch: {weights / 'hsface10k.lmdb'}", f"fetch: {weights / 'vface10k.lmdb'}"]
    assert lines[2:] == ["fetch: mixed has all its inputs"]


def test_what_the_hub_does_not_have_is_named(hub, tmp_path):
    for name in ("lfw", "cfp_fp", "agedb_30", "calfw", "cplfw"):
        (tmp_path / "sets" / name).mkdir(parents=True)
    with pytest.raises(
        InputError, match=r"SCALE=datacv_10k still lacks 1 inputs .*\n  face dataset is missing: get it"
    ):
        fetch(tmp_path, "datacv_10k")
    assert hub.log == []


def test_a_smoke_run_needs_nothing(hub, tmp_path):
    assert fetch(tmp_path, "smoke") == ["fetch: smoke has all its inputs"]
    assert hub.log == []


def test_the_command_is_listed():
    assert "fetch" in [command.name for commands in COMMANDS.values() for command in commands]
