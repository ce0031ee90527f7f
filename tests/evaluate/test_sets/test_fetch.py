"""Sets of the Hub are downloaded and checked; for the others the text says where to get them."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from bench.config.catalogue import load_catalogue
from bench.errors import InputError
from bench.faces.face import encode_jpeg
from evaluate.layouts.packed import write_bin
from evaluate.measure.verify import score
from evaluate.protocol import load_protocol
from evaluate.test_sets import registry
from evaluate.test_sets.fetch import fetch_test_sets, list_test_sets


@pytest.fixture
def lfw_on_the_hub(hub, tmp_path, monkeypatch):
    """A made-up lfw.bin of two pairs on the local hub."""
    image = encode_jpeg(np.asarray(Image.new("RGB", (112, 112), "red")))
    write_bin(tmp_path / "made.bin", [image] * 4, [True, False])
    hub.files["/datasets/gaunernst/face-recognition-eval/resolve/main/lfw.bin"] = (tmp_path / "made.bin").read_bytes()
    monkeypatch.setitem(registry.REGISTRY, "lfw", replace(registry.REGISTRY["lfw"], num_pairs=2))
    return tmp_path / "sets"


def test_a_set_is_fetched_once_and_its_bytes_are_remembered(hub, lfw_on_the_hub):
    text = fetch_test_sets(["lfw"], lfw_on_the_hub)
    protocol = load_protocol(lfw_on_the_hub / "lfw.bin")
    assert protocol.sha256[:16] in text
    assert "2 pairs" in text
    assert "gaunernst/face-recognition-eval, file lfw.bin, commit a1b2c3d4a1b2" in text
    assert protocol.fetched_from in text
    hub.log.clear()
    assert fetch_test_sets(["lfw"], lfw_on_the_hub) == text
    assert hub.log == []


def test_the_copy_is_named_on_the_result(lfw_on_the_hub):
    fetch_test_sets(["lfw"], lfw_on_the_hub)
    protocol = load_protocol(lfw_on_the_hub / "lfw.bin")
    many = replace(protocol, pairs=np.tile(protocol.pairs, (10, 1)), is_genuine=np.tile([True, False], 10))
    result = score(np.tile(np.eye(2, 4, dtype=np.float32), (20, 1)), many).result
    assert "gaunernst" in result.copy_known_as
    assert not registry.is_unregistered("lfw", result)


def test_sets_that_the_hub_does_not_have_say_whom_to_ask(tmp_path):
    text = fetch_test_sets(["hadrian", "ijbc"], tmp_path)
    first, second = text.splitlines()
    address = "its authors (Wu et al.), as an .xz with a password"
    assert first == f"hadrian is missing: get it from {address}, and save it as hadrian.bin (or .xz) in {tmp_path}"
    assert "NIST ended distribution on 2023-03-14" in second
    assert second.endswith(f", and save it as ijbc/meta and ijbc/loose_crop in {tmp_path}")
    assert not list(tmp_path.iterdir())


def test_a_file_with_other_pairs_than_published_is_refused(lfw_on_the_hub, monkeypatch):
    monkeypatch.setitem(registry.REGISTRY, "lfw", replace(registry.REGISTRY["lfw"], num_pairs=6000))
    with pytest.raises(InputError, match=r"lfw.bin holds 2 pairs, but 6000 are published; delete it and get"):
        fetch_test_sets(["lfw"], lfw_on_the_hub)


def test_a_set_that_is_there_in_another_layout_is_left_alone(hub, tmp_path):
    (tmp_path / "lfw").mkdir()
    assert fetch_test_sets(["lfw"], tmp_path) == f"lfw: {tmp_path / 'lfw'} exists, left unchanged"
    assert hub.log == []


def test_the_table_of_facts_knows_every_set_of_the_hub():
    on_hub = {name: entry.hub for name, entry in registry.REGISTRY.items() if entry.hub}
    assert [name for name, file in on_hub.items() if load_catalogue().find(file.address) is None] == []


def test_the_list_names_every_set_and_where_to_ask():
    lines = list_test_sets().splitlines()
    in_table = [line.split(" | ")[0].removeprefix("| ") for line in lines[2:8]]
    others = [line.split(":")[0] for line in lines[9:]]
    assert [*in_table, *others] == list(registry.REGISTRY)
    assert lines[2].split(" | ")[1:4] == ["dataset gaunernst/face-recognition-eval", "lfw.bin", "60 to 76 MB"]
    assert list_test_sets(["hadrian"]).startswith("hadrian: not on the Hub, get it from its authors (Wu et al.)")
    with pytest.raises(InputError, match="did you mean lfw"):
        list_test_sets(["lwf"])
