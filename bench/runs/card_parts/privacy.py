"""Section of an audit card: how close a synthetic dataset comes to the people that its generator was trained on.

``evaluate/audit/privacy`` computes it. Cosines are in [-1, 1], rates are fractions.
"""

from pydantic import Field

from bench.runs.card_parts.given import GivenPart


class MembershipFigures(GivenPart):
    """How well a score tells people of the training set from held-out people."""

    auc: float = Field(description="chance that a member scores above a control; a tie counts half")
    interval: tuple[float, float] = Field(description="95 % bootstrap interval over people")
    tpr_at_fpr: dict[str, float | None] = Field(description="null where the controls cannot resolve the rate")


class Matches(GivenPart):
    """Cosines of images to the nearest image of a member."""

    num: int
    median: float
    p99: float
    max: float
    share_above_half: float


class HubFigures(GivenPart):
    """A member that is the nearest one to ten or more of the 100 synthetic images closest to any member."""

    member: str
    num_nearest: int
    share_of_controls: float = Field(description="share of control images that are nearest to this member too")


class JudgeSection(GivenPart):
    """What one recognition network sees."""

    network: str
    sha256: str
    membership: dict[str, MembershipFigures] = Field(
        description="centre: score of a person by the centre of the images; image: by any of the images"
    )
    threshold: float = Field(description="cosine of an image to the centre of a member above which it is too near")
    search_rate: float = Field(description="share of searches of real images among other members above it")
    num_searches: int
    pair_rate: float = Field(description="share of the pairs of these searches above it")
    num_pairs: int
    expected_search_rate: float = Field(description="1 - (1 - pair_rate)^members, if pairs were independent")
    num_images_above: int = Field(description="synthetic images above the threshold")
    num_identities_above: int = Field(description="synthetic identities with at least one such image")
    num_control_images_above: int
    matches: Matches = Field(description="of the synthetic images")
    control_matches: Matches = Field(description="of the images of held-out people")
    hubs: list[HubFigures]


class HashFigures(GivenPart):
    """Differing bits of 64-bit perceptual hashes to the nearest image of a member, over shifts and mirror images."""

    num: int = Field(description="images that were compared")
    min: int
    p1: float
    median: float
    share_within: float = Field(description="share of images at most max_bits away")


class NearPair(GivenPart):
    """A synthetic image and the nearest image of a member."""

    image: str
    identity: str
    member: str
    cosine: float


class PrivacySection(GivenPart):
    """A synthetic dataset against the people that its generator was trained on, with held-out people as control."""

    members: str = Field(description="name of the training set")
    controls: str = Field(description="name of the set of held-out people")
    num_images: int
    num_identities: int
    num_members: int
    num_member_images: int
    num_controls: int
    num_control_images: int
    num_members_compared: int = Field(description="members that were matched with controls by number of images")
    judges: list[JudgeSection]
    max_bits: int
    hashes: HashFigures
    control_hashes: HashFigures
    nearest: list[NearPair] = Field(description="the nearest pairs of images by the first judge")
    num_kept: int = Field(description="images in kept.npy: at or below the threshold of every judge")
