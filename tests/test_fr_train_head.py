"""The split head: two processes equal one, sampled or not; only the sampled rows move."""

import os
import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn import functional as F

from bench.config import Margin
from bench.errors import InputError
from fr_train.head import Head, build_margin, only_rows

NUM_IDENTITIES, DIM, BATCH, STEPS = 11, 6, 8, 20
CASES = [("arcface", 1.0), ("arcface", 0.4), ("curricularface", 1.0), ("magface", 1.0), ("adaface", 1.0)]
CASES += [("uniface", 1.0)]


def run_steps(kind: str, sample_rate: float, rank: int, world_size: int) -> dict[str, torch.Tensor]:
    """20 steps on fixed features; what one process sees of them, put together."""
    torch.manual_seed(0)
    margin = build_margin(Margin(kind=kind, scale=8.0, margin=0.3), NUM_IDENTITIES)
    head = Head(NUM_IDENTITIES, DIM, margin, sample_rate=sample_rate, seed=1).train()
    optimizer = torch.optim.SGD([head.weight], lr=0.1, momentum=0.9, weight_decay=5e-4)
    generator = torch.Generator().manual_seed(1)
    losses = []
    for step in range(STEPS):
        features = 20 * torch.randn(BATCH, DIM, generator=generator)
        labels = torch.randint(0, NUM_IDENTITIES, (BATCH,), generator=generator)
        mine = slice(rank * BATCH // world_size, (rank + 1) * BATCH // world_size)
        leaf = features[mine].clone().requires_grad_()
        head.zero_grad()
        loss = head(leaf, labels[mine], step)
        loss.backward()
        head.share_gradients()
        with only_rows(optimizer, head.weight, head.used):
            optimizer.step()
        losses.append(loss.detach())
    gradient = leaf.grad
    if world_size > 1:
        parts = [torch.empty_like(gradient) for _ in range(world_size)]
        dist.all_gather(parts, gradient)
        gradient = torch.cat(parts)
    result = {"losses": torch.stack(losses), "gradient": gradient, "weight": head.whole(head.weight.detach())}
    result["momentum"] = head.whole(optimizer.state[head.weight]["momentum_buffer"])
    return result | {name: parameter.grad for name, parameter in head.margin.named_parameters()}


def one_rank(rank: int, port: int, directory: str) -> None:
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=2)
    torch.save([run_steps(*case, rank, 2) for case in CASES], f"{directory}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_equal_one(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(one_rank, args=(port, str(tmp_path)), nprocs=2)
    for rank in (0, 1):
        for case, split in zip(CASES, torch.load(tmp_path / f"{rank}.pt"), strict=True):
            whole = run_steps(*case, 0, 1)
            assert split.keys() == whole.keys()
            for name in whole:
                torch.testing.assert_close(
                    split[name], whole[name], rtol=1e-5, atol=1e-6, msg=lambda m, c=case: f"{c}: {m}"
                )


def test_the_loss_is_cross_entropy_of_all_columns():
    torch.manual_seed(0)
    head = Head(NUM_IDENTITIES, DIM, build_margin(Margin(kind="cosface", margin=0.0, scale=8.0), NUM_IDENTITIES))
    features, labels = torch.randn(BATCH, DIM, requires_grad=True), torch.arange(BATCH)
    plain = features.detach().clone().requires_grad_()
    expected = F.cross_entropy(8 * F.normalize(plain) @ F.normalize(head.weight.detach()).T, labels)
    loss = head(features, labels)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(features.grad, plain.grad)


def test_sampling_keeps_the_batch_and_a_share_of_the_others():
    head = Head(5000, 2, build_margin(Margin(), 5000), sample_rate=0.1, seed=3)
    labels = torch.tensor([4999, 0, 77, 77])
    used = head.sampled(labels, step=5)
    assert set(labels.tolist()) <= set(used.tolist())
    assert len(used) == pytest.approx(500, abs=80)
    assert torch.equal(used, used.unique())
    assert not torch.equal(used, head.sampled(labels, step=6))


@pytest.mark.parametrize("optimizer_of", [lambda p: torch.optim.SGD(p, 0.1, 0.9), lambda p: torch.optim.AdamW(p, 0.1)])
def test_rows_that_are_not_used_stay_as_they_are(optimizer_of):
    weight = nn.Parameter(torch.ones(4, 3))
    optimizer = optimizer_of([weight])
    for used in ([0, 2], [2, 3]):
        weight.grad = torch.ones_like(weight)
        before = weight.detach().clone()
        with only_rows(optimizer, weight, torch.tensor(used)):
            optimizer.step()
        moved = (weight.detach() != before).any(dim=1)
        assert moved.nonzero().flatten().tolist() == used
    assert optimizer.param_groups[0]["params"] == [weight]


def test_fewer_identities_than_processes(monkeypatch):
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_rank", lambda: 0)
    monkeypatch.setattr(dist, "get_world_size", lambda: 8)
    with pytest.raises(InputError, match="3 identities cannot be split over 8 processes; set NPROC=1"):
        Head(3, 2, build_margin(Margin(), 3))
