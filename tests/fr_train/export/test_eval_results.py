"""Accuracies for the Hub: its own reader takes them, and only sets of the Hub have one."""

from dataclasses import replace

import huggingface_hub
import yaml
from results import make_protocol_result, make_template_result

from bench.config.recipe import Backbone
from bench.runs.inputs import TEST_SETS_ON_THE_HUB
from fr_train.checkpoint import save_backbone, untrained_backbone
from fr_train.export import folder
from fr_train.export.eval_results import render_eval_results
from fr_train.export.folder import export_folder

PATH = ".eval_results/gaunernst_face-recognition-eval.yaml"


def fetched(name, accuracy):
    page = TEST_SETS_ON_THE_HUB[name].page
    return make_protocol_result(accuracy, num_pairs=6000).model_copy(update={"copy_known_as": f"{page}, commit a1b2"})


def test_the_hub_reads_what_is_written():
    ((path, text),) = render_eval_results({"lfw": fetched("lfw", 0.9925), "calfw": fetched("calfw", 0.95)}).items()
    assert str(path) == PATH
    content = yaml.safe_load(text)
    entries = huggingface_hub.parse_eval_result_entries(content)
    assert [(entry.dataset_id, entry.task_id, entry.value) for entry in entries] == [
        ("gaunernst/face-recognition-eval", "lfw", 0.9925),
        ("gaunernst/face-recognition-eval", "calfw", 0.95),
    ]
    assert huggingface_hub.eval_result_entries_to_yaml(entries) == content
    assert entries[0].notes == f"accuracy, published 10-fold protocol, 6,000 pairs, SHA-256 {'0' * 64}"


def test_other_copies_and_other_sets_have_no_entry():
    other = make_protocol_result(0.99, num_pairs=6000)
    protocols = {"lfw": other, "render_lfw": other, "hadrian": other, "ijbc": make_template_result(0.9)}
    assert render_eval_results(protocols) == {}


def test_the_file_lies_beside_the_model_card(tmp_path, monkeypatch):
    settings = Backbone(depth=18, width=8, embedding_dim=32)
    save_backbone(tmp_path / "net.safetensors", untrained_backbone(settings), settings)
    found = folder.find_origin
    monkeypatch.setattr(
        folder, "find_origin", lambda *paths: replace(found(*paths), protocols={"lfw": fetched("lfw", 0.99)})
    )
    lines = export_folder(tmp_path / "net.safetensors", tmp_path / "out", ["safetensors"], tmp_path / "runs")
    assert f"{tmp_path / 'out' / PATH}: accuracies for the Hub" in lines
    assert (tmp_path / "out" / "README.md").exists()
    assert yaml.safe_load((tmp_path / "out" / PATH).read_text())[0]["value"] == 0.99
