"""The make-up of a face dataset by group of people: fields of an audit card, filled by ``evaluate/audit/makeup.py``."""

from pydantic import Field

from bench.runs.card_parts.given import GivenPart


class GroupCount(GivenPart):
    """How much of a dataset one group has."""

    group: str
    num_identities: int = Field(description="identities with more images in this group than in any other")
    num_images: int


class MakeUp(GivenPart):
    """The groups of one attribute, such as skin."""

    attribute: str
    origin: str = Field(description="who assigned the groups: the renderer, a table, or a network")
    groups: list[GroupCount] = Field(description="in alphabetical order, or in the order of the network's outputs")
    num_images_unknown: int = Field(description="images of no group")
    effective_groups: float = Field(
        description="exponential of the entropy of the groups' shares of the images; equal shares give their number"
    )
