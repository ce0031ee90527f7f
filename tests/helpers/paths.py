"""Where the repository and the reference outputs for parity tests lie."""

from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
GOLDEN = ROOT / "tests" / "golden"
FORMATS = GOLDEN / "formats"
REPORTS = ROOT / "reports"
