"""Cards reach MLflow once and only once; an unreachable server costs a warning, never a number."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from results import PROTOCOLS, make_result, write_run

from bench.runs.cards import AuditCard, GeneratorCard, ResultCard, card_sha256, read_card, write_card
from bench.runs.tracking import results, sending, store
from bench.runs.tracking.addresses import shown_uri, tracking_uri
from bench.runs.tracking.curves import points_of_lines
from bench.runs.tracking.notes import SENT_NAME
from bench.runs.tracking.sending import sync, sync_generator
from bench.runs.tracking.store import allowed_name, connect

RESULT = "smoke seed 0 result"
"""Name of the run of the fixture's result."""


@pytest.fixture(scope="module")
def fresh_store(tmp_path_factory):
    """One migrated sqlite file for the whole module: the first contact takes MLflow seconds."""
    folder = tmp_path_factory.mktemp("store")
    connect(folder)
    return folder / "mlflow.db"


@pytest.fixture
def runs(tmp_path, fresh_store, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(fresh_store, tmp_path / "mlflow.db")
    write_run(tmp_path, scale="smoke", accuracy=0.875)
    return tmp_path


def all_runs(runs):
    connected = connect(runs)
    return connected.client, connected.client.search_runs([connected.experiment_id])


@pytest.mark.slow
def test_a_parent_and_a_child_per_stage_with_settings_metrics_artifacts_and_dataset(runs):
    assert sync(runs) == (1, None)
    client, found = all_runs(runs)
    by_name = {run.info.run_name: run for run in found}
    assert set(by_name) == {RESULT, "generate smoke seed 0 faces0", "train smoke seed 0 model0"}
    parent = by_name.pop(RESULT)
    assert all(run.data.tags["mlflow.parentRunId"] == parent.info.run_id for run in by_name.values())
    assert all(run.info.status == "FINISHED" for run in found)
    assert parent.data.metrics["accuracy/mean"] == 0.875
    assert parent.data.metrics["accuracy/render_lfw"] == 0.875
    assert parent.data.metrics["cost/train_seconds"] == 20
    statistics = by_name["generate smoke seed 0 faces0"].data.metrics
    assert statistics["statistics/quality_mean"] == 25.5
    assert statistics["statistics/dropped.near duplicate"] == 3
    train = by_name["train smoke seed 0 model0"]
    assert train.data.params["recipe.optimizer.lr"] == "0.1"
    assert train.inputs.dataset_inputs[0].dataset.name == "rendered heads"
    assert [point.value for point in client.get_metric_history(train.info.run_id, "train/loss")] == [9.0, 5.0]
    artifacts = {item.path for item in client.list_artifacts(by_name["generate smoke seed 0 faces0"].info.run_id)}
    assert artifacts == {"dataset.json", "grid.png"}


@pytest.mark.slow
def test_sending_again_sends_nothing_even_without_the_note(runs):
    sync(runs)
    assert sync(runs) == (0, None)
    note = next(runs.glob(f"*/results/*/{SENT_NAME}"))
    note.unlink()
    assert sync(runs) == (1, None)
    assert len(all_runs(runs)[1]) == 3


@pytest.mark.slow
def test_a_database_that_holds_everything_is_not_opened(runs, monkeypatch):
    def refuse(runs):
        raise ConnectionError("opened")

    sync(runs)
    monkeypatch.setattr(sending, "connect", refuse)
    assert sync(runs) == (0, None)
    (note,) = runs.glob(f"*/results/*/{SENT_NAME}")
    content, card = note.read_text(), next(runs.glob("*/results/*/result.json"))
    changes = {
        "the database was written": lambda: os.utime(runs / "mlflow.db"),
        "the note is lost": note.unlink,
        "the card is another one": lambda: card.write_text(card.read_text() + " "),
    }
    for what, change in changes.items():
        change()
        num_sent, problem = sync(runs)
        assert num_sent == 0 and "opened" in problem, what
        note.write_text(content)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert "opened" in sync(runs)[1]


@pytest.mark.slow
def test_an_audit_is_a_run_of_its_own_sent_once(runs):
    card = make_audit()
    folder = runs / "datasets" / "audits" / card.fingerprint
    write_card(folder, card)
    (folder / "audit.html").write_text("<!doctype html>")
    (folder / "leakage_lfw.tsv").write_text("identity\n")
    assert sync(runs) == (2, None)  # the result of the fixture, and the audit
    assert sync(runs) == (0, None)
    (folder / SENT_NAME).unlink()
    assert sync(runs) == (1, None)  # found again by its tag, not sent
    client, found = all_runs(runs)
    (run,) = [run for run in found if run.info.run_name == "audit mine audit0"]
    assert run.info.status == "FINISHED"
    assert run.data.tags["suite.stage"] == "audit"
    metrics = {key: value for key, value in run.data.metrics.items() if key.startswith("audit/")}
    assert metrics == {
        "audit/num_images": 40,
        "audit/num_identities": 10,
        "audit/num_broken": 1,
        "audit/exact_duplicates": 2,
        "audit/exact_duplicates_across_identities": 1,
        "audit/near_duplicate_pairs": 5,
        "audit/near_duplicate_pairs_across_identities": 3,
        "audit/unique_at_0.4/kept": 9,
        "audit/unique_at_0.4/earlier": 8,
        "audit/consistency": 0.7,
        "audit/consistency_below_0.3": 0.05,
        "audit/diversity/pair_mean": 0.6,
        "audit/fisher_ratio": 5.5,
        "audit/genuine_mean": 0.7,
        "audit/impostor_mean": 0.01,
        "audit/leakage/L_F_W/identities_shared": 4,
        "audit/leakage/L_F_W/images_with_same_pixels": 6,
        "audit/leakage/L_F_W/images_above_0.5": 0.25,
    }
    assert run.data.params["dataset.name"] == "mine"
    names = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert names == {"audit.json", "audit.html", "leakage_lfw.tsv"}


def make_audit():
    """An AuditCard of 40 images. One share, one figure and one distribution are undefined."""
    shared = make_result().model_dump(include={"scale", "seed", "command", "cost", "environment", "git"})
    values, histogram = {"num": 40, "mean": 0.5}, {"low": -1, "high": 1, "counts": [1, 39]}
    moments = {"num_pairs": 60, "std": 0.1, "histogram": histogram}
    images = {"num_broken": 1, "broken": ["0.png does not decode"], "other_sizes": {}}
    images |= {"num_identities_of_one_image": 0, "num_identities_without_image": 0}
    near = {"max_bits": 2, "num_pairs": 5, "num_pairs_across_identities": 3, "num_images": 8, "is_complete": True}
    leakage = {"reference": "L F/W", "num_images": 9, "num_identities": 5, "num_images_with_same_pixels": 6}
    leakage |= {name: values for name in ("image_cosine", "reference_own_nearest", "identity_cosine")}
    leakage |= {"share_of_images_above": {"0.5": 0.25}, "share_of_images_above_reference_p95": 0.5}
    leakage |= {"identity_threshold": 0.5, "num_identities_above": 4, "identities": [], "images": []}
    return AuditCard(
        **shared,
        fingerprint="audit0",
        inputs={"dataset": {"name": "mine", "state": "40 entries"}},
        name="mine",
        num_images=40,
        num_identities=10,
        images=images | {name: values for name in ("per_identity", "brightness", "sharpness", "red_minus_blue")},
        duplicates={
            "exact": {"num_images": 2, "num_images_across_identities": 1},
            "near": near,
            "across_identities": [],
        },
        separation={
            "num_identities": 10,
            "unique": {"0.4": {"kept": 9, "earlier": 8}},
            "curve": {"num_identities": [10], "kept_0.4": [9]},
            "nearest_cosine": values,
            "nearest_pairs": [],
        },
        consistency={
            "to_center": values,
            "to_others": values | {"mean": 0.7},
            "share_below": {"0.3": 0.05, "0.4": None},
            "lowest": [],
        },
        diversity={"pair_mean": values | {"mean": 0.6}, "quality": {"num": 0}},
        pairs={
            "fisher_ratio": 5.5,
            "d_prime": None,
            "genuine": moments | {"mean": 0.7},
            "impostor": moments | {"mean": 0.01, "histogram_is_of_all_pairs": True},
        },
        leakage=[leakage],
    )


@pytest.mark.slow
def test_an_attempt_that_was_cut_off_is_continued(runs, monkeypatch):
    real, calls = results._send_stage, []

    def fails_at_the_second_stage(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise ConnectionError("connection reset")
        real(*arguments)

    monkeypatch.setattr(results, "_send_stage", fails_at_the_second_stage)
    num_sent, problem = sync(runs)
    assert num_sent == 0
    assert "did not take all results (connection reset)" in problem
    monkeypatch.setattr(results, "_send_stage", real)
    assert sync(runs) == (1, None)
    assert len(all_runs(runs)[1]) == 3


def test_a_server_that_does_not_answer_costs_a_warning(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    directory = write_run(tmp_path, scale="smoke", accuracy=0.875)
    before = card_sha256(directory, ResultCard)
    num_sent, problem = sync(tmp_path)
    assert num_sent == 0
    assert problem.startswith("MLflow at http://127.0.0.1:9 did not take all results")
    assert "\n" not in problem
    assert card_sha256(directory, ResultCard) == before
    assert read_card(directory, ResultCard).mean_accuracy == 0.875
    assert not (directory / SENT_NAME).exists()


@pytest.mark.slow
def test_settings_division_and_parents_stand_on_the_run_that_is_compared(runs):
    sync(runs)
    _, found = all_runs(runs)
    parent = next(run for run in found if run.info.run_name == RESULT)
    assert parent.data.params["generator.kind"] == "render"
    assert parent.data.params["recipe.optimizer.lr"] == "0.1"
    assert parent.data.params["dataset.num_identities"] == "320"
    assert parent.data.tags["suite.division"] == "open"  # the made-up recipe hash is none of benchmarks.yaml
    assert parent.data.tags["suite.scale"] == "smoke"
    assert parent.data.tags["suite.recipe_sha256"] == "a" * 64
    assert parent.data.tags["suite.model_sha256"] == "e" * 64
    assert parent.data.tags["suite.dataset_sha256"] == "d" * 64
    assert {"accuracy/mean", "cost/gpu_hours", "accuracy/render_lfw"} <= parent.data.metrics.keys()


@pytest.mark.slow
def test_the_network_is_registered_with_its_signature_and_embeds(runs, recwarn):
    import mlflow

    from bench.config.benchmarks import load_benchmark
    from evaluate.measure.embed import embed, load_network
    from fr_train.backbone import build_backbone
    from fr_train.checkpoint import save_backbone

    settings = load_benchmark("smoke").recipe.backbone
    weights = runs / "smoke" / "models" / "model0" / "model.safetensors"
    save_backbone(weights, build_backbone(settings), settings)
    assert sync(runs) == (1, None)
    assert not [str(one.message) for one in recwarn if "input example" in str(one.message)]
    client, _ = all_runs(runs)
    (version,) = client.search_model_versions("name='smoke'")
    assert version.tags["accuracy/mean"] == "0.8750"
    folder = mlflow.artifacts.download_artifacts(version.source, tracking_uri=tracking_uri(runs))
    model = mlflow.pyfunc.load_model(folder)
    assert model.metadata.signature.inputs.inputs[0].shape == (-1, 112, 112, 3)
    assert model.metadata.signature.outputs.inputs[0].shape == (-1, settings.embedding_dim)
    images = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)
    np.testing.assert_array_equal(model.predict({"images": images}), embed(load_network(weights), images))


@pytest.mark.slow
def test_a_wiped_database_gets_everything_again(runs):
    card = make_audit()
    write_card(runs / "datasets" / "audits" / card.fingerprint, card)
    assert sync(runs) == (2, None)
    (runs / "mlflow.db").unlink()
    assert sync(runs) == (2, None)
    assert sync(runs) == (0, None)
    assert len(all_runs(runs)[1]) == 4


def make_generator_card():
    """A GeneratorCard with just what is sent."""
    shared = make_result().model_dump(include={"scale", "seed", "command", "cost", "environment", "git"})
    numbers = {"num_parameters": 5, "num_images_seen": 7}
    digests = {"recipe_sha256": "a" * 64, "weights_sha256": "b" * 64}
    names = {"recipe": "photographs", "perceptual_network": "none", "fingerprint": "generator0"}
    return GeneratorCard(**shared, **numbers, **digests, **names, inputs={}, dataset={}, networks={}, figures={})


@pytest.mark.slow
def test_a_generator_is_sent_once_and_again_after_a_wipe(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "generators" / "generator0"
    folder.mkdir(parents=True)
    journal = folder / "train.jsonl"
    journal.write_text('{"step": 1, "time": 1, "loss": 9}\n{"step": 2, "time": 2, "loss": 5}\n')
    write_card(folder, make_generator_card())
    assert sync_generator(folder, tmp_path) is None
    assert sync(tmp_path) == (0, None)
    (tmp_path / "mlflow.db").unlink()
    assert sync(tmp_path) == (1, None)
    client, (run,) = all_runs(tmp_path)
    assert run.info.status == "FINISHED"
    assert [point.value for point in client.get_metric_history(run.info.run_id, "train/loss")] == [9.0, 5.0]


@pytest.mark.slow
def test_a_run_that_a_user_deleted_is_not_sent_again(runs):
    assert sync(runs) == (1, None)
    client, found = all_runs(runs)
    for run in found:
        client.delete_run(run.info.run_id)
    assert sync(runs) == (0, None)


@pytest.mark.slow
def test_an_experiment_deleted_in_the_ui_is_restored(runs):
    connected = connect(runs)
    connected.client.delete_experiment(connected.experiment_id)
    assert sync(runs) == (1, None)
    assert connected.client.get_experiment(connected.experiment_id).lifecycle_stage == "active"
    assert len(all_runs(runs)[1]) == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a?b", "a%20b", "a#b c"])
def test_runs_with_odd_characters_hold_their_database(tmp_path, monkeypatch, name):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    runs = tmp_path / name
    write_run(runs, scale="smoke", accuracy=0.875)
    assert sync(runs) == (1, None)
    assert (runs / "mlflow.db").exists()
    assert list((runs / "mlartifacts").rglob("result.json"))
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.slow
@pytest.mark.parametrize("note", [b"", b"[]", b'{"run_id": 7}', b"\xff", b'{"tracking_uri": null, "run_id": {}}'])
def test_a_damaged_note_ends_nothing(runs, note):
    assert sync(runs) == (1, None)
    path = next(runs.glob(f"*/results/*/{SENT_NAME}"))
    path.write_bytes(note)
    assert sync(runs) == (1, None)  # found again by its tag, not sent
    assert sync(runs) == (0, None)
    assert len(all_runs(runs)[1]) == 3


@pytest.mark.slow
def test_a_broken_card_does_not_keep_others_from_being_sent(runs):
    broken = runs / "broken" / "results" / "result0" / "result.json"
    broken.parent.mkdir(parents=True)
    broken.write_text("{}")
    num_sent, problem = sync(runs)
    assert num_sent == 1
    assert f"did not take all results ({broken}: " in problem


@pytest.mark.slow
def test_names_that_mlflow_refuses_are_spelled_in_another_way(runs):
    inputs = {"references": {"CASIA (112x112) + more, a=[b] & c": "x", "..": "y", "ok": "z"}}
    audit = make_audit().model_copy(update={"inputs": inputs})
    write_card(runs / "datasets" / "audits" / audit.fingerprint, audit)
    result = make_result(fingerprint="result9", seed=9, protocols=("pairs (mine)", *PROTOCOLS))
    write_card(runs / "smoke" / "results" / "result9", result)
    assert sync(runs) == (3, None)
    assert sync(runs) == (0, None)
    found = {run.info.run_name: run.data for run in all_runs(runs)[1]}
    names = {"references.CASIA _112x112_ _ more_ a_b_ _ c", "references...", "references.ok"}
    assert names <= found["audit mine audit0"].params.keys()
    assert found["smoke seed 9 result"].metrics["accuracy/pairs _mine_"] == 0.875


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("accuracy/render_lfw", "accuracy/render_lfw"),
        ("statistics/dropped.near duplicate", "statistics/dropped.near duplicate"),
        ("accuracy/a@b=1/../c//d", "accuracy/a_b_1/_/c/_/d"),
        ("x" * 300, "x" * 250),
    ],
)
def test_names_in_mlflow(name, allowed):
    from mlflow.utils.validation import _validate_metric_name

    assert allowed_name(name) == allowed
    _validate_metric_name(allowed)


def test_curves_have_allowed_names():
    (point,) = points_of_lines([{"step": 3, "time": 1, "pairs (mine)/accuracy": 0.5}])
    assert point.name == "validation/pairs _mine_"


@pytest.mark.slow
def test_a_card_that_mlflow_refuses_does_not_keep_others_from_being_sent(runs, monkeypatch):
    monkeypatch.setattr(store, "allowed_name", lambda name: name)
    audit = make_audit().model_copy(update={"inputs": {"references": {"CASIA (112x112)": "x"}}})
    folder = runs / "datasets" / "audits" / audit.fingerprint  # sorted before the result of the fixture
    write_card(folder, audit)
    num_sent, problem = sync(runs)
    assert num_sent == 1
    assert f"did not take all results ({folder}: " in problem


@pytest.mark.slow
def test_more_metrics_than_one_call_takes(runs):
    connected = connect(runs)
    run_id = connected.create_run("many", {})
    metrics = {f"accuracy/{number}": 0.5 for number in range(1001)}
    connected.log_values(run_id, metrics, {"seed": 0}, 0)
    data = connected.get_run(run_id).data
    assert data.metrics == metrics
    assert data.params == {"seed": "0"}


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://me:sec%40ret@host:5000/ml", "http://me:***@host:5000/ml"),
        ("http://host:5000", "http://host:5000"),
        ("postgresql://host/db?user=me&password=hidden", "postgresql://host/db?user=me&password=***"),
    ],
)
def test_a_password_is_neither_printed_nor_written(tmp_path, monkeypatch, uri, shown):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert shown_uri(tmp_path) == shown
    write_run(tmp_path, scale="smoke", accuracy=0.875)

    def fail(runs):
        raise ConnectionError(f"{uri} and sec@ret refuse")

    monkeypatch.setattr(sending, "connect", fail)
    _, problem = sync(tmp_path)
    assert problem.startswith(f"MLflow at {shown} did not take all results (")
    assert not [word for word in ("sec%40ret", "hidden") if word in problem]


@pytest.fixture(scope="module")
def postgres_uri():
    """A PostgreSQL server of our own, on a free port, gone after the tests."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not found:
        pytest.skip("postgresql is not installed: apt-get install postgresql")
    pytest.importorskip("psycopg2", reason="pip install psycopg2-binary")
    user = {"user": "postgres"} if os.geteuid() == 0 else {}  # the server refuses to run as root
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        Path(folder).chmod(0o777)
        data, run = f"{folder}/data", partial(subprocess.run, check=True, capture_output=True, **user)
        run([found[-1] / "initdb", "--auth=trust", "--username=mlflow", "--no-sync", data])
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        run([found[-1] / "pg_ctl", "-D", data, "-o", options, "-l", f"{folder}/log", "-w", "start"])
        try:
            yield f"postgresql+psycopg2://mlflow@127.0.0.1:{port}/postgres"
        finally:
            run([found[-1] / "pg_ctl", "-D", data, "-m", "immediate", "stop"])


@pytest.mark.slow
def test_a_tracking_server_on_postgresql_takes_results_once_and_only_once(postgres_uri, tmp_path, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", postgres_uri, "--workers", "1"]
    server += ["--host", "127.0.0.1", "--port", str(port), "--artifacts-destination", str(tmp_path / "artifacts")]
    log = (tmp_path / "server.log").open("w")
    process = subprocess.Popen(server, stdout=log, stderr=log, start_new_session=True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process)
        write_run(tmp_path / "runs", scale="smoke", accuracy=0.875)
        (tmp_path / "runs" / "smoke" / "models" / "model0" / "model.safetensors").write_bytes(b"weights")
        assert sync(tmp_path / "runs") == (1, None)
        assert sync(tmp_path / "runs") == (0, None)
        next((tmp_path / "runs").glob(f"*/results/*/{SENT_NAME}")).unlink()
        assert sync(tmp_path / "runs") == (1, None)  # found again by its tag, not sent
        client, found = all_runs(tmp_path / "runs")
        assert sorted(run.info.run_name.split()[0] for run in found) == ["generate", "smoke", "train"]
        parent = next(run for run in found if run.info.run_name == RESULT)
        assert parent.data.metrics["accuracy/mean"] == 0.875
        assert {item.path for item in client.list_artifacts(parent.info.run_id)} == {"result.json", "model"}
        assert [version.version for version in client.search_model_versions("name='smoke'")] in (["1"], [1])
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        log.close()


def wait_for(url, process):
    for _ in range(900):  # a busy machine takes minutes over the first migration
        assert process.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"{url} does not answer")
