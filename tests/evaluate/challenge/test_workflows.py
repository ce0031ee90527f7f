"""The workflows: tokens that only read, no text of a pull request in a script, and the script of the cards itself."""

import json
import os
import subprocess
import sys

import pytest
import yaml
from paths import ROOT

WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / ".github" / "workflows").glob("*.yml")}
STEPS = [(name, step) for name, flow in WORKFLOWS.items() for job in flow["jobs"].values() for step in job["steps"]]


def test_every_token_can_only_read():
    assert WORKFLOWS.keys() == {"tests", "cards"}
    assert all(flow["permissions"] == {"contents": "read"} for flow in WORKFLOWS.values())
    assert not [job for flow in WORKFLOWS.values() for job in flow["jobs"].values() if "permissions" in job]
    texts = [path.read_text() for path in (ROOT / ".github" / "workflows").glob("*.yml")]
    assert not [text for text in texts if "secrets" in text.replace("there are no secrets", "")]


def test_no_credentials_are_kept_and_no_script_holds_text_of_a_pull_request():
    checkouts = [step for _, step in STEPS if step.get("uses", "").startswith("actions/checkout")]
    assert len(checkouts) == 2
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)
    assert not [step for _, step in STEPS if "${{" in step.get("run", "")]


def test_the_cards_run_the_code_of_the_base():
    flow = WORKFLOWS["cards"]
    assert list(flow[True]) == ["pull_request_target"]  # YAML reads the key "on" as true
    (checkout,) = (step for name, step in STEPS if name == "cards" and "checkout" in step.get("uses", ""))
    assert checkout["with"]["ref"] == "${{ github.event.pull_request.base.sha }}"
    runs = [step["run"] for name, step in STEPS if name == "cards" and "run" in step]
    assert runs[0] == "make setup"  # before anything of the pull request is there
    assert "git checkout" not in runs[1]
    assert "git merge" not in runs[1].replace("git merge-base", "")


def test_lint_and_tests_are_those_of_make():
    assert [step["run"] for name, step in STEPS if name == "tests" and "run" in step] == [
        "make setup",
        "make lint",
        "make test",
    ]


def git(folder, *words):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    """A clone whose main branch lacks the result of smoke with seed 2, and its origin."""
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--shared", str(ROOT), str(origin))
    git(origin, "checkout", "--quiet", "-B", "main")
    full = git(origin, "rev-parse", "HEAD")
    git(origin, "rm", "--quiet", "--", *(f"reports/results/smoke_seed2.{suffix}" for suffix in ("json", "npz", "jpg")))
    git(origin, "commit", "--quiet", "-m", "base")
    git(tmp_path, "clone", "--quiet", "--shared", str(origin), str(clone))
    (clone / ".venv").symlink_to(sys.prefix)
    return origin, clone, full


def propose(origin, full, *, code=None):
    """A pull request, number 7, that adds the result; and code, if given, to a module that every command imports."""
    git(origin, "checkout", "--quiet", "-B", "proposal", "main")
    git(origin, "checkout", "--quiet", full, "--", "reports/results")
    if code:
        path = origin / "bench" / "cli.py"
        path.write_text(path.read_text() + code)
    git(origin, "add", "--all")
    git(origin, "commit", "--quiet", "-m", "proposal")
    git(origin, "update-ref", "refs/pull/7/head", "proposal")
    git(origin, "checkout", "--quiet", "main")


def run_script(clone):
    (script,) = (step["run"] for name, step in STEPS if name == "cards" and step.get("name") == "Check the cards")
    environment = {**os.environ, "NUMBER": "7", "PYTHONPATH": ""}
    done = subprocess.run(["bash", "-c", script], cwd=clone, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
def test_the_script_accepts_a_card_and_refuses_code_without_running_it(repository, tmp_path):
    origin, clone, full = repository
    propose(origin, full)
    status, output, error = run_script(clone)
    assert (status, error) == (0, "")
    mean = json.loads((ROOT / "reports" / "results" / "smoke_seed2.json").read_text())["mean_accuracy"]
    assert output.startswith(f"accepted smoke_seed2.json: smoke, seed 2, mean {mean:.2%}")
    marker = tmp_path / "ran"
    propose(origin, full, code=f"\nopen({str(marker)!r}, 'w')\n")
    status, output, error = run_script(clone)
    assert (status, output) == (2, "")
    assert "1 other files change, first bench/cli.py; put cards into a pull request of their own" in error
    assert not marker.exists()
