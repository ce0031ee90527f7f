"""Five rendered verification protocols, one for the factor that each of the five real test sets stresses.

Each has 600 pairs in ten folds of 30 genuine and 30 impostor pairs. Its people have identity seeds that no dataset can
use. The protocols are fixed: they depend on the version of the renderer alone, not on a benchmark's seed.

| protocol | the two faces differ in | impostors |
|---|---|---|
| render_lfw | everything, moderately | anybody |
| render_cfp_fp | frontal against profile (60 to 90 degrees) | anybody |
| render_agedb_30 | 30 years of age | anybody |
| render_calfw | 20 to 45 years of age | alike in skin, hair and beard |
| render_cplfw | 30 to 80 degrees of yaw | alike in skin, hair and beard |
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from generate.render.dataset import Job
from generate.render.people import Factors, coarse_look, draw_factors, draw_identity
from generate.render.protocols.held_out import HeldOutSet, held_out_people

NUM_FOLDS = 10
PAIRS_PER_KIND_AND_FOLD = 30
_ALIKE_IMPOSTORS = ("render_calfw", "render_cplfw")


@dataclass(frozen=True)
class Pair:
    """Two faces to render, and whether they show the same person."""

    first: Job
    second: Job
    is_genuine: bool


def draw_pair_set(name: str) -> HeldOutSet:
    """A protocol: the faces of its pairs one after the other, and ``issame.txt`` with a 1 or 0 per pair.

    Raises:
        InputError: If there is no such protocol.
    """
    pairs = draw_pairs(name)
    jobs: list[Job] = []
    for pair in pairs:
        jobs += [pair.first, pair.second]
    return HeldOutSet(jobs, "issame.txt", [str(int(pair.is_genuine)) for pair in pairs])


def draw_pairs(name: str) -> list[Pair]:
    """The 600 pairs of a protocol in fold order: for each fold 30 genuine pairs, then 30 impostor pairs.

    No person is in two folds.

    Raises:
        InputError: If there is no such protocol.
    """
    people, number = held_out_people(name)
    rng = np.random.default_rng([3, number])
    pairs = []
    for _ in range(NUM_FOLDS):
        for _ in range(PAIRS_PER_KIND_AND_FOLD):
            person = next(people)
            pairs.append(_pair(name, (person, person), rng))
        for partners in _impostors(people, alike=name in _ALIKE_IMPOSTORS):
            pairs.append(_pair(name, partners, rng))
    return pairs


def _impostors(people: Iterator[int], *, alike: bool) -> list[tuple[int, int]]:
    """30 pairs of different people; with ``alike`` the two share skin, hair and beard (``coarse_look``)."""
    waiting: dict[object, list[int]] = defaultdict(list)
    pairs: list[tuple[int, int]] = []
    while len(pairs) < PAIRS_PER_KIND_AND_FOLD:
        person = next(people)
        look = coarse_look(draw_identity(person)) if alike else None
        waiting[look].append(person)
        if len(waiting[look]) == 2:
            first, second = waiting.pop(look)
            pairs.append((first, second))
    return pairs


def _pair(name: str, people: tuple[int, int], rng: np.random.Generator) -> Pair:
    factors = _set_difference(name, draw_factors(people[0], 0), draw_factors(people[1], 1), rng)
    order = rng.permutation(2)  # so that the first face is as often the profile, or the older one, as the second
    jobs = [(people[index], index, factors[index]) for index in order]
    return Pair(jobs[0], jobs[1], people[0] == people[1])


def _set_difference(name: str, first: Factors, second: Factors, rng: np.random.Generator) -> tuple[Factors, Factors]:
    """The circumstances of two faces, changed to differ in the protocol's factor; yaw is moderate if it is another."""
    side = rng.choice([-1, 1])
    frontal, profile = rng.uniform(-10, 10), side * rng.uniform(60, 90)  # drawn for all: pairs depend on the order
    if name == "render_cfp_fp":
        return replace(first, yaw_degrees=float(frontal)), replace(second, yaw_degrees=float(profile))
    if name == "render_cplfw":
        start = rng.uniform(-40, 40)
        end = np.clip(start + side * rng.uniform(30, 80), -80, 80)
        if abs(end - start) < 30:
            end = start - side * 40
        return replace(first, yaw_degrees=float(start)), replace(second, yaw_degrees=float(end))
    yaws = rng.uniform(-45, 45, 2)
    first, second = replace(first, yaw_degrees=float(yaws[0])), replace(second, yaw_degrees=float(yaws[1]))
    if name == "render_lfw":
        return first, second
    gap = 30.0 if name == "render_agedb_30" else rng.uniform(20, 45)
    young = rng.uniform(20, 80 - gap)
    return replace(first, age_years=float(young)), replace(second, age_years=float(young + gap))
