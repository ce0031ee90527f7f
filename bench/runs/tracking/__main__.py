"""Print the address of the tracking store: ``python -m bench.runs.tracking RUNS``."""

import sys
from pathlib import Path

from bench.runs.tracking.addresses import tracking_uri

sys.stdout.write(tracking_uri(Path(sys.argv[1])))
