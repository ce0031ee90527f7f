"""Readers of settings, cards and weights meet random and damaged files: they read them or say in one line why not.

Every case must end with a value or an ``InputError`` within a second. Damaged files are good ones with bytes changed,
removed, repeated or put in between, at random places.
"""

import json
import time

import pytest
import torch
from fuzzing import MAX_SECONDS, fuzzed, mutate, mutations
from hypothesis import given
from hypothesis import strategies as st
from results import make_result
from safetensors.torch import save_file

from bench.config.benchmarks import BENCHMARKS_PATH, load_benchmarks
from bench.errors import InputError
from bench.files import read_json, read_json_lines, read_json_object
from bench.runs.cards import AuditCard, DatasetCard, GeneratorCard, ModelCard, ResultCard, read_card, write_card
from fr_train.backbone import iresnet
from fr_train.checkpoint import load_backbone, save_backbone

pytestmark = pytest.mark.slow

EDITS = mutations([b"\0" * 64, b"\xff" * 8, b"[" * 2000, b"9" * 5000, b"*a", b"{"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)


def check(read, *arguments):
    """Call a reader; anything but a value or a one-line InputError fails the test."""
    start = time.process_time()
    try:
        read(*arguments)
    except InputError as error:
        assert len(str(error)) <= 2000
    assert time.process_time() - start < MAX_SECONDS


@fuzzed(150)
@given(edits=EDITS)
def test_damaged_yaml(tmp_path_factory, edits):
    path = tmp_path_factory.getbasetemp() / "benchmarks.yaml"
    content = BENCHMARKS_PATH.read_bytes()
    start = content.index(b"  smoke_arcface:")
    small = b"recipes:\n" + content[start : content.index(b"  mini:")] + b"\nprotocols: {rendered: [render_lfw]}\n"
    path.write_bytes(mutate(small, edits))
    check(load_benchmarks, path)


@fuzzed(150)
@given(st.lists(st.tuples(st.sampled_from(["recipes", "protocols", "benchmarks", "x"]), VALUES), max_size=4))
def test_settings_of_other_types(tmp_path_factory, sections):
    path = tmp_path_factory.getbasetemp() / "values.yaml"
    path.write_text(json.dumps(dict(sections)))
    check(load_benchmarks, path)


@fuzzed(150)
@given(edits=EDITS, kind=st.sampled_from([AuditCard, DatasetCard, GeneratorCard, ModelCard, ResultCard]))
def test_damaged_cards(tmp_path_factory, edits, kind):
    folder = tmp_path_factory.getbasetemp()
    path = write_card(folder, make_result())
    path.write_bytes(mutate(path.read_bytes(), edits))
    check(read_card, path, kind)
    for read in (read_json, read_json_object):
        check(read, path)
    path.write_bytes(b'{"a": 1}\n' + path.read_bytes())
    check(read_json_lines, path)


@fuzzed(150)
@given(name=st.sampled_from(sorted(ResultCard.model_fields)), value=VALUES)
def test_fields_of_other_types(tmp_path_factory, name, value):
    path = tmp_path_factory.getbasetemp() / "result.json"
    path.write_text(json.dumps(make_result().model_dump(mode="json") | {name: value}))
    check(read_card, path, ResultCard)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A small network in the three formats: suffix -> content."""
    folder = tmp_path_factory.mktemp("weights")
    network = iresnet(18, width=1, embedding_dim=2).eval()
    state = {"state_dict": network.state_dict()}
    torch.save(state, folder / "zip.pth")
    torch.save(state, folder / "old.pth", _use_new_zipfile_serialization=False)
    from bench.config.recipe import Backbone

    save_backbone(folder / "a.safetensors", network, Backbone(depth=18, width=1, embedding_dim=2))
    save_file({"layer1.0.bn1.weight": torch.zeros(2)}, folder / "other.safetensors", metadata={"backbone": "{}"})
    load_backbone(folder / "a.safetensors")  # the first call imports what the others have
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@fuzzed(150)
@given(name=st.sampled_from(["zip.pth", "old.pth", "a.safetensors", "other.safetensors"]), edits=EDITS)
def test_damaged_weights(tmp_path_factory, weights, name, edits):
    from generate.networks.weights import read_weights

    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(mutate(weights[name], edits))
    for read in (load_backbone, read_weights):
        check(read, path)


@pytest.fixture(scope="module")
def onnx_content(tmp_path_factory):
    import onnx
    from onnx import TensorProto, helper

    from generate.networks.identity import load_identity_network

    shape = {"images": [1, 3, 112, 112], "features": [1, 3]}
    values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name, size in shape.items()}
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"], axis=1),
    ]
    graph = helper.make_graph(nodes, "small", [values["images"]], [values["features"]])
    path = tmp_path_factory.mktemp("onnx") / "a.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    load_identity_network(path)  # the first call imports what the others have
    return path.read_bytes()


@fuzzed(150)
@given(edits=EDITS)
def test_damaged_onnx(tmp_path_factory, onnx_content, edits):
    from evaluate.measure.embed import load_network
    from generate.networks.identity import load_identity_network

    path = tmp_path_factory.getbasetemp() / "damaged.onnx"
    path.write_bytes(mutate(onnx_content, edits))
    for read in (load_identity_network, lambda file: load_network(file, "cpu")):
        check(read, path)
