"""AttrOP: optimise identity vectors until the images drawn from them meet their targets.

In: start vectors, the identity of each image, mask noise, and targets (quality, yaw, or any attribute with
a differentiable estimator). Out: per sample the vector, the image, and whether it met its targets.

Follows ``gen_image`` of Vec2Face and Vec2Face+ (docs/field.md, sections 1.7 and 2.2), with these differences:

- Acceptance is tested per sample, not on batch means.
- The number of steps is capped. At the cap the image of lowest loss is taken and marked as not accepted.
- A sample that is accepted or at the cap leaves the batch, and the next one takes its slot.
- Each sample keeps one mask.
- Acceptance is tested before the first step. The published code always takes a step and then draws the image anew.
  With the tolerances of preset ``v2``, an image of the right identity therefore gets no step, whatever its quality.
- A yaw has a side: 60 and -60 degrees are different targets. The published code compares the yaw's absolute value.
- A sample with a landmark picture keeps it to the end. Vec2Face+ draws the last image without it.

The batch keeps its shape to the end, because matrix products may round differently for other shapes. A sample therefore
never changes the result of another one, not even in the last bit.

Shapes: ``N`` jobs, ``B`` slots of the batch, ``D`` width of the identity vectors, ``E`` width of the features.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from bench.faces.pixels import to_network_input, to_pixels
from generate.networks.estimators import Estimator

LEARNING_RATE = 0.1
_BETAS, _EPSILON = (0.9, 0.999), 1e-8


@dataclass(frozen=True)
class Goal:
    """One attribute: how it is measured, its weight in the loss, and how far an image may miss its target."""

    estimator: Estimator
    weight: float
    tolerance: float
    at_least: bool = False
    """Whether values above the target count as met."""

    def miss(self, value: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Distance from the target in units of the attribute, shape (B,); 0 where the target is NaN (no target)."""
        distance = torch.where(target.isnan(), value.detach(), target) - value
        return F.relu(distance) if self.at_least else distance.abs()


@dataclass(frozen=True)
class Preset:
    """Weights of the loss, and tolerances within which an image is accepted. Identity distance is 1 - cosine."""

    identity_weight: float
    max_identity_distance: float
    identity_hinge: bool
    """Whether identity distances within the tolerance add nothing to the loss."""
    quality_weight: float
    quality_tolerance: float
    yaw_weight: float
    yaw_tolerance: float

    def goals(self, quality: Estimator, yaw: Estimator | None = None) -> dict[str, Goal]:
        """The goals of this preset: ``quality`` (at least its target) and, if estimated, ``yaw`` (degrees)."""
        goals = {"quality": Goal(quality, self.quality_weight, self.quality_tolerance, at_least=True)}
        if yaw is not None:
            goals["yaw"] = Goal(yaw, self.yaw_weight, self.yaw_tolerance)
        return goals


PRESETS = {
    "v1": Preset(
        identity_weight=100,
        max_identity_distance=0.3,
        identity_hinge=False,
        quality_weight=1,
        quality_tolerance=1,
        yaw_weight=1,
        yaw_tolerance=5,
    ),
    # Vec2Face+ divides quality by 30 and yaw by 90 but still compares the quotients with 1 and 5. These tolerances are
    # so wide that in effect identity alone decides.
    "v2": Preset(
        identity_weight=1,
        max_identity_distance=0.3,
        identity_hinge=True,
        quality_weight=1 / 30,
        quality_tolerance=30,
        yaw_weight=1 / 90,
        yaw_tolerance=450,
    ),
}
"""The published presets: v1 of Vec2Face, v2 of Vec2Face+."""


@dataclass(frozen=True)
class Jobs:
    """Vectors to optimise and the targets of their images; one row per image."""

    start: NDArray[np.float32]
    """Start vectors, shape (N, D)."""
    identity: NDArray[np.float32]
    """Features of the identity that each image must show, shape (N, E)."""
    noise: NDArray[np.float32]
    """Mask noise, shape (N, 49)."""
    mask_ratio: NDArray[np.float64]
    """Share of masked tokens, shape (N,)."""
    targets: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    """Targets by attribute, shape (N,) each; NaN where an image has no target."""
    landmarks: NDArray[np.uint8] | None = None
    """Landmark pictures, RGB, shape (N, 112, 112, 3), for a generator that takes them; None to draw without."""


@dataclass(frozen=True)
class Outcomes:
    """Results of the jobs, in their order."""

    vectors: NDArray[np.float32]
    """Optimised vectors, shape (N, D)."""
    images: NDArray[np.uint8]
    """Images, shape (N, 112, 112, 3), RGB."""
    features: NDArray[np.float32]
    """Identity features of the images, shape (N, E)."""
    identity_cosine: NDArray[np.float32]
    """Cosine between an image's features and its identity, shape (N,)."""
    attributes: dict[str, NDArray[np.float32]]
    """Measured attributes by name, shape (N,) each."""
    steps: NDArray[np.int64]
    """Optimiser steps before the image was drawn, shape (N,)."""
    accepted: NDArray[np.bool_]
    """Whether the image met its targets, shape (N,); otherwise it is the one of lowest loss."""
    num_evaluations: int
    """Images that were drawn and judged, including those of empty slots."""


def optimise(
    generator: Callable[..., torch.Tensor],
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
        generator: (vectors, noise, mask_ratio) -> images, as ``Vec2Face.forward``; where the jobs have landmark
            pictures, (vectors, noise, mask_ratio, landmarks) -> images, as ``PosedGenerator.forward``.
        identity: Estimator of identity features.
        goals: Attributes by name; ``jobs`` holds targets for each of them.
        jobs: Start vectors and targets.
        preset: Weight and tolerance of the identity distance.
        batch_size: Slots of the batch, the same from the first to the last step.
        max_steps: Most optimiser steps per sample; 0 draws and judges every sample once.
        device: Where the networks are.
        on_done: Called after every step with the number of samples that have ended.

    Returns:
        One outcome per job.
    """
    batch = _Batch(jobs, min(batch_size, len(jobs.start)), device)
    best = _BestImages(jobs, goals)
    with torch.set_grad_enabled(max_steps > 0):
        while batch.is_busy:
            vectors = batch.vectors.clone().requires_grad_()
            condition = () if batch.landmarks is None else (to_network_input(batch.landmarks, batch.landmarks.device),)
            images = generator(vectors, batch.noise, batch.mask_ratio, *condition).clamp(-1, 1)
            loss, accepted, measured = _judge(images, identity, goals, batch, preset)
            best.update(batch, loss.detach(), accepted, {"vectors": vectors.detach(), **measured})
            has_job = batch.job >= 0
            ended = has_job & (accepted.cpu().numpy() | (batch.steps >= max_steps))
            if ended.sum() < has_job.sum():
                (gradient,) = torch.autograd.grad(loss.sum(), vectors)
                batch.step(gradient)
            on_done(int(ended.sum()))
            batch.replace(ended)
    return best.outcomes()


def _judge(
    images: torch.Tensor, identity: Estimator, goals: Mapping[str, Goal], batch: "_Batch", preset: Preset
) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
    """Loss (B,), acceptance (B,), and detached by name: images, features, identity cosine, attributes."""
    features = identity(images).float()
    distance = 1 - F.cosine_similarity(features, batch.identity)
    accepted = distance <= preset.max_identity_distance
    counted = distance * ~accepted if preset.identity_hinge else distance
    loss = preset.identity_weight * counted
    measured = {"images": images, "features": features, "identity": 1 - distance}
    for name, goal in goals.items():
        measured[name] = goal.estimator(images).float().flatten()
        miss = goal.miss(measured[name], batch.targets[name])
        loss = loss + goal.weight * miss
        accepted = accepted & (miss <= goal.tolerance)
    return loss, accepted, {name: value.detach() for name, value in measured.items()}


class _Batch:
    """B slots that hold one job each, with Adam's state per slot. A slot without a job has the number -1."""

    def __init__(self, jobs: Jobs, num_slots: int, device: str | torch.device) -> None:
        self._jobs, self._device, self._next = jobs, device, num_slots
        self.num_slots = num_slots
        self.job = np.arange(num_slots)
        self.steps = np.zeros(num_slots, dtype=np.int64)
        first_jobs = slice(0, num_slots)
        self.vectors = self._load(jobs.start, first_jobs)
        self.identity = self._load(jobs.identity, first_jobs)
        self.noise = self._load(jobs.noise, first_jobs)
        self.mask_ratio = self._load(jobs.mask_ratio, first_jobs)
        self.landmarks = None if jobs.landmarks is None else self._load(jobs.landmarks, first_jobs)
        self.targets = {name: self._load(values, first_jobs) for name, values in jobs.targets.items()}
        self._mean, self._square = torch.zeros_like(self.vectors), torch.zeros_like(self.vectors)

    @property
    def is_busy(self) -> bool:
        """Whether any slot has a job."""
        return bool((self.job >= 0).any())

    def step(self, gradient: torch.Tensor) -> None:
        """One step of Adam (Kingma and Ba 2015, algorithm 1) in every slot."""
        self.steps += 1
        self._mean.lerp_(gradient, 1 - _BETAS[0])
        self._square.lerp_(gradient.square(), 1 - _BETAS[1])
        count = torch.from_numpy(self.steps).to(self._mean)[:, None]
        mean = self._mean / (1 - _BETAS[0] ** count)
        square = self._square / (1 - _BETAS[1] ** count)
        self.vectors = self.vectors - LEARNING_RATE * mean / (square.sqrt() + _EPSILON)

    def replace(self, ended: NDArray[np.bool_]) -> None:
        """Load the next jobs into the slots whose job has ended. If no job is left, a slot keeps its old rows."""
        for slot in np.flatnonzero(ended):
            if self._next >= len(self._jobs.start):
                self.job[slot] = -1
                continue
            self.job[slot], self.steps[slot] = self._next, 0
            self._mean[slot], self._square[slot] = 0, 0
            for name in ("vectors", "identity", "noise", "mask_ratio"):
                source = self._jobs.start if name == "vectors" else getattr(self._jobs, name)
                getattr(self, name)[slot] = self._load(source, self._next)
            if self.landmarks is not None and self._jobs.landmarks is not None:
                self.landmarks[slot] = self._load(self._jobs.landmarks, self._next)
            for name, values in self.targets.items():
                values[slot] = float(self._jobs.targets[name][self._next])
            self._next += 1

    def _load(self, values: NDArray, rows: slice | int) -> torch.Tensor:
        return torch.from_numpy(np.array(values[rows])).to(self._device)


class _BestImages:
    """The best image of every job so far. An accepted image is final, because its job leaves the batch."""

    def __init__(self, jobs: Jobs, goals: Mapping[str, Goal]) -> None:
        num = len(jobs.start)
        self._names = list(goals)
        self._loss = np.full(num, np.inf, dtype=np.float32)
        self._steps = np.zeros(num, dtype=np.int64)
        self._accepted = np.zeros(num, dtype=bool)
        self._num_evaluations = 0
        self._values: dict[str, NDArray] = {}

    def update(
        self, batch: _Batch, loss: torch.Tensor, accepted: torch.Tensor, measured: Mapping[str, torch.Tensor]
    ) -> None:
        """Store the slots whose image is accepted, the first of its job, or of lower loss than the stored one."""
        self._num_evaluations += batch.num_slots
        losses, is_accepted = loss.cpu().numpy(), accepted.cpu().numpy()
        is_better = is_accepted | (batch.steps == 0) | (losses < self._loss[batch.job])
        slots = np.flatnonzero(is_better & (batch.job >= 0))
        jobs = batch.job[slots]
        self._loss[jobs] = losses[slots]
        self._steps[jobs] = batch.steps[slots]
        self._accepted[jobs] = is_accepted[slots]
        rows = torch.from_numpy(slots).to(loss.device)
        for name, values in measured.items():
            stored = to_pixels(values[rows]) if name == "images" else values[rows].float().cpu().numpy()
            if name not in self._values:
                self._values[name] = np.zeros((len(self._loss), *stored.shape[1:]), stored.dtype)
            self._values[name][jobs] = stored

    def outcomes(self) -> Outcomes:
        return Outcomes(
            vectors=self._values["vectors"],
            images=self._values["images"],
            features=self._values["features"],
            identity_cosine=self._values["identity"],
            attributes={name: self._values[name] for name in self._names},
            steps=self._steps,
            accepted=self._accepted,
            num_evaluations=self._num_evaluations,
        )
