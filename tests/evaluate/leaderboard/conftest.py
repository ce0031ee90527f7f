"""Results that the tests of the leaderboard share."""

import pytest
from leaderboard_rows import add_result, floor
from PIL import Image
from results import PROTOCOLS, write_run

from evaluate.leaderboard.protocol_names import FIVE


@pytest.fixture
def runs(tmp_path):
    """Three seeds of smoke, a floor each for rendered and real sets, two real results, given weights on other sets."""
    for seed, accuracy in enumerate((0.91, 0.93, 0.92)):
        write_run(tmp_path, accuracy=accuracy, seed=seed)
    Image.new("RGB", (900, 300), "red").save(tmp_path / "smoke" / "faces" / "faces0" / "grid.png")
    add_result(tmp_path, "low", 0.61, protocols=PROTOCOLS, separation=5, **floor())
    add_result(tmp_path, "real_low", 0.62, separation=5, **floor())
    add_result(tmp_path, "a", accuracies=dict(zip(FIVE, (0.99, 0.9, 0.95, 0.94, 0.87), strict=True)), separation=45)
    add_result(tmp_path, "b", accuracies=dict(zip(FIVE, (0.98, 0.91, 0.9, 0.9, 0.8), strict=True)), separation=35)
    add_result(tmp_path, "weights", protocols=("lfw", "cfp_ff"), row="model", dataset=None, recipe=None, separation=60)
    return tmp_path
