"""The section ``pose`` of a Vec2Face generator: images that are drawn at the pose of a landmark picture (Vec2Face+)."""

from typing import Annotated

from pydantic import Field, model_validator

from bench.config.settings import Settings, Share

PLUS_POSE = "pose_model.pth"
"""File name of the pose model that the authors of Vec2Face+ released."""


class LandmarkPoses(Settings):
    """Images that Vec2Face+ draws in one pass at the pose of a picture of five landmarks.

    Source: Vec2Face_plus pose_control.py. Which share of VFace's images has a pose is not published.
    """

    share: Share = Field(description="share of an identity's images that are drawn with a landmark picture")
    weights: str = Field(PLUS_POSE, description="pose model: its LoRA and the network for landmark pictures")
    yaw_degrees: tuple[Annotated[float, Field(ge=-90, le=90)], ...] = Field(
        (60.0, 85.0, -60.0, -85.0),
        min_length=1,
        description="yaws of the landmarks; positive to the right of the image",
    )
    yaw_shares: tuple[Share, ...] | None = Field(
        None,
        exclude_if=lambda shares: shares is None,
        description="share of the images with a pose per yaw, sums to 1; null: equal shares",
    )
    pitch_degrees: tuple[Annotated[float, Field(ge=-60, le=60)], ...] = Field(
        (0.0,), min_length=1, description="pitches of the landmarks; positive where the nose points down"
    )
    pitch_shares: tuple[Share, ...] | None = Field(
        None,
        exclude_if=lambda shares: shares is None,
        description="share of the images with a pose per pitch, sums to 1; null: equal shares",
    )
    landmarks: str | None = Field(
        None,
        exclude_if=lambda name: name is None,
        description=".npy of points (L, 5, 2) or of pictures, or a text file of landmarks, used in equal shares in "
        "place of yaw_degrees and pitch_degrees; relative to WEIGHTS",
    )
    max_steps: int = Field(
        0,
        ge=0,
        exclude_if=lambda steps: steps == 0,
        description="most AttrOP steps per image with a pose, for its yaw and attributes.quality; 0: one pass",
    )

    @model_validator(mode="after")
    def _shares_fit(self) -> "LandmarkPoses":
        for what, degrees, shares in (
            ("yaw", self.yaw_degrees, self.yaw_shares),
            ("pitch", self.pitch_degrees, self.pitch_shares),
        ):
            if shares is not None and (len(shares) != len(degrees) or abs(sum(shares) - 1) > 1e-6):
                raise ValueError(
                    f"got {len(degrees)} {what}_degrees and {what}_shares {shares}; give one share per angle, adding "
                    "up to 1"
                )
        return self
