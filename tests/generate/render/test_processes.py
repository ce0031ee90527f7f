"""Rendering by one, two and three processes: the same bytes, no face rendered twice, and interruptions go on."""

import os

import pytest
from training import run_processes

from bench.files import remove_parts, sha256
from generate.render import dataset as rendering
from generate.render.people import draw_factors
from generate.render.protocols import pairs
from generate.render.protocols.write import rendered_protocol

FACES_PER_SHARD = 4
JOBS = [(identity, image, draw_factors(identity, image)) for identity in range(3) for image in range(3)]


def render(folder):
    """What each process of a launch does: render a dataset of 12 faces and a protocol of 8, and count its own."""
    real, num_rendered = rendering.render_jpegs, 0

    def count(jobs, quality=95):
        nonlocal num_rendered
        num_rendered += len(jobs)
        return real(jobs, quality)

    drawn = pairs.draw_pairs("render_lfw")[28:32]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rendering, "_FACES_PER_SHARD", FACES_PER_SHARD)
        patch.setattr(rendering, "render_jpegs", count)
        patch.setattr(rendering, "cores_of_process", lambda: 1)
        patch.setattr(pairs, "draw_pairs", lambda name: drawn)
        statistics = rendering.render_dataset(folder, num_identities=4, images_per_identity=3, seed=5)
        assert (statistics is None) == (os.environ.get("RANK", "0") != "0")
        assert rendered_protocol("render_lfw", folder / "protocols") == folder / "protocols" / "render_lfw"
    (folder / f"rendered{os.environ.get('RANK', '0')}").write_text(str(num_rendered))


@pytest.mark.slow
def test_the_number_of_processes_changes_no_byte(tmp_path):
    digests = []
    for world_size in (1, 2, 3):
        folder = tmp_path / str(world_size)
        if world_size == 1:
            render(folder)
        else:
            run_processes(render, world_size, folder)
        counts = [int(path.read_text()) for path in sorted(folder.glob("rendered*"))]
        assert len(counts) == world_size
        assert sum(counts) == 12 + 8
        assert min(counts) > 0
        remove_parts(folder)
        files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("rendered"))
        assert not [path for path in folder.rglob("*") if "parts" in path.name or path.suffix == ".tmp"]
        digests.append({str(path.relative_to(folder)): sha256(path) for path in files})
    names = {"faces.lmdb", "faces.parquet", "grid.png", "protocols/render_lfw/issame.txt"}
    assert names | {"protocols/render_lfw/render_lfw.npy"} <= digests[0].keys()
    assert digests[0] == digests[1] == digests[2]


@pytest.mark.slow
def test_shards_that_exist_are_kept_unless_their_faces_change(tmp_path, monkeypatch):
    monkeypatch.setattr(rendering, "_FACES_PER_SHARD", FACES_PER_SHARD)
    first = rendering.render_shards(JOBS, tmp_path)
    expected = list(rendering.read_shards(first))
    assert expected == list(rendering.render_jpegs(JOBS))
    times = [path.stat().st_mtime_ns for path in first]
    first[1].unlink()
    again = rendering.render_shards(JOBS, tmp_path)
    assert again == first
    assert [path.stat().st_mtime_ns for path in first][::2] == times[::2]
    assert list(rendering.read_shards(again)) == expected
    changed = rendering.render_shards([*JOBS[:-1], (3, 0, draw_factors(3, 0))], tmp_path)
    assert changed[:2] == first[:2]
    assert changed[2] != first[2]
    assert not set(rendering.render_shards(JOBS, tmp_path, quality=50)) & set(first)


def test_a_late_process_of_a_finished_rendering_does_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    rendering.render_shards(JOBS, tmp_path, is_over=lambda: True)
    assert not list(tmp_path.iterdir())
