"""Memory of an audit does not grow with the embeddings beyond their own pages."""

import json
import subprocess
import sys

import pytest
from paths import ROOT


@pytest.mark.slow
def test_a_hundred_thousand_embeddings(tmp_path):
    script = ROOT / "tests" / "helpers" / "audit_at_scale.py"
    command = [sys.executable, str(script), "100000", "50", "float16", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["num_shared_found"] == found["num_shared"] == 20
    assert found["unique"] == found["num_identities"]
    # 100 MB of embeddings, and blocks whose size does not depend on their number
    assert found["peak_memory_mb"] - found["memory_before_mb"] < 1300


@pytest.mark.slow
@pytest.mark.parametrize(("figure", "num_images", "max_mb"), [("overlap", 20_000, 500), ("vendi", 200_000, 1000)])
def test_memory_of_quality_figures(tmp_path, figure, num_images, max_mb):
    """Two sets of 40 MB each as float32 and blocks; or a file of 400 MB, whose mapped pages count too."""
    script = ROOT / "tests" / "evaluate" / "audit" / "quality" / "at_scale.py"
    command = [sys.executable, str(script), figure, str(num_images), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["peak_memory_mb"] - found["memory_before_mb"] < max_mb
