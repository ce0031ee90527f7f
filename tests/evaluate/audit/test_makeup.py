"""The make-up of a dataset by group: by the renderer's truth, a table, and an ONNX network; counted by hand."""

import math

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper
from PIL import Image

from bench.errors import InputError
from bench.runs.cards import AuditCard, read_card
from bench.runs.fingerprints import audit_stage
from evaluate.__main__ import _rendered_groups
from evaluate.audit.makeup import makeup_figure, makeup_rows, measure_makeup, with_attributes
from evaluate.audit.run import Comparisons, audit
from evaluate.audit.source import open_source
from generate.render.dataset import render_dataset
from generate.render.people import draw_identity

BRIGHT = {"ann": [200, 200, 10], "bob": [10, 10], "cy": [200, 10]}
"""Grey value of each image; the made-up network tells bright from dark images."""
TABLE = "identity,skin,age\nann,dark,old\nbob,light,\ncy,dark,old\n"


@pytest.fixture
def source(tmp_path):
    for name, greys in BRIGHT.items():
        (tmp_path / "faces" / name).mkdir(parents=True)
        for number, grey in enumerate(greys):
            pixels = np.full((112, 112, 3), grey, np.uint8)
            pixels[number] = 0  # no two images are equal
            Image.fromarray(pixels).save(tmp_path / "faces" / name / f"{number}.png")
    return open_source(tmp_path / "faces")


@pytest.fixture
def brightness(tmp_path):
    """Outputs [-mean, mean] of RGB in [-1, 1]: the second is larger for a bright image."""
    weight = helper.make_tensor("w", TensorProto.FLOAT, [1, 2], [-1.0, 1.0])
    axes = helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3])
    nodes = [
        helper.make_node("ReduceMean", ["faces", "axes"], ["mean"], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "last"], ["column"]),
        helper.make_node("MatMul", ["column", "w"], ["scores"]),
    ]
    last = helper.make_tensor("last", TensorProto.INT64, [1], [1])
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("faces", TensorProto.FLOAT, ["batch", 3, 112, 112])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 2])],
        [weight, axes, last],
    )
    path = tmp_path / "light.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def counts(makeup):
    return {group.group: (group.num_identities, group.num_images) for group in makeup.groups}


def measured(source, **arguments):
    arguments = {"table": None, "networks": (), "rendered": _rendered_groups} | arguments
    source = with_attributes(source, **arguments, device="cpu")
    return {makeup.attribute: makeup for makeup in measure_makeup(source, np.arange(len(source)))}


def test_a_table_of_identities(source, tmp_path):
    table = tmp_path / "groups.csv"
    table.write_text(TABLE)
    found = measured(source, table=table)
    assert counts(found["skin"]) == {"dark": (2, 5), "light": (1, 2)}
    assert counts(found["age"]) == {"old": (2, 5)} and found["age"].num_images_unknown == 2
    entropy = -(5 / 7 * math.log(5 / 7) + 2 / 7 * math.log(2 / 7))
    assert found["skin"].effective_groups == pytest.approx(math.exp(entropy))
    assert makeup_rows(found["skin"]) == [("dark", "2", "66.7%", "5", "71.4%"), ("light", "1", "33.3%", "2", "28.6%")]
    assert makeup_figure(found["age"])[2].endswith("by the table groups.csv. Images: old 100.0%; 2 images of no group")


def test_a_network_of_the_user(source, brightness):
    """Ann has most of her images in the bright group; cy has one of each and counts for the first group."""
    found = measured(source, networks=[f"{brightness}:dim,bright"])["light"]
    assert counts(found) == {"dim": (2, 4), "bright": (1, 3)} and found.origin == "the network light.onnx"
    assert counts(measured(source, networks=[str(brightness)])["light"]) == {"output 0": (2, 4), "output 1": (1, 3)}


def test_the_renderer_s_truth(tmp_path):
    render_dataset(tmp_path, num_identities=5, images_per_identity=2, seed=3)
    found = measured(open_source(tmp_path / "faces.lmdb"))
    table = pd.read_parquet(tmp_path / "faces.parquet")
    people = [draw_identity(seed) for seed in table["identity_seed"]]
    masculine = sum(person.masculinity > 0 for person in people)
    images = {group: number for group, (_, number) in counts(found["shape"]).items()}
    assert images == {name: n for name, n in {"feminine": 10 - masculine, "masculine": masculine}.items() if n}
    thirds = [("light", "medium", "dark")[int(person.skin_tone * 3)] for person in people]
    assert {group: number for group, (_, number) in counts(found["skin"]).items()} == {
        name: thirds.count(name) for name in set(thirds)
    }
    ages = ["young" if years < 36 else "middle" if years < 56 else "old" for years in table["age_years"]]
    assert {group: number for group, (_, number) in counts(found["age"]).items()} == {
        name: ages.count(name) for name in set(ages)
    }
    assert all(makeup.origin == "the renderer" for makeup in found.values())
    assert sum(number for number, _ in counts(found["shape_skin"]).values()) == 5


def test_faces_without_known_groups_have_no_make_up(source, tmp_path):
    assert measured(source) == {}
    pd.DataFrame({"candidate": range(7)}).to_parquet(tmp_path / "faces.parquet")  # as of drawn faces
    assert measured(source) == {}


def test_the_audit_states_it_on_card_and_page(source, tmp_path, brightness):
    table = tmp_path / "groups.csv"
    table.write_text(TABLE)
    source = with_attributes(source, table, [f"{brightness}:dim,bright"], _rendered_groups, device="cpu")
    stage = audit_stage("datasets", (source.name, source.state), {}, None, runs=tmp_path / "runs")
    card = audit(stage, source, Comparisons(), None, cache=tmp_path / "cache")
    assert read_card(stage.directory, AuditCard) == card
    assert [makeup.attribute for makeup in card.makeup] == ["skin", "age", "light"]
    page = (stage.directory / "audit.html").read_text()
    assert "Groups of people" in page and "<td>dark</td><td>2</td><td>66.7%</td><td>5</td><td>71.4%</td>" in page
    assert "2 images belong to none" in page


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("identity,skin\nann,dark\nbob,light\n", r"lacks 1 identities of .*faces: cy; add a line for each"),
        (f"{TABLE}dora,dark,old\n", r"names 1 identities that .*faces lacks: dora; remove them"),
        (f"{TABLE}ann,light,old\n", r"has 4 lines for 3 identities; give one line for each"),
        ("identity\nann\nbob\ncy\n", r"has the column identity alone; add a column of groups"),
        ("name,skin\nann,dark\n", r"has the columns name, skin; add identity"),
        (TABLE.replace("skin", "light"), r"the attribute light is given twice; rename"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(source, tmp_path, brightness, text, message):
    table = tmp_path / "groups.csv"
    table.write_text(text)
    with pytest.raises(InputError, match=message):
        measured(source, table=table, networks=[str(brightness)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: f"{path}:a,b,c", r"has 2 outputs, but 3 groups are named \(a,b,c\); name each"),
        (lambda path: f"{path}:a", r"has the groups 'a'; give two or more different names"),
        (lambda path: f"{path}:a,a", r"has the groups 'a,a'; give two"),
        (lambda path: path.with_name("gone.onnx"), r"gone\.onnx does not exist; give FILE\.onnx or"),
        (lambda path: path.parent / "faces", r"faces is no \.onnx file; give FILE\.onnx or"),
    ],
)
def test_an_attribute_network_that_does_not_fit_is_refused(source, brightness, change, message):
    with pytest.raises(InputError, match=message):
        measured(source, networks=[str(change(brightness))])
