"""Memory of an audit does not grow with the embeddings beyond their own pages."""

import json
import subprocess
import sys

import pytest
from paths import ROOT

from bench.files import read_json_lines
from bench.speed.scale import MEASURED_NAME, Size, measure_steps
from evaluate.audit.scale import NUM_SHARED, steps


@pytest.mark.slow
def test_a_hundred_thousand_embeddings(tmp_path):
    size = Size(2000, 50)
    measure_steps(steps(), [size], tmp_path)
    duplicates, described, compared = read_json_lines(tmp_path / MEASURED_NAME)
    assert described["counts"]["unique"] == size.num_identities
    assert compared["counts"]["shared"] == NUM_SHARED
    # 100 MB of embeddings, and blocks whose size does not depend on their number
    for line in (duplicates, described, compared):
        assert line["peak_memory_mb"] - line["memory_before_mb"] < 1300


@pytest.mark.slow
@pytest.mark.parametrize(("figure", "num_images", "max_mb"), [("overlap", 20_000, 500), ("vendi", 200_000, 1000)])
def test_memory_of_quality_figures(tmp_path, figure, num_images, max_mb):
    """Two sets of 40 MB each as float32 and blocks; or a file of 400 MB, whose mapped pages count too."""
    script = ROOT / "tests" / "evaluate" / "audit" / "quality" / "at_scale.py"
    command = [sys.executable, str(script), figure, str(num_images), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["peak_memory_mb"] - found["memory_before_mb"] < max_mb
