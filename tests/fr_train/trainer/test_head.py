"""The head over two processes equals that of one, with and without sampling; only sampled rows are updated."""

import pytest
import torch
import torch.distributed as dist
from torch.nn import functional as F
from training import run_processes

from bench.config.recipe import Margin
from bench.errors import InputError
from fr_train.margin import MARGINS, make_margin
from fr_train.trainer.head import Head, active_rows, build_margin

NUM_IDENTITIES, DIM, BATCH, STEPS = 11, 6, 8, 20
CASES = [("arcface", 1.0), ("arcface", 0.4), ("curricularface", 1.0), ("magface", 1.0), ("adaface", 1.0)]
CASES += [("uniface", 1.0)]


def run_steps(kind: str, sample_rate: float, rank: int, world_size: int) -> dict[str, torch.Tensor]:
    """20 steps on fixed features: losses, last gradient, and class weights and momentum gathered on rank 0."""
    torch.manual_seed(0)
    stated = {} if kind == "magface" else {"margin": 0.3}
    margin = build_margin(Margin(kind=kind, scale=8.0, **stated), NUM_IDENTITIES)
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
        head.start_step(labels[mine], step)
        loss = head(leaf, labels[mine])
        loss.backward()
        head.sum_margin_gradients()
        with active_rows(optimizer, head):
            optimizer.step()
        losses.append(loss.detach())
    gradient = leaf.grad
    if world_size > 1:
        parts = [torch.empty_like(gradient) for _ in range(world_size)]
        dist.all_gather(parts, gradient)
        gradient = torch.cat(parts)
    result = {"losses": torch.stack(losses), "gradient": gradient}
    blocks = {"weight": head.weight.detach(), "momentum": optimizer.state[head.weight]["momentum_buffer"]}
    wholes = {name: head.gather_rows(block) for name, block in blocks.items()}
    result |= {name: whole for name, whole in wholes.items() if whole is not None}
    return result | {name: parameter.grad for name, parameter in head.margin.named_parameters()}


def one_rank(directory: str) -> None:
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    torch.save([run_steps(*case, rank, 2) for case in CASES], f"{directory}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    run_processes(one_rank, 2, str(tmp_path))
    for rank in (0, 1):
        for case, split in zip(CASES, torch.load(tmp_path / f"{rank}.pt"), strict=True):
            whole = run_steps(*case, 0, 1)
            assert whole.keys() - split.keys() == ({"weight", "momentum"} if rank else set())
            for name in split:
                deviation = (split[name] - whole[name]).norm() / whole[name].norm()
                assert deviation <= 1e-5, f"{case}: {name} deviates by {deviation:.1e} of its length"


@pytest.mark.parametrize("kind", sorted(MARGINS.keys() - {"magface"}))
def test_a_recipe_without_a_margin_gets_that_of_the_authors(kind):
    name = "multiplier" if kind == "sphereface" else "margin"
    assert getattr(build_margin(Margin(kind=kind), 10), name) == getattr(make_margin(kind), name)
    assert getattr(build_margin(Margin(kind=kind, margin=1.2), 10), name) == 1.2


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
    used = head.sample_rows(labels, step=5)
    assert set(labels.tolist()) <= set(used.tolist())
    assert len(used) == pytest.approx(500, abs=80)
    assert torch.equal(used, used.unique())
    assert not torch.equal(used, head.sample_rows(labels, step=6))


@pytest.mark.parametrize("optimizer_of", [lambda p: torch.optim.SGD(p, 0.1, 0.9), lambda p: torch.optim.AdamW(p, 0.1)])
def test_rows_that_are_not_used_stay_as_they_are(optimizer_of):
    head = Head(4, 3, build_margin(Margin(), 4), sample_rate=0.01)
    optimizer = optimizer_of([head.weight])
    for step, labels in enumerate(([0, 2], [2, 3])):
        before = head.weight.detach().clone()
        head.start_step(torch.tensor(labels), step)
        head(torch.randn(2, 3), torch.tensor(labels)).backward()
        with active_rows(optimizer, head):
            optimizer.step()
        moved = (head.weight.detach() != before).any(dim=1)
        assert moved.nonzero().flatten().tolist() == labels
    assert optimizer.param_groups[0]["params"] == [head.weight]
    assert head.weight.grad is None


@pytest.mark.parametrize(("num_identities", "dim"), [(9000, 16), (4097, 20), (11, 6)])
def test_initial_weights_do_not_depend_on_how_they_are_split(num_identities, dim):
    torch.manual_seed(0)
    whole = torch.empty(num_identities, dim).normal_(0, 0.01)
    torch.manual_seed(0)
    head = Head(num_identities, dim, build_margin(Margin(), num_identities))
    assert torch.equal(head.weight.detach(), whole)
    head.start, head.stop = 3, num_identities - 2
    torch.manual_seed(0)
    assert torch.equal(head._initial_weight(dim), whole[3:-2])


def test_fewer_identities_than_processes(monkeypatch):
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_rank", lambda: 0)
    monkeypatch.setattr(dist, "get_world_size", lambda: 8)
    with pytest.raises(InputError, match="3 identities cannot be split over 8 processes; set NPROC=1"):
        Head(3, 2, build_margin(Margin(), 3))
