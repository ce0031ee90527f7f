"""Published results: named, whole, without photographs; all or nothing."""

import numpy as np
import pytest
from leaderboard_rows import add_scores, floor
from PIL import Image
from results import make_result, write_run

from bench.errors import InputError
from bench.runs.cards import ResultCard, read_card, write_card
from evaluate.leaderboard.publish import publish, published_name


@pytest.fixture
def result(tmp_path):
    """A finished smoke run with scores and a sample grid."""
    folder = write_run(tmp_path / "runs", accuracy=0.9, seed=1)
    add_scores(folder)
    Image.fromarray(np.zeros((300, 900, 3), np.uint8)).save(
        tmp_path / "runs" / "smoke" / "faces" / "faces1" / "grid.png"
    )
    return folder


def test_card_scores_and_generated_faces_are_copied_and_the_leaderboard_rendered(result, tmp_path):
    written = publish([result], tmp_path / "reports")
    assert [path.name for path in written] == ["smoke_seed1.json", "leaderboard.html"]
    names = {path.name for path in (tmp_path / "reports" / "results").iterdir()}
    assert names == {"smoke_seed1.json", "smoke_seed1.npz", "smoke_seed1.jpg"}
    assert (tmp_path / "reports" / "results" / "smoke_seed1.json").read_bytes() == (result / "result.json").read_bytes()
    assert "data:image/jpeg" in written[-1].read_text()


def test_a_published_command_names_no_folder_of_this_machine(result, tmp_path):
    card = read_card(result, ResultCard)
    flags = "--runs '/home/me/my runs' --seed 1 --weights=/data/w --test-sets /data/sets --device cpu"
    write_card(result, card.model_copy(update={"command": f"python -m evaluate --scale smoke {flags}"}))
    publish([result], tmp_path / "reports")
    published = read_card(result, ResultCard).model_copy(
        update={"command": "python -m evaluate --scale smoke --seed 1 --device cpu"}
    )
    text = (tmp_path / "reports" / "results" / "smoke_seed1.json").read_text()
    assert ResultCard.model_validate_json(text) == published


def test_photographs_are_never_published(result, tmp_path):
    card = tmp_path / "runs" / "smoke" / "faces" / "faces1" / "dataset.json"
    card.write_text(card.read_text().replace('"kind": "render"', '"kind": "files"'))
    publish([result], tmp_path / "reports")
    assert not list((tmp_path / "reports").rglob("*.jpg"))


def test_names():
    assert published_name(make_result("smoke")) == "smoke"
    assert published_name(make_result("smoke", seed=2)) == "smoke_seed2"
    assert published_name(make_result("smoke", **floor("raw pixels"))) == "smoke_raw_pixels"
    assert published_name(make_result("models", row="model", name="../my net")) == "_my_net"


def test_nothing_is_copied_where_something_is_wrong(result, tmp_path):
    with pytest.raises(InputError, match='no result was given; name folders, as in: make publish RESULTS="runs/'):
        publish([], tmp_path / "reports")
    with pytest.raises(InputError, match=r"nowhere does not exist|result.json does not exist"):
        publish([result, tmp_path / "nowhere"], tmp_path / "reports")
    with pytest.raises(InputError, match="several results have the name smoke_seed1; publish one per name"):
        publish([result, result], tmp_path / "reports")
    card = read_card(result, ResultCard)
    write_card(result, card.model_copy(update={"mean_accuracy": 0.99}))
    with pytest.raises(InputError, match=r"mean_accuracy is 0\.99"):
        publish([result], tmp_path / "reports")
    assert not (tmp_path / "reports").exists()


def test_the_card_itself_names_its_result(result, tmp_path):
    publish([result / "result.json"], tmp_path / "reports")
    names = {path.name for path in (tmp_path / "reports" / "results").iterdir()}
    assert names == {"smoke_seed1.json", "smoke_seed1.npz", "smoke_seed1.jpg"}
    with pytest.raises(InputError, match=r"scores.npz is not the result of a run; give a folder that holds result"):
        publish([result / "scores.npz"], tmp_path / "reports")


def test_every_figure_is_counted_again_from_the_scores(result, tmp_path):
    card = read_card(result, ResultCard)
    better = card.protocols["render_lfw"].model_copy(update={"tar_at_far": {"1e-1": 0.99}})
    write_card(result, card.model_copy(update={"protocols": card.protocols | {"render_lfw": better}}))
    with pytest.raises(InputError, match=r"render_lfw: TAR at FAR 1e-1 is 0.99, but its scores give 0\.\d+"):
        publish([result], tmp_path / "reports")
    (result / "scores.npz").unlink()
    with pytest.raises(InputError, match=r"scores.npz is missing, so no number can be checked; run the evaluation"):
        publish([result], tmp_path / "reports")
    assert not (tmp_path / "reports").exists()


def test_a_result_with_changed_settings_does_not_replace_that_of_its_benchmark():
    changed = make_result("smoke", name="smoke, generator.num_identities=100", changes=["generator.num_identities=100"])
    assert published_name(changed) == "smoke_generator.num_identities_100"
    assert published_name(make_result("smoke", seed=1)) == "smoke_seed1"
