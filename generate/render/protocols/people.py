"""Rendered people of known groups, and a rendered gallery with probes and distractors.

The groups of ``render_groups`` are those of the renderer, not of people:

| attribute | group | what it means here |
|---|---|---|
| shape | feminine, masculine | sign of ``Identity.masculinity``, which moves brow, jaw, chin, neck, hair and beard |
| skin | light, medium, dark | third of ``Identity.skin_tone``, the position among seven skin colours |
| age | young, middle, old | band from which every image of the person draws its age: 18-35, 36-55 or 56-80 years |
| shape_skin | such as feminine dark | both of the first two |

The three do not depend on each other: every combination has the same number of people. Pose, light and all other
circumstances have the same distribution for everybody. ``render_gallery`` enrols one nearly frontal image of each
person, and searches for these people and for strangers by images of any circumstances.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice, product

import numpy as np

from generate.render.dataset import Job
from generate.render.people import Factors, draw_factors, draw_identity
from generate.render.protocols.held_out import HeldOutSet, held_out_people

PEOPLE_PER_CELL, IMAGES_PER_PERSON = 20, 4
SHAPES, SKINS = ("feminine", "masculine"), ("light", "medium", "dark")
AGES = {"young": (18, 35), "middle": (36, 55), "old": (56, 80)}
NUM_ENROLLED, NUM_DISTRACTORS, NUM_STRANGERS, PROBES_PER_PERSON = 200, 400, 200, 2
_FRONTAL_DEGREES = 15

GroupRow = tuple[str, str, str, str, str]
"""Identity, shape, skin, age, shape_skin."""


def draw_group_set(name: str) -> HeldOutSet:
    """The people of ``render_groups``, and ``groups.csv``."""
    faces = draw_group_faces(name)
    lines = ["identity,shape,skin,age,shape_skin", *(",".join(row) for _, row in faces)]
    return HeldOutSet([job for job, _ in faces], "groups.csv", lines)


def draw_group_faces(name: str = "render_groups") -> list[tuple[Job, GroupRow]]:
    """The faces of ``render_groups`` with their groups, by combination of groups and then by person."""
    people, number = held_out_people(name)
    rng = np.random.default_rng([3, number])
    wanted = len(AGES) * PEOPLE_PER_CELL
    cells: dict[tuple[str, str], list[int]] = {cell: [] for cell in product(SHAPES, SKINS)}
    while any(len(members) < wanted for members in cells.values()):
        person = next(people)
        members = cells[groups_of(person)]
        if len(members) < wanted:
            members.append(person)
    faces = []
    for (shape, skin), members in cells.items():
        for index, person in enumerate(members):
            age = tuple(AGES)[index % len(AGES)]
            row = (str(person), shape, skin, age, f"{shape} {skin}")
            for image in range(IMAGES_PER_PERSON):
                years = float(rng.uniform(*AGES[age]))
                faces.append(((person, image, replace(draw_factors(person, image), age_years=years)), row))
    return faces


def groups_of(person: int) -> tuple[str, str]:
    """Shape and skin of a person, by the renderer's own numbers."""
    identity = draw_identity(person)
    return SHAPES[int(identity.masculinity > 0)], SKINS[min(int(identity.skin_tone * len(SKINS)), len(SKINS) - 1)]


def rendered_groups(people: Sequence[int], ages: Sequence[float]) -> dict[str, list[str]]:
    """Groups of rendered images: attribute -> group of each image, for the attributes of ``render_groups``.

    Args:
        people: Identity seed of the person in each image.
        ages: Age in years that each image shows.
    """
    cells = {person: groups_of(person) for person in set(people)}
    by_image = [cells[person] for person in people]
    oldest = {name: bounds[1] + 1 for name, bounds in AGES.items()}
    return {
        "shape": [shape for shape, _ in by_image],
        "skin": [skin for _, skin in by_image],
        "age": [next((name for name, end in oldest.items() if years < end), tuple(AGES)[-1]) for years in ages],
        "shape_skin": [f"{shape} {skin}" for shape, skin in by_image],
    }


def draw_gallery_set(name: str) -> HeldOutSet:
    """The gallery, distractors and probes of ``render_gallery``, and ``searches.csv``."""
    faces = list(draw_gallery_faces(name))
    lines = ["identity,role", *(f"{job[0]},{role}" for job, role in faces)]
    return HeldOutSet([job for job, _ in faces], "searches.csv", lines)


def draw_gallery_faces(name: str = "render_gallery") -> Iterator[tuple[Job, str]]:
    """The faces of ``render_gallery`` and the role of each: gallery, distractor or probe."""
    people, number = held_out_people(name)
    rng = np.random.default_rng([3, number])
    enrolled = list(islice(people, NUM_ENROLLED))
    for person in enrolled:
        yield (person, 0, _frontal(person, rng)), "gallery"
    for person in islice(people, NUM_DISTRACTORS):
        yield (person, 0, _frontal(person, rng)), "distractor"
    for person in (*enrolled, *islice(people, NUM_STRANGERS)):
        for image in range(1, 1 + PROBES_PER_PERSON):
            yield (person, image, draw_factors(person, image)), "probe"


def _frontal(person: int, rng: np.random.Generator) -> Factors:
    return replace(draw_factors(person, 0), yaw_degrees=float(rng.uniform(-_FRONTAL_DEGREES, _FRONTAL_DEGREES)))
