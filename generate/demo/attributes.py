"""Rendered people -> readers of the attributes that the renderer knows: skin, hair, sex and age.

A reader is a linear function of an identity network's features, fitted on rendered faces. It measures the attribute on
drawn images, which gives the direction of the attribute's slider. A generator that takes circumstances gets age and
expression as input instead.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from bench.faces.pixels import to_network_input
from bench.machine.progress import progress
from generate.demo.directions import Direction, DrawnSample, attribute_direction, in_batches, ridge_weights
from generate.demo.population import Population
from generate.networks.circumstances import change_of
from generate.render.face import IDENTITIES_PER_SEED, render_face
from generate.render.people import Factors, Identity, draw_factors, draw_identity

_SEED = 1_099_508
"""Seed of the rendered people; no benchmark, no protocol and no training of generate/assets uses it."""


@dataclass(frozen=True)
class Attribute:
    """A slider's name, its ends, and the attribute of a rendered face."""

    name: str
    low: str
    high: str
    value: Callable[[Identity, Factors], float]


OF_PEOPLE = (
    Attribute("Skin", "lighter", "darker", lambda person, _: person.skin_tone),
    Attribute("Hair", "darker", "fairer", lambda person, _: float(np.mean(person.hair_color)) ** (1 / 2.2)),
    Attribute("Face", "feminine", "masculine", lambda person, _: person.masculinity),
)
AGE = Attribute("Age", "younger", "older", lambda _, factors: factors.age_years)
_OF_IMAGES = (("Age", "younger", "older", "age_years"), ("Smile", "none", "wide", "smile"))
"""Names and ends of sliders that change a circumstance, and the circumstance."""


def named_directions(
    identity: Callable[[torch.Tensor], torch.Tensor], sample: DrawnSample, people: Population, num_faces: int
) -> list[Direction]:
    """The directions of skin, hair, sex and age; for a generator that takes circumstances, of the expression too.

    Args:
        identity: Images (B, 3, 112, 112) in [-1, 1] -> features (B, E).
        sample: Drawn images.
        people: Their distribution.
        num_faces: Faces to render, one of each person.
    """
    takes_circumstances = people.noise_kind == "circumstances"
    attributes = OF_PEOPLE if takes_circumstances else (*OF_PEOPLE, AGE)
    faces, values = _rendered_faces(num_faces, attributes)
    features = in_batches(identity, to_network_input(faces)).numpy()
    drawn_features = in_batches(identity, sample.images).numpy()
    directions = []
    for attribute, truth in zip(attributes, values.T, strict=True):
        measured = drawn_features @ ridge_weights(features, truth)
        vector = attribute_direction(sample, measured, people)
        directions.append(Direction(attribute.name, attribute.low, attribute.high, vector))
    return directions + (_changed_circumstances(len(people.mean)) if takes_circumstances else [])


def _changed_circumstances(width: int) -> list[Direction]:
    """The directions of ``_OF_IMAGES`` among vectors of a width."""
    directions = []
    for name, low, high, circumstance in _OF_IMAGES:
        change = change_of(circumstance)
        directions.append(Direction(name, low, high, np.pad(change, (width - len(change), 0))))
    return directions


def _rendered_faces(num: int, attributes: tuple[Attribute, ...]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Faces (num, 112, 112, 3), and their attributes (num, number of attributes)."""
    faces, values = [], []
    for number in progress(range(num), desc="rendered people", total=num):
        seed = _SEED * IDENTITIES_PER_SEED + number
        person, factors = draw_identity(seed), draw_factors(seed, 0)
        faces.append(render_face(seed, 0, factors))
        values.append([attribute.value(person, factors) for attribute in attributes])
    return np.stack(faces), np.array(values)
