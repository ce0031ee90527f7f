"""A training that a scheduler ends writes its checkpoint at once, and goes on to the same network."""

import os
import signal

import pytest
import torch
from training import assert_same, run_processes, tiny_recipe, weights_of

from bench.cli import run
from bench.errors import Preempted
from fr_train.trainer.engine import Engine
from fr_train.trainer.options import RunOptions
from fr_train.trainer.train import train

OPTIONS = RunOptions(num_workers=0, validate_every=0)
STEP = 2


def signal_at(step, number):
    """``Engine.update`` that sends this process a signal in a step."""
    update = Engine.update

    def signalled(engine, batch, lr):
        if engine.step == step - 1:
            os.kill(os.getpid(), number)
        return update(engine, batch, lr)

    return signalled


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_training_ends_after_the_step_and_resumes_bitwise(number, trained, training_faces, tmp_path, monkeypatch):
    uninterrupted, _ = trained
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "update", signal_at(STEP, number))
        with pytest.raises(Preempted, match=f"ended by {number.name}; the checkpoint is written"):
            train(training_faces, tiny_recipe(), tmp_path, seed=0, options=OPTIONS)
    assert torch.load(tmp_path / "checkpoint.pt")["step"] == STEP
    assert signal.getsignal(number) == signal.SIG_DFL
    train(training_faces, tiny_recipe(), tmp_path, seed=0, options=OPTIONS)
    assert_same(weights_of(tmp_path), weights_of(uninterrupted))


def train_until_rank1_is_signalled(faces, directory):
    if os.environ["RANK"] == "1":
        Engine.update = signal_at(STEP, signal.SIGUSR1)
    try:
        train(faces, tiny_recipe(), directory, seed=0, options=OPTIONS)
    except Preempted as error:
        (directory / f"ended{os.environ['RANK']}").write_text(str(error.number))
        os._exit(0)  # the process group is not torn down after an exception


@pytest.mark.slow
def test_all_processes_end_where_one_of_them_is_signalled(training_faces, tmp_path):
    run_processes(train_until_rank1_is_signalled, 2, training_faces, tmp_path)
    assert [(tmp_path / f"ended{rank}").read_text() for rank in (0, 1)] == [str(int(signal.SIGUSR1))] * 2
    assert torch.load(tmp_path / "checkpoint.pt")["step"] == STEP


def test_a_command_ends_in_one_line_and_with_the_status_of_the_signal(capsys):
    def end():
        raise Preempted(signal.SIGUSR1)

    with pytest.raises(SystemExit) as status:
        run(end)
    assert status.value.code == 128 + signal.SIGUSR1
    assert capsys.readouterr().err == (
        "\nended by SIGUSR1; the checkpoint is written; run the same command again to resume\n"
    )
