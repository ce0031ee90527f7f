"""Validation during training: the accuracy of the evaluation, whatever the number of processes."""

import json

import numpy as np
import pytest
import torch
import torch.distributed as dist
from training import run_processes

from evaluate.measure.embed import embed
from evaluate.measure.validate import Validation
from evaluate.measure.verify import verify
from evaluate.protocol import load_protocol


@pytest.fixture
def protocol(tmp_path):
    """20 pairs of noisy faces, in a folder with .npy; made-up and hard enough to err."""
    rng = np.random.default_rng(0)
    bases = rng.integers(60, 200, (7, 3, 7, 7))
    pairs = [(i % 7, (i + (i % 2)) % 7) for i in range(20)]
    blocks = [bases[k] + rng.normal(0, 90, bases[k].shape) for pair in pairs for k in pair]
    faces = [np.kron(block, np.ones((1, 16, 16))) for block in blocks]
    folder = tmp_path / "made_up"
    folder.mkdir()
    np.save(folder / "made_up.npy", np.clip(faces, 0, 255).astype(np.uint8))
    (folder / "issame.txt").write_text("".join(f"{int(a == b)}\n" for a, b in pairs))
    return folder


def network(images):
    return torch.nn.functional.avg_pool2d(images, 28).flatten(1)


def test_it_is_the_accuracy_of_the_evaluation(protocol):
    expected = verify(lambda images: embed(network, images), load_protocol(protocol)).result.accuracy
    assert Validation(lambda: {"made_up": protocol}, device="cpu")(network) == {
        "made_up": pytest.approx(expected, abs=1e-12)
    }
    assert 0.5 <= expected < 1


def validate_and_write(protocol, directory):
    dist.init_process_group("gloo")
    asked, embedded = [], []

    def counting(images):
        embedded.append(len(images))
        return network(images)

    def find():
        asked.append(dist.get_rank())
        return {"made_up": protocol}

    validation = Validation(find, device="cpu")
    accuracies = [validation(counting), validation(counting)]
    result = {"accuracies": accuracies, "asked": len(asked), "embedded": sum(embedded)}
    (directory / f"{dist.get_rank()}.json").write_text(json.dumps(result))
    dist.destroy_process_group()


def statistics_network(rank):
    """A network whose embeddings depend on its batch-norm statistics, which differ from rank to rank."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.AvgPool2d(28), torch.nn.Flatten(), torch.nn.BatchNorm1d(48), torch.nn.Linear(48, 8), torch.nn.ReLU()
    )
    network[2].running_mean += torch.randn(48, generator=torch.Generator().manual_seed(rank))
    return network.eval()


def validate_with_other_statistics(protocol, directory):
    dist.init_process_group("gloo")
    network = statistics_network(dist.get_rank())
    accuracies = Validation(lambda: {"set": protocol}, device="cpu")(network)
    (directory / f"{dist.get_rank()}.json").write_text(json.dumps(accuracies))
    dist.destroy_process_group()


@pytest.mark.slow
def test_the_statistics_of_rank_0_count_in_every_process(protocol, tmp_path):
    run_processes(validate_with_other_statistics, 2, protocol, tmp_path)
    alone, other = (Validation(lambda: {"set": protocol}, device="cpu")(statistics_network(rank)) for rank in (0, 1))
    assert alone != other
    assert [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)] == [alone, alone]


@pytest.mark.slow
def test_processes_share_the_faces_and_agree(protocol, tmp_path):
    run_processes(validate_and_write, 2, protocol, tmp_path)
    alone = Validation(lambda: {"made_up": protocol}, device="cpu")(network)
    results = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert [result["accuracies"] for result in results] == [[alone, alone]] * 2
    assert [result["asked"] for result in results] == [1, 1]
    assert [result["embedded"] for result in results] == [2 * 2 * 40, 0]  # two validations, two flips, one batch
