"""Cards that were written before load and are written again with the same values; broken ones are named.

``golden/cards`` holds one card of each kind: smoke with seeds 1 and 2, an audit of made-up faces, a tiny generator.
"""

import json

import pytest
from paths import GOLDEN, REPORTS, ROOT

from bench.errors import InputError
from bench.files import write_json
from bench.machine.facts import Cost, Environment, Git
from bench.runs.cards import (
    CARD_NAMES,
    AuditCard,
    DatasetCard,
    GeneratorCard,
    ModelCard,
    ResultCard,
    read_card,
    write_card,
)

KINDS = {
    "dataset": DatasetCard,
    "model": ModelCard,
    "result": ResultCard,
    "audit": AuditCard,
    "generator": GeneratorCard,
}
CARDS = [*GOLDEN.glob("cards/*.json"), *REPORTS.glob("results/*.json"), *REPORTS.glob("audits/*.json")]
ASSET_CARDS = sorted((ROOT / "generate" / "assets").rglob("*.json"))


def relative(path):
    return str(path.relative_to(ROOT))


def text_of(values):
    """JSON text, which tells 1 from 1.0 and shows the order of the keys."""
    return json.dumps(values, indent=2)


@pytest.mark.parametrize("path", sorted(CARDS), ids=relative)
def test_a_card_is_written_as_it_was_read(path, tmp_path):
    stored = json.loads(path.read_text())
    kind = KINDS[stored["kind"]]
    written = json.loads(write_card(tmp_path, read_card(path, kind)).read_text())
    later = {name: written.pop(name) for name in written.keys() - stored.keys()}  # fields that its schema did not have
    assert text_of(written) == text_of(stored)
    if stored["schema_version"] >= 3:  # what 4 adds is left out where it is empty
        assert later == {}
    assert not any(later.values())


def test_there_is_a_golden_card_of_each_kind():
    names = {path.name for path in GOLDEN.glob("cards/*.json")}
    assert names == set(CARD_NAMES.values())
    assert set(KINDS.values()) == CARD_NAMES.keys()


def test_a_result_of_the_first_schema_keeps_its_values(tmp_path):
    path = GOLDEN / "result_schema_1.json"
    stored = json.loads(path.read_text())
    written = json.loads(write_card(tmp_path, read_card(path, ResultCard)).read_text())
    assert contains(written, stored)
    assert not contains(written, stored | {"mean_accuracy": 0.5})


def contains(values, part):
    """Whether ``values`` holds everything in ``part``, and perhaps more."""
    if not isinstance(part, dict):
        return values == part
    return all(name in values and contains(values[name], value) for name, value in part.items())


@pytest.mark.parametrize("path", ASSET_CARDS, ids=relative)
def test_the_card_of_a_shipped_file_has_cost_machine_and_code(path):
    card = json.loads(path.read_text())
    for name, kind in (("cost", Cost), ("environment", Environment), ("git", Git)):
        assert text_of(kind.model_validate(card[name]).model_dump(mode="json")) == text_of(card[name])


def test_an_audit_without_a_field_of_later_versions_stays_without_it(tmp_path):
    """Older audits lack the mirror axis; a new audit states null where there are too few faces."""
    older = json.loads((REPORTS / "audits" / "cfp.json").read_text())
    del older["images"]["mirror_axis"]
    (tmp_path / "audit.json").write_text(json.dumps(older))
    card = read_card(tmp_path, AuditCard)
    assert card.images.mirror_axis is None
    assert "mirror_axis" not in card.model_dump()["images"]
    stated = card.images.model_copy(update={"mirror_axis": None})
    assert stated.model_dump()["mirror_axis"] is None


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("images", {"num_broken": "many"}, r"audit\.json: images\.num_broken: Input should be a valid integer"),
        ("pairs", {"fisher": 1.0}, r"audit\.json: pairs\.fisher: Extra inputs are not permitted"),
    ],
)
def test_a_wrong_value_in_a_section_is_named(tmp_path, section, values, message):
    card = json.loads((GOLDEN / "cards" / "audit.json").read_text())
    write_json(tmp_path / "audit.json", card | {section: card[section] | values})
    with pytest.raises(InputError, match=message):
        read_card(tmp_path, AuditCard)
