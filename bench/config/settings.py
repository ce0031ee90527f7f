"""What every section of benchmarks.yaml and generators.yaml is built from: unknown keys refused, types with a range."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(gt=0)]


class Settings(BaseModel):
    """Base of every section: unknown keys refused, values frozen after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)
