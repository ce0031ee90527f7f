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
