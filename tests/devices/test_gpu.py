"""Golden values of the official networks on a GPU, and the checks of ``make check-gpu`` in small sizes on a CPU."""

import sys

import numpy as np
import pytest
import torch
from paths import GOLDEN

from bench.speed.checks import Check, Finding, run_checks
from evaluate.measure.speed import embedding_checks
from fr_train.backbone import iresnet
from fr_train.speed.checks import training_checks
from generate.speed.checks import generator_checks
from generate.vec2face import vec2face

sys.path.insert(0, str(GOLDEN))
from fill import fill_


@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-3), (torch.bfloat16, 0.1)])
def test_the_generator_draws_the_images_of_the_official_code(dtype, limit):
    with np.load(GOLDEN / "vec2face_vit_base_patch16.npz") as arrays:
        golden = {name: torch.from_numpy(arrays[name]) for name in arrays}
    model = fill_(vec2face()).eval().to("cuda", dtype)
    with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        image = model(golden["rep"].cuda(), golden["noise"].cuda(), golden["mask_rate"].item()).float().cpu()
    assert (image - golden["image"]).abs().max() < limit * golden["image"].abs().max()


@pytest.mark.gpu
@pytest.mark.parametrize("depth", [18, 50, 100])
def test_iresnet_gives_the_embeddings_of_the_official_code(depth):
    golden = np.load(GOLDEN / f"iresnet{depth}_normal.npz")
    network = fill_(iresnet(depth)).eval().cuda()
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        embedding = network(torch.from_numpy(golden["image"]).cuda()).cpu().numpy()
    assert np.abs(embedding - golden["embedding"]).max() < 1e-3 * np.abs(golden["embedding"]).max()


@pytest.mark.slow
def test_every_check_runs_on_a_cpu_or_says_that_it_needs_a_gpu(one_thread):
    checks = [*generator_checks(), *embedding_checks(), *training_checks()]
    rows = run_checks(checks, "cpu")
    needs_gpu = {check.name for check in checks if check.needs_gpu}
    assert {row["check"] for row in rows if row["result"] == "skipped"} == needs_gpu
    assert all(row["result"] == "passed" for row in rows if row["check"] not in needs_gpu), rows
    assert sum(row["images/s"] is not None for row in rows) >= 10


def test_a_check_that_raises_has_failed_and_the_next_one_runs():
    def fail(device):
        raise RuntimeError("no kernel image")

    checks = [Check("broken", fail), Check("wrong", lambda _: Finding("1 of 2", None, False))]
    rows = run_checks([*checks, Check("good", lambda _: Finding("2 of 2", 3.0))], "cpu")
    assert [row["result"] for row in rows] == ["failed", "failed", "passed"]
    assert rows[0]["detail"] == "RuntimeError: no kernel image"
    assert rows[2]["images/s"] == 3.0


def test_no_check_starts_after_the_time_limit():
    (row,) = run_checks([Check("late", lambda _: Finding("done"))], "cpu", time_limit=0)
    assert (row["result"], row["detail"]) == ("skipped", "0 seconds were over")
