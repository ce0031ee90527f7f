"""What is kept of a run while it goes on: ``checkpoint.pt``, from which it resumes, and ``best.safetensors``.

A checkpoint fits any number of processes: the head is put together when it is written and split again when it is read.
The best network is the one with the best mean accuracy on the test sets, so it is kept apart and said to be that:
results and leaderboard use the last one.
"""

import json
import time
from pathlib import Path
from typing import Any

import torch

from bench.files import atomic_path
from bench.machine.processes import flag_of_rank0, merge_over_processes
from bench.machine.resume import CHECKPOINT_NAME, refuse_other_settings
from fr_train.checkpoint import read_torch_file, save_backbone
from fr_train.trainer.engine import Engine

BEST_NAME = "best.safetensors"
CHOSEN_ON = "chosen on the test sets: for study, not for a leaderboard"
_STEPS_BETWEEN_LOOKS = 20  # at the clock, which all processes must agree on


class Keeper:
    """Writes checkpoints of an engine, and knows what an interrupted run had come to.

    Args:
        directory: Of the model.
        engine: Is set back to the checkpoint, where there is one.
        minutes: Longest time between checkpoints.

    Raises:
        InputError: If the checkpoint is broken, or belongs to another recipe, seed or dataset.
    """

    def __init__(self, directory: Path, engine: Engine, minutes: float) -> None:
        self._directory, self._engine, self._minutes = directory, engine, minutes
        self._start = self._saved = time.perf_counter()
        self.best: dict[str, Any] | None = None
        """Epoch, mean accuracy, accuracies and file of the best network so far."""
        self.corrupt: dict[int, str] = {}
        """Positions of records that had to be skipped, and what is wrong with each; of this process."""
        self.earlier_seconds = self.validation_seconds = 0.0
        """What interrupted runs took up to the checkpoint; what validations took, then and since."""
        if self._path.exists():
            self._restore()

    @property
    def _path(self) -> Path:
        return self._directory / CHECKPOINT_NAME

    def is_time(self) -> bool:
        """Whether a checkpoint is due within an epoch, by the clock of the first process."""
        if self._engine.step % _STEPS_BETWEEN_LOOKS:
            return False
        return flag_of_rank0(time.perf_counter() - self._saved > 60 * self._minutes)

    def save(self) -> None:
        """Write the checkpoint; it appears whole. Every process must call."""
        engine, head = self._engine, self._engine.head
        state = {name: part.state_dict() for name, part in engine.parts().items()}
        state |= {"step": engine.step, "seed": engine.seed, "recipe": engine.recipe.model_dump_json()}
        state["head"] = {"weight": head.gather_rows(head.weight.detach())}
        for name, value in engine.head_optimizer.state[head.weight].items():
            is_split = torch.is_tensor(value) and value.shape == head.weight.shape
            state["head"][name] = head.gather_rows(value) if is_split else value
        seconds = self.earlier_seconds + time.perf_counter() - self._start
        state["run"] = {
            "seconds": seconds,
            "validation_seconds": self.validation_seconds,
            "best": self.best,
            "corrupt": merge_over_processes(self.corrupt),
        }
        if head.rank == 0:
            with atomic_path(self._path) as temporary:
                torch.save(state, temporary)
        self._saved = time.perf_counter()

    def keep_if_best(self, epoch: int, accuracies: dict[str, float]) -> None:
        """Keep the network apart if its mean accuracy is the best so far; the first of equals stays.

        Args:
            epoch: Epochs done.
            accuracies: Per protocol, fractions.
        """
        mean = sum(accuracies.values()) / len(accuracies)
        if self.best is not None and mean <= self.best["mean_accuracy"]:
            return
        self.best = {"epoch": epoch, "mean_accuracy": mean, "accuracies": accuracies}
        self.best |= {"weights": BEST_NAME, "note": CHOSEN_ON}
        if self._engine.head.rank == 0:
            settings = self._engine.recipe.backbone
            note = f"best of the epochs validated, epoch {epoch}; {CHOSEN_ON}"
            save_backbone(self._directory / BEST_NAME, self._engine.trained, settings, note=note)

    def _restore(self) -> None:
        engine, head = self._engine, self._engine.head
        state = read_torch_file(self._path, mapped=True)
        self._refuse_others(state)
        for name, part in engine.parts().items():
            part.load_state_dict(state[name])
        whole = state["head"]["weight"]
        parts = {
            name: head.own_rows(value).to(engine.device, copy=True)
            if torch.is_tensor(value) and value.shape == whole.shape
            else value
            for name, value in state["head"].items()
        }
        head.weight.data.copy_(parts.pop("weight"))
        engine.head_optimizer.state[head.weight] = parts
        engine.step = state["step"]
        run = {"seconds": 0.0, "validation_seconds": 0.0, "best": None, "corrupt": {}} | state.get("run", {})
        self.earlier_seconds, self.validation_seconds = run["seconds"], run["validation_seconds"]
        self.best, self.corrupt = run["best"], run["corrupt"]

    def _refuse_others(self, state: dict[str, Any]) -> None:
        engine = self._engine
        before, now = json.loads(state["recipe"]), engine.recipe.model_dump(mode="json")
        before |= {"seed": state["seed"], "num_identities": len(state["head"]["weight"])}
        now |= {"seed": engine.seed, "num_identities": engine.head.num_identities}
        refuse_other_settings(self._path, before, now)
