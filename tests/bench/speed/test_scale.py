"""Steps at several sizes: figures, growth, going on after an interruption; and every real step at a small size."""

import json

import pytest

import evaluate.audit.scale
import fr_train.speed.scale
import generate.speed.scale
from bench.machine.stopwatch import peak_memory_mb
from bench.speed.scale import MEASURED_NAME, Size, Step, growth_rows, measure_steps


def line(step, num_identities, seconds, peak):
    figures = {"processor_seconds": seconds, "memory_before_mb": 100.0, "peak_memory_mb": 100.0 + peak}
    return {"step": step, "num_identities": num_identities, "images_per_identity": 5, **figures}


def test_growth_of_seconds_and_memory():
    sizes = [Size(10, 5), Size(100, 5), Size(1000, 5)]
    lines = [line("square", 10, 9.0, 1), line("square", 100, 2.0, 3), line("square", 1000, 200.0, 30)]
    lines.append(line("one size", 100, 2.0, 3))
    square, one_size, none = growth_rows(["square", "one size", "none"], sizes, lines)
    assert square["seconds grow as N to the"] == pytest.approx(2)
    assert square["memory grows as N to the"] == pytest.approx(1)
    assert square["1,000: processor s"] == 200 and square["10: peak MiB"] == 101
    assert one_size["seconds grow as N to the"] is None and one_size["1,000: peak MiB"] is None
    assert set(none.values()) == {"none", None}


def count(size, folder):
    return {"images": size.num_images, "prepared": int((folder / "input").read_text())}


def prepare(size, folder):
    (folder / "input").write_text("7")
    b"x" * int((peak_memory_mb() + 300) * 2**20)  # memory of a preparation is not that of its step


@pytest.mark.slow
def test_what_is_measured_is_not_measured_again(tmp_path):
    before = peak_memory_mb()
    steps, sizes = [Step("count", count, prepare)], [Size(20, 3), Size(10, 3)]
    row = measure_steps(steps, sizes[1:], tmp_path)[0]
    first = (tmp_path / MEASURED_NAME).read_text()
    assert json.loads(first)["counts"] == {"images": 30, "prepared": 7}
    assert row["10: peak MiB"] == json.loads(first)["peak_memory_mb"] > 1
    assert json.loads(first)["memory_before_mb"] < before + 200
    measure_steps(steps, sizes, tmp_path)
    lines = (tmp_path / MEASURED_NAME).read_text().splitlines(keepends=True)
    assert lines[0] == first and len(lines) == 2
    assert [path.name for path in tmp_path.iterdir()] == [MEASURED_NAME]


@pytest.mark.slow
def test_every_step_does_its_work(tmp_path):
    """As many identities as fill four shards and one more; what each step counts shows that nothing was left out."""
    size = Size(4 * generate.speed.scale.IDENTITIES_PER_SHARD + 1, 5)
    steps = [*generate.speed.scale.steps(), *fr_train.speed.scale.steps(), *evaluate.audit.scale.steps()]
    found = {}
    for step in steps:
        step.prepare(size, tmp_path)
        found[step.name] = step.measure(size, tmp_path)
    num_identities, num_images = size.num_identities, size.num_images
    assert list(found.values()) == [
        {"candidates": num_identities},
        {"features": num_identities},
        {"kept": num_identities},
        {"kept": num_identities},
        {"images": num_images, "identities": num_identities},
        {"images": num_images, "identities": num_identities},
        {"images": 5 * 2 * 512},
        {"near pairs": 2, "repeats": 2},
        {"unique": num_identities, "genuine pairs": 10 * num_identities, "impostor pairs": 822_400},
        {"shared": 20},
    ]
