"""A checkpoint of other settings is refused, with the first setting that differs and both values."""

from pathlib import Path

import pytest

from bench.errors import InputError
from bench.machine.resume import refuse_damaged, refuse_other_settings


def test_the_first_setting_that_differs_is_named():
    saved = {"optimizer": {"lr": 0.1, "momentum": 0.9}, "seed": 0}
    refuse_other_settings(Path("c.pt"), saved, {"optimizer.lr": 0.1, "optimizer.momentum": 0.9, "seed": 0})
    message = r"^c\.pt was trained with optimizer\.lr=0\.1, this run has 0\.2; delete it to start anew"
    with pytest.raises(InputError, match=message):
        refuse_other_settings(Path("c.pt"), saved, {"optimizer": {"lr": 0.2, "momentum": 0.9}, "seed": 1})


def test_a_setting_that_one_side_lacks_differs():
    with pytest.raises(InputError, match=r"with ema_decay=None, this run has 0\.9"):
        refuse_other_settings(Path("c.pt"), {"seed": 0}, {"seed": 0, "ema_decay": 0.9})


@pytest.mark.parametrize("error", [KeyError("head"), InputError("cut short; fetch it again"), RuntimeError("size")])
def test_a_damaged_checkpoint_is_to_be_deleted(error):
    message = r"^a/checkpoint\.pt is damaged \(.+\); delete checkpoint\.pt, and the training starts anew$"
    with pytest.raises(InputError, match=message), refuse_damaged(Path("a/checkpoint.pt")):
        raise error
