"""Base of parts of cards whose fields differ from card to card."""

from typing import Any

from pydantic import SerializerFunctionWrapHandler, model_serializer

from bench.machine.facts import Section


class GivenPart(Section):
    """A part whose JSON has only the fields that were given.

    So a card of an earlier version, which lacks a field, stays as it is when it is written again.
    """

    @model_serializer(mode="wrap")
    def _only_given(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in serialize(self).items() if key in self.model_fields_set}
