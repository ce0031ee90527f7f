"""Files that a run writes before its end: ``checkpoint.pt`` to resume from, and ``best.safetensors``.

A checkpoint can be resumed by any number of processes: the class weights are gathered when it is written and split
again when it is read. The best network is the one with the highest mean accuracy on the test sets. Its file says that
it was chosen on them; results and leaderboard use the last network.
"""

import json
import time
from pathlib import Path
from typing import Any

import torch

from bench.errors import Preempted
from bench.faces.face import Faces, sample_sha256
from bench.files import atomic_path
from bench.machine.preemption import Preemption
from bench.machine.processes import flag_of_rank0, merge_over_processes
from bench.machine.resume import CHECKPOINT_NAME, refuse_damaged, refuse_other_settings
from bench.runs.card_parts.references import BestNetwork
from fr_train.checkpoint import read_torch_file, save_backbone
from fr_train.trainer.engine import Engine
from fr_train.trainer.head import has_row_per_identity

BEST_NAME = "best.safetensors"
CHOSEN_ON = "chosen on the test sets: for study, not for a leaderboard"
_STEPS_BETWEEN_CLOCK_CHECKS = 20  # a check makes all processes agree, which takes time


class Checkpoints:
    """Writes the checkpoints of an engine, restores the engine from an earlier one, and saves the best network.

    Args:
        directory: Folder of the model.
        engine: The engine; it is restored if the folder has a checkpoint.
        faces: The dataset. A checkpoint of another one is refused.
        minutes: Minutes between checkpoints within an epoch.
        preemption: Notes signals by which a scheduler announces the end of the run.

    Raises:
        InputError: If the checkpoint is broken, or was written with another recipe, seed or dataset.
    """

    def __init__(self, directory: Path, engine: Engine, faces: Faces, minutes: float, preemption: Preemption) -> None:
        self._directory, self._engine, self._minutes = directory, engine, minutes
        self._dataset = {"num_images": len(faces), "sample_sha256": sample_sha256(faces)}
        self._preemption, self._end_signal = preemption, 0
        self._start = self._last_saved = time.perf_counter()
        self.best: BestNetwork | None = None
        """The best network so far."""
        self.corrupt: dict[int, str] = {}
        """Position -> problem of each record that this process skipped because it does not decode."""
        self.earlier_seconds = 0.0
        """Time that interrupted runs took up to the checkpoint."""
        self.validation_seconds = 0.0
        """Time of all validations, those of interrupted runs included."""
        if self._path.exists():
            self._restore()

    @property
    def _path(self) -> Path:
        return self._directory / CHECKPOINT_NAME

    def is_due(self) -> bool:
        """Whether a checkpoint is due within an epoch. All processes must call this.

        The clock of rank 0 decides; if a scheduler is about to end any of the processes, one is due at once.
        """
        self._end_signal = self._preemption.agreed_signal(self._engine.step, self._engine.device.type)
        if self._end_signal:
            return True
        if self._engine.step % _STEPS_BETWEEN_CLOCK_CHECKS:
            return False
        return flag_of_rank0(time.perf_counter() - self._last_saved > 60 * self._minutes)

    def save(self) -> None:
        """Write the checkpoint atomically. All processes must call this."""
        engine, head = self._engine, self._engine.head
        state: dict[str, Any] = {name: part.state_dict() for name, part in engine.stateful_parts().items()}
        state |= {"step": engine.step, "seed": engine.seed, "recipe": engine.recipe.model_dump_json()}
        state["dataset"] = self._dataset
        state["head"] = {"weight": head.gather_rows(head.weight.detach())}
        for name, value in engine.head_optimizer.state[head.weight].items():
            state["head"][name] = head.gather_rows(value) if has_row_per_identity(value, head.weight) else value
        state["run"] = {
            "seconds": self.earlier_seconds + time.perf_counter() - self._start,
            "validation_seconds": self.validation_seconds,
            "best": self.best.model_dump() if self.best else None,
            "corrupt": merge_over_processes(self.corrupt),
        }
        if head.rank == 0:
            with atomic_path(self._path) as temporary:
                torch.save(state, temporary)
        self._last_saved = time.perf_counter()

    def end_if_preempted(self) -> None:
        """Raise ``Preempted`` if a scheduler is about to end the run. Call this after ``save``."""
        if self._end_signal:
            raise Preempted(self._end_signal)

    def save_if_best(self, epoch: int, accuracies: dict[str, float]) -> None:
        """Save the network as ``best.safetensors`` if its mean accuracy exceeds all earlier ones.

        Args:
            epoch: Number of epochs done.
            accuracies: Protocol -> accuracy, fractions.
        """
        mean = sum(accuracies.values()) / len(accuracies)
        if self.best is not None and mean <= self.best.mean_accuracy:
            return
        self.best = BestNetwork(
            epoch=epoch, mean_accuracy=mean, accuracies=accuracies, weights=BEST_NAME, note=CHOSEN_ON
        )
        if self._engine.head.rank == 0:
            settings = self._engine.recipe.backbone
            note = f"best of the epochs validated, epoch {epoch}; {CHOSEN_ON}"
            save_backbone(self._directory / BEST_NAME, self._engine.trained_backbone, settings, note=note)

    def _restore(self) -> None:
        """Set engine and counters to the state in the checkpoint."""
        with refuse_damaged(self._path):
            state = read_torch_file(self._path, mapped=True)
            settings = self._saved_settings(state)
        refuse_other_settings(self._path, settings, self._current_settings())
        with refuse_damaged(self._path):
            self._load(state)

    def _load(self, state: dict[str, Any]) -> None:
        engine, head = self._engine, self._engine.head
        for name, part in engine.stateful_parts().items():
            part.load_state_dict(state[name])
        all_weights = state["head"].pop("weight")
        head.weight.data.copy_(head.own_rows(all_weights))
        head_state = {}
        for name, value in state["head"].items():
            if has_row_per_identity(value, all_weights):
                value = head.own_rows(value).to(engine.device, copy=True)
            head_state[name] = value
        engine.head_optimizer.state[head.weight] = head_state
        engine.step = state["step"]
        run = {"seconds": 0.0, "validation_seconds": 0.0, "best": None, "corrupt": {}} | state.get("run", {})
        self.earlier_seconds, self.validation_seconds = run["seconds"], run["validation_seconds"]
        self.best = BestNetwork(**run["best"]) if run["best"] else None
        self.corrupt = run["corrupt"]

    def _saved_settings(self, state: dict[str, Any]) -> dict[str, Any]:
        sizes = {"seed": state["seed"], "num_identities": len(state["head"]["weight"])}
        dataset = state.get("dataset", self._dataset)  # checkpoints of older versions do not say
        return json.loads(state["recipe"]) | sizes | dataset

    def _current_settings(self) -> dict[str, Any]:
        engine = self._engine
        sizes = {"seed": engine.seed, "num_identities": engine.head.num_identities}
        return engine.recipe.model_dump(mode="json") | sizes | self._dataset
