"""Base class and types for the sections of benchmarks.yaml and generators.yaml."""

import hashlib
import json
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
"""A fraction or a probability, 0 to 1."""
Count = Annotated[int, Field(gt=0, lt=2**31)]
"""A whole number of at least 1, below 2^31."""


class Settings(BaseModel):
    """Base of every section: unknown keys and non-finite numbers are refused; values cannot change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class GeneratorSettings(Settings):
    """Base of every kind of generator."""

    @property
    def weight_files(self) -> list[str]:
        """Names of the files that must be in place before generation can start."""
        return []


def settings_sha256(settings: Settings) -> str:
    """SHA-256 of a section's settings. Fields with ``exclude_if`` count only where they differ from their default."""
    dump = json.dumps(settings.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(dump.encode()).hexdigest()
