"""The table of poses by landmark pictures, AttrOP and a told yaw, on shipped networks with a random pose model."""

import numpy as np
import pytest
import torch

from bench.config.generator import ASSETS_PATH
from bench.errors import InputError
from generate.draw.attrop import Outcomes
from generate.networks.plus.condition import PoseNetwork
from generate.networks.plus.lora import add_lora
from generate.networks.plus.pose_weights import save_pose_model
from generate.speed import pose as module
from generate.speed.pose import ATTROP, LANDMARKS, TOLD, describe, pose_tables, summary
from generate.vec2face import load_generator

pytestmark = pytest.mark.usefixtures("one_thread")


def outcomes(yaw, accepted, num_evaluations):
    num = len(yaw)
    return Outcomes(
        np.zeros((num, 2), np.float32),
        np.zeros((num, 112, 112, 3), np.uint8),
        np.zeros((num, 2), np.float32),
        np.linspace(0.5, 0.7, num, dtype=np.float32),
        {"yaw": np.array(yaw, np.float32)},
        np.zeros(num, np.int64),
        np.array(accepted),
        num_evaluations,
    )


def test_columns_by_hand():
    row = describe(outcomes([58, 71, 49.9, 66], [True, True, False, False], 12), 60.0)
    assert row == {
        "yaw reached, mean": pytest.approx(61.225),
        "share within 10 degrees": 0.5,
        "identity cosine, mean": pytest.approx(0.6),
        "share accepted": 0.5,
        "calls per accepted image": 6.0,
    }
    assert describe(outcomes([0], [False], 12), 60.0)["calls per accepted image"] is None
    first, told, second = summary(
        {
            (0.0, LANDMARKS): outcomes([1, 2], [True, True], 2),
            (60.0, LANDMARKS): outcomes([1, 62], [False, True], 2),
            (0.0, TOLD): outcomes([1, 2], [True, True], 2),
            (60.0, TOLD): outcomes([61, 62], [True, True], 2),
            (0.0, ATTROP): outcomes([1, 20], [True, False], 20),
            (60.0, ATTROP): outcomes([1, 62], [False, True], 20),
        }
    )
    assert (first["images"], first["accepted"], first["calls"]) == (4, 3, 4)
    assert first["share within 10 degrees"] == 0.75 and second["share within 10 degrees"] == 0.5
    assert first["AttrOP needs as many times"] == pytest.approx(20 / (4 / 3))
    assert told["AttrOP needs as many times"] == 20 and second["AttrOP needs as many times"] == 1


def test_a_missing_pose_model_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.safetensors is missing; make it with make assets"):
        pose_tables(tmp_path / "none.safetensors", num_identities=3)


@pytest.mark.slow
def test_every_way_is_drawn(tmp_path, monkeypatch):
    torch.manual_seed(0)
    generator = load_generator(ASSETS_PATH / "generator.safetensors")
    add_lora(generator, 2)
    network = PoseNetwork(generator.architecture.width, (4, 4, 4, 4))
    save_pose_model(tmp_path / "pose.safetensors", generator, network)
    monkeypatch.setattr(module, "YAWS", (30.0, -60.0))
    monkeypatch.setattr(module, "MAX_STEPS", 2)
    detail, together = pose_tables(tmp_path / "pose.safetensors", num_identities=3).values()
    assert [(row["yaw asked for"], row["by"]) for row in detail] == [
        (30, "landmarks"), (30, "AttrOP"), (30, "told the yaw"),
        (-60, "landmarks"), (-60, "AttrOP"), (-60, "told the yaw"),
    ]  # fmt: skip
    assert [row["images"] for row in together] == [6, 6, 6]
    assert [row["calls"] for row in together[:2]] == [6, 6] and together[2]["calls"] <= 2 * 3 * 3
