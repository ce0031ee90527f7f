"""Measure three ways to reach a yaw: a landmark picture, AttrOP, and a generator that takes the yaw as input.

Out: the rows of the tables that ``python -m bench.speed pose`` writes. Landmark pictures and AttrOP draw with the
generator of the benchmark smoke_attrop, from the same identity vectors; the third way draws by the settings of smoke.
All are accepted by the same rule: identity and quality as in the settings, and a yaw within 10 degrees of the target.
AttrOP stops at the first image that is accepted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from bench.config.benchmarks import load_benchmark
from bench.config.generator import ASSETS_PATH, Vec2FaceGenerator, weight_path
from bench.config.poses import LandmarkPoses
from bench.errors import InputError
from generate.draw.attrop import PRESETS, Jobs, Outcomes, optimise
from generate.draw.dataset import load_networks
from generate.draw.dataset_run import Networks
from generate.draw.perturbation import perturb
from generate.draw.plan import MASK_RATIO, POSE_SIGMA
from generate.draw.pose.bank import make_bank
from generate.draw.pose.image_rows import vectors_with_circumstances
from generate.identities import sample_identities
from generate.networks.masks import POSED_MASK_RATIO, draw_masks
from generate.vec2face import NUM_GRID_TOKENS, load_generator

BATCH_SIZE, MAX_STEPS = 16, 30
YAWS = (0.0, 30.0, -30.0, 60.0, -60.0, 85.0, -85.0)
MAX_MISS_DEGREES = 10.0
POSE_MODEL = ASSETS_PATH / "pose.safetensors"
LANDMARKS, ATTROP, TOLD = "landmarks", "AttrOP", "told the yaw"

NOTES = (
    f"One image per identity and yaw, in batches of {BATCH_SIZE}, with the shipped networks. Landmarks and AttrOP: "
    "identities and generator of the benchmark smoke_attrop, from the same vectors. Told the yaw: identities and "
    f"generator of smoke. All with the noise of AttrOP's images (sigma {POSE_SIGMA}). "
    "Yaw: measured by the shipped yaw network, positive to the right of the image. Accepted: within "
    f"{MAX_MISS_DEGREES:g} degrees of the yaw asked for, with the identity distance and the quality that smoke asks "
    f"for. AttrOP stops at the first such image, and after at most {MAX_STEPS} steps. A call draws one image and, in "
    "AttrOP, carries a gradient back; empty slots of a batch count."
)

Row = dict[str, str | float | None]


@dataclass(frozen=True)
class Contest:
    """A generator, its identities and their noise."""

    networks: Networks
    settings: Vec2FaceGenerator
    vectors: NDArray[np.float32]
    """Identity vectors, shape (N, D)."""
    noise: NDArray[np.float32]
    """Directions of noise, shape (D, D), or rows of circumstances, shape (M, D)."""

    def start(self, yaw: float) -> NDArray[np.float32]:
        """The vectors with noise, from which images are drawn, (N, D); they hold the yaw if the generator takes it."""
        sigma, target = np.full(1, POSE_SIGMA, np.float32), np.full(1, yaw)
        start = []
        for row, vector in enumerate(self.vectors):
            if self.settings.perturbation.circumstances:
                start += [vectors_with_circumstances(vector, sigma, target, self.noise, seed=0, identity_id=row)]
            else:
                start += [perturb(vector, sigma, seed=0, identity_id=row, directions=self.noise)]
        return np.concatenate(start)

    def draw(self, yaw: float, way: str) -> Outcomes:
        """One image of every identity at a yaw, by ``LANDMARKS``, ``ATTROP`` or ``TOLD``."""
        by_landmarks, num = way == LANDMARKS, len(self.vectors)
        masks = POSED_MASK_RATIO if by_landmarks else MASK_RATIO
        noise, ratio = draw_masks(0, 0, range(num), NUM_GRID_TOKENS, masks)
        targets = {
            "quality": np.full(num, self.settings.attributes.quality, np.float32),
            "yaw": np.full(num, yaw, np.float32),
        }
        pictures = None
        if by_landmarks:
            bank = make_bank(LandmarkPoses(share=1, yaw_degrees=(yaw,), pitch_degrees=(0,)))
            pictures = np.repeat(bank.pictures, num, axis=0)
        preset = replace(PRESETS[self.settings.attributes.preset], yaw_tolerance=MAX_MISS_DEGREES)
        return optimise(
            self.networks.generator,
            self.networks.identity,
            preset.goals(self.networks.quality, self.networks.yaw),
            Jobs(self.start(yaw), self.vectors, noise, ratio, targets, pictures),
            preset=preset,
            batch_size=BATCH_SIZE,
            max_steps=MAX_STEPS if way == ATTROP else 0,
        )


def pose_tables(pose_model: Path = POSE_MODEL, *, num_identities: int) -> dict[str, list[Row]]:
    """The tables by caption: every yaw by every way, and the ways over all yaws.

    Args:
        pose_model: Pose model of the generator of smoke_attrop.
        num_identities: Identities to draw.

    Raises:
        InputError: If there is no pose model.
    """
    searched, told = make_contest("smoke_attrop", num_identities, pose_model), make_contest("smoke", num_identities)
    contests = {LANDMARKS: searched, ATTROP: searched, TOLD: told}
    outcomes = {(yaw, way): contest.draw(yaw, way) for yaw in YAWS for way, contest in contests.items()}
    rows: list[Row] = []
    for (yaw, way), outcome in outcomes.items():
        rows.append({"yaw asked for": yaw, "by": way, **describe(outcome, yaw)})
    return {"One image per identity and yaw": rows, "All yaws together": summary(outcomes)}


def make_contest(scale: str, num_identities: int, pose_model: Path | None = None) -> Contest:
    """Networks and identities by the settings of a benchmark.

    Args:
        scale: The benchmark.
        num_identities: Identities to draw.
        pose_model: Pose model of its generator, for landmark pictures.

    Raises:
        InputError: If the pose model does not exist.
    """
    if pose_model and not pose_model.is_file():
        raise InputError(f"{pose_model} is missing; make it with make assets")
    settings = cast(Vec2FaceGenerator, load_benchmark(scale).generator)
    settings = settings.model_copy(update={"precision": "float32"})
    networks = load_networks(settings, Path())
    generator = load_generator(weight_path(settings.generator_weights, Path()), pose=pose_model)
    perturbation = settings.perturbation
    centers, noise = (
        weight_path(str(name), Path())
        for name in (settings.centers, perturbation.directions or perturbation.differences)
    )
    dim = generator.architecture.feature_dim
    vectors = sample_identities(num_identities, 0, kind=settings.identities, centers=centers, feature_dim=dim)
    return Contest(replace(networks, generator=generator), settings, vectors, np.load(noise).astype(np.float32))


def describe(outcomes: Outcomes, yaw: float) -> Row:
    """Columns of the images of one yaw by one way."""
    reached = outcomes.attributes["yaw"]
    num_accepted = int(outcomes.accepted.sum())
    return {
        "yaw reached, mean": float(reached.mean()),
        "share within 10 degrees": float((abs(reached - yaw) <= MAX_MISS_DEGREES).mean()),
        "identity cosine, mean": float(outcomes.identity_cosine.mean()),
        "share accepted": num_accepted / len(reached),
        "calls per accepted image": outcomes.num_evaluations / num_accepted if num_accepted else None,
    }


def summary(outcomes: Mapping[tuple[float, str], Outcomes]) -> list[Row]:
    """A row per way over all yaws, and how many times as many calls AttrOP needs."""
    rows: list[Row] = []
    for way in (LANDMARKS, TOLD, ATTROP):
        own = {yaw: outcome for (yaw, by), outcome in outcomes.items() if by == way}
        within = [abs(outcome.attributes["yaw"] - yaw) <= MAX_MISS_DEGREES for yaw, outcome in own.items()]
        num_accepted = sum(int(outcome.accepted.sum()) for outcome in own.values())
        num_calls = sum(outcome.num_evaluations for outcome in own.values())
        rows.append(
            {
                "by": way,
                "images": sum(map(len, within)),
                "share within 10 degrees": float(np.concatenate(within).mean()),
                "identity cosine, mean": float(np.mean([outcome.identity_cosine.mean() for outcome in own.values()])),
                "accepted": num_accepted,
                "calls": num_calls,
                "calls per accepted image": num_calls / num_accepted if num_accepted else None,
            }
        )
    searched = rows[-1]["calls per accepted image"]
    for row in rows:
        cost = row["calls per accepted image"]
        row["AttrOP needs as many times"] = float(searched) / float(cost) if cost and searched else None
    return rows
