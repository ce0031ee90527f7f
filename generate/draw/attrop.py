"""AttrOP: move identity vectors until the images drawn from them meet their targets, each sample for itself.

In: start vectors, the identity each image shall keep, mask noise, and targets (quality, yaw, or any attribute with a
differentiable estimator). Out: per sample the vector, the image and what became of it. Follows Vec2Face's and
Vec2Face+'s ``gen_image``, with these differences: acceptance is tested per sample and not on batch means, the number
of steps is capped, the best image so far is taken at the cap and marked as not accepted, a sample that is done leaves
the batch and the next one enters, and each sample keeps one mask. The batch always has the same shape, because matrix
products may round differently for other shapes: so no sample changes another one, not by a bit.

Shapes: ``N`` jobs, ``B`` slots of the batch, ``D`` width of the identity vectors.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from bench.faces.pixels import to_pixels
from generate.networks.estimators import Estimator

LEARNING_RATE = 0.1
_BETAS, _EPSILON = (0.9, 0.999), 1e-8


@dataclass(frozen=True)
class Goal:
    """One attribute and how far an image may miss its target."""

    estimator: Estimator
    weight: float
    tolerance: float
    at_least: bool = False
    """Only falling short of the target counts as a miss."""
    signed: bool = True
    """False where the sign of the attribute does not matter: turned left or right."""

    def miss(self, value: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Distance from the target, in units of the attribute, shape (B,); 0 where the target is NaN (none)."""
        value = value if self.signed else value.abs()
        distance = torch.where(target.isnan(), value.detach(), target) - value
        return F.relu(distance) if self.at_least else distance.abs()


@dataclass(frozen=True)
class Preset:
    """Weights of the loss and rule of acceptance. Distances of identity are 1 - cosine."""

    identity_weight: float
    max_identity_distance: float
    identity_hinge: bool
    """The loss ignores distances that are accepted."""
    quality: float
    """Target feature norm of MagFace."""
    quality_weight: float
    quality_tolerance: float
    yaw_weight: float
    yaw_tolerance: float

    def goals(self, quality: Estimator, yaw: Estimator | None = None, *, signed: bool = True) -> dict[str, Goal]:
        """The goals ``quality`` (at least) and ``yaw`` (degrees) of this preset."""
        goals = {"quality": Goal(quality, self.quality_weight, self.quality_tolerance, at_least=True)}
        if yaw is not None:
            goals["yaw"] = Goal(yaw, self.yaw_weight, self.yaw_tolerance, signed=signed)
        return goals


PRESETS = {
    "v1": Preset(100, 0.3, False, 27, 1, 1, 1, 5),
    # Vec2Face+ divides by 30 and 90 and compares the quotients with 1 and 5: in effect only identity binds
    "v2": Preset(1, 0.3, True, 24, 1 / 30, 30, 1 / 90, 450),
}


@dataclass(frozen=True)
class Jobs:
    """What shall be optimised; one row per image."""

    start: NDArray[np.float32]
    """Start vectors, shape (N, D)."""
    identity: NDArray[np.float32]
    """Features of the identity that the image shall keep, shape (N, E)."""
    noise: NDArray[np.float32]
    """Mask noise, shape (N, 49)."""
    mask_ratio: NDArray[np.float64]
    """Share of masked tokens, shape (N,)."""
    targets: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    """Target per attribute, shape (N,) each; NaN for none."""


@dataclass(frozen=True)
class Outcomes:
    """What became of the jobs, in their order."""

    vectors: NDArray[np.float32]
    """Optimised vectors, shape (N, D)."""
    images: NDArray[np.uint8]
    """Images, shape (N, 112, 112, 3), RGB."""
    features: NDArray[np.float32]
    """Features of the images by the identity estimator, shape (N, E)."""
    identity_cosine: NDArray[np.float32]
    attributes: dict[str, NDArray[np.float32]]
    steps: NDArray[np.int64]
    """Optimiser steps taken when the image was drawn that was kept."""
    accepted: NDArray[np.bool_]
    """False where the cap was reached: the image is the one of lowest loss."""
    num_evaluations: int
    """Images drawn and judged, empty slots included."""


def optimise(
    generator: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor],
    identity: Estimator,
    goals: Mapping[str, Goal],
    jobs: Jobs,
    *,
    preset: Preset,
    batch_size: int,
    max_steps: int,
    device: str | torch.device = "cpu",
    on_done: Callable[[int], object] = lambda num_done: None,
) -> Outcomes:
    """Optimise every job until its image is accepted or ``max_steps`` steps are spent.

    Args:
        generator: (vectors, noise, mask_ratio) -> images, as ``Vec2Face.forward``.
        identity: Estimator of identity features.
        goals: Attributes by name; each must have its targets in ``jobs``.
        jobs: Start vectors and targets.
        preset: Weights and tolerance of identity.
        batch_size: Slots, the same from the first to the last step.
        max_steps: Most steps per sample; 0 draws and judges every sample once.
        device: Where the networks are.
        on_done: Called with the number of samples that have just ended.

    Returns:
        One outcome per job.
    """
    batch = _Batch(jobs, min(batch_size, len(jobs.start)), device)
    results = _Results(jobs, goals)
    with torch.set_grad_enabled(max_steps > 0):
        while batch.is_busy:
            vectors = batch.vectors.clone().requires_grad_()
            images = generator(vectors, batch.noise, batch.mask_ratio).clamp(-1, 1)
            loss, accepted, state = _judge(images, identity, goals, batch, preset)
            results.keep(batch, loss.detach(), accepted, {"vectors": vectors.detach(), **state})
            busy = batch.job >= 0
            ended = busy & (accepted.cpu().numpy() | (batch.steps >= max_steps))
            if ended.sum() < busy.sum():
                (gradient,) = torch.autograd.grad(loss.sum(), vectors)
                batch.step(gradient)
            on_done(int(ended.sum()))
            batch.replace(ended)
    return results.outcomes()


def _judge(
    images: torch.Tensor, identity: Estimator, goals: Mapping[str, Goal], batch: "_Batch", preset: Preset
) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
    """Loss (B,), acceptance (B,), and what was seen: images, features, cosine and attributes, without graph."""
    features = identity(images).float()
    distance = 1 - F.cosine_similarity(features, batch.identity)
    accepted = distance <= preset.max_identity_distance
    counted = distance * ~accepted if preset.identity_hinge else distance
    loss = preset.identity_weight * counted
    seen = {"images": images, "features": features, "identity": 1 - distance}
    for name, goal in goals.items():
        seen[name] = goal.estimator(images).float().flatten()
        miss = goal.miss(seen[name], batch.targets[name])
        loss = loss + goal.weight * miss
        accepted = accepted & (miss <= goal.tolerance)
    return loss, accepted, {name: value.detach() for name, value in seen.items()}


class _Batch:
    """B slots with a job each; -1 where the queue has run dry. Adam's state is per slot, so per sample."""

    def __init__(self, jobs: Jobs, num_slots: int, device: str | torch.device) -> None:
        self._jobs, self._device, self._next = jobs, device, num_slots
        self.num_evaluations_each = num_slots
        self.job = np.arange(num_slots)
        self.steps = np.zeros(num_slots, dtype=np.int64)
        everything = slice(0, num_slots)
        self.vectors = self._load(jobs.start, everything)
        self.identity = self._load(jobs.identity, everything)
        self.noise = self._load(jobs.noise, everything)
        self.mask_ratio = self._load(jobs.mask_ratio, everything)
        self.targets = {name: self._load(values, everything) for name, values in jobs.targets.items()}
        self._mean, self._square = torch.zeros_like(self.vectors), torch.zeros_like(self.vectors)

    @property
    def is_busy(self) -> bool:
        return bool((self.job >= 0).any())

    def step(self, gradient: torch.Tensor) -> None:
        """One step of Adam (Kingma and Ba 2015, algorithm 1) on every row."""
        self.steps += 1
        self._mean.lerp_(gradient, 1 - _BETAS[0])
        self._square.lerp_(gradient.square(), 1 - _BETAS[1])
        count = torch.from_numpy(self.steps).to(self._mean)[:, None]
        mean = self._mean / (1 - _BETAS[0] ** count)
        square = self._square / (1 - _BETAS[1] ** count)
        self.vectors = self.vectors - LEARNING_RATE * mean / (square.sqrt() + _EPSILON)

    def replace(self, ended: NDArray[np.bool_]) -> None:
        """Put the next jobs into the slots whose job has ended; leave the old rows in where there is none."""
        for slot in np.flatnonzero(ended):
            if self._next >= len(self._jobs.start):
                self.job[slot] = -1
                continue
            self.job[slot], self.steps[slot] = self._next, 0
            self._mean[slot], self._square[slot] = 0, 0
            for name in ("vectors", "identity", "noise", "mask_ratio"):
                source = self._jobs.start if name == "vectors" else getattr(self._jobs, name)
                getattr(self, name)[slot] = self._load(source, self._next)
            for name, values in self.targets.items():
                values[slot] = float(self._jobs.targets[name][self._next])
            self._next += 1

    def _load(self, values: NDArray, rows: slice | int) -> torch.Tensor:
        return torch.from_numpy(np.array(values[rows])).to(self._device)


class _Results:
    """The best image of every job so far; an accepted one is final, because its job leaves the batch."""

    def __init__(self, jobs: Jobs, goals: Mapping[str, Goal]) -> None:
        num = len(jobs.start)
        self._names = list(goals)
        self._loss = np.full(num, np.inf, dtype=np.float32)
        self._steps = np.zeros(num, dtype=np.int64)
        self._accepted = np.zeros(num, dtype=bool)
        self._num_evaluations = 0
        self._kept: dict[str, NDArray] = {}

    def keep(
        self, batch: _Batch, loss: torch.Tensor, accepted: torch.Tensor, state: Mapping[str, torch.Tensor]
    ) -> None:
        """Take over the rows that are accepted, the first of their job, or of lower loss than before."""
        self._num_evaluations += batch.num_evaluations_each
        losses, accept = loss.cpu().numpy(), accepted.cpu().numpy()
        better = accept | (batch.steps == 0) | (losses < self._loss[batch.job])
        slots = np.flatnonzero(better & (batch.job >= 0))
        jobs = batch.job[slots]
        self._loss[jobs], self._steps[jobs], self._accepted[jobs] = losses[slots], batch.steps[slots], accept[slots]
        rows = torch.from_numpy(slots).to(loss.device)
        for name, values in state.items():
            chosen = to_pixels(values[rows]) if name == "images" else values[rows].float().cpu().numpy()
            if name not in self._kept:
                self._kept[name] = np.zeros((len(self._loss), *chosen.shape[1:]), chosen.dtype)
            self._kept[name][jobs] = chosen

    def outcomes(self) -> Outcomes:
        return Outcomes(
            vectors=self._kept["vectors"],
            images=self._kept["images"],
            features=self._kept["features"],
            identity_cosine=self._kept["identity"],
            attributes={name: self._kept[name] for name in self._names},
            steps=self._steps,
            accepted=self._accepted,
            num_evaluations=self._num_evaluations,
        )
