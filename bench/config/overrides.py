"""Settings that a command line changes: ``generator.num_identities=100`` in, a changed entry of benchmarks.yaml out.

``make benchmark SET="..."`` and the points of a sweep change entries by this module. A change is a dotted field and a
value in YAML. Names of sections lead to a field; a number leads to a position of a list, counted from 0. The changed
entry is checked by the same schema as the file.
"""

import copy
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from pydantic import BaseModel

from bench.errors import InputError

_MAX_CHARACTERS = 2000
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*")
_FIXED = {
    "name": "give SCALE another entry",
    "version": "a changed entry is no version of its own; leave it out",
    "seeds": "give SEEDS",
    "recipe_name": "give recipe=NAME",
    "changes": "give each change as a word of its own",
}
"""Fields that no change may name, and what to do instead."""


def parse_changes(text: str) -> dict[str, Any]:
    """The changes that a command line gives.

    Args:
        text: Words ``FIELD=VALUE``, split as a shell splits them. A value is YAML, such as ``0.4``, ``[0.5,0.7]`` or
            ``null``; one with spaces stands in quotes.

    Returns:
        Dotted field -> value, in the order given.

    Raises:
        InputError: If a word is no FIELD=VALUE, its value is not YAML, a field is given twice or inside another one, or
            it is none that can be changed.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InputError(f"SET={text!r:.100} is no list of words ({error}); correct its quotes") from None
    changes: dict[str, Any] = {}
    for word in words:
        field, equals, text = word.partition("=")
        if not equals or not _FIELD.fullmatch(field) or len(word) > _MAX_CHARACTERS:
            raise InputError(f"SET: {word!r:.100} is no FIELD=VALUE; write it as in generator.num_identities=100")
        if field in changes:
            raise InputError(f"SET: {field} is given twice; keep one")
        changes[field] = _read_value(field, text)
    check_fields(changes)
    return changes


def check_fields(fields: Mapping[str, Any], source: str = "SET") -> None:
    """Refuse fields that cannot be changed, and a field together with a section that holds it.

    Args:
        fields: Dotted field -> value.
        source: Where they come from, for the message.

    Raises:
        InputError: If a field does not fit.
    """
    for field in fields:
        if not isinstance(field, str) or not _FIELD.fullmatch(field):
            raise InputError(f"{source}: {field!r:.100} is no field; write it as in generator.num_identities")
        if field.split(".")[0] in _FIXED:
            raise InputError(f"{source}: {field} cannot be changed; {_FIXED[field.split('.')[0]]}")
        above = [other for other in fields if field.startswith(f"{other}.") and other != "recipe"]
        if above:
            raise InputError(f"{source}: {field} lies inside {above[0]}, which is changed too; keep one of them")


def apply_changes(section: dict[str, Any], changes: Mapping[str, Any], source: str = "SET") -> dict[str, Any]:
    """A copy of an entry, or of a section of it, in which the fields have the given values.

    A section that the entry leaves out is added, so that a field with a default can be changed.

    Args:
        section: Content of the YAML file.
        changes: Dotted field -> value.
        source: Where they come from, for the message.

    Raises:
        InputError: If a field leads through a value that is no section, or to no position of a list.
    """
    changed = copy.deepcopy(section)
    for field, value in changes.items():
        *parents, last = field.split(".")
        part: Any = changed
        for depth, name in enumerate(parents):
            part = _enter(part, name, ".".join(parents[: depth + 1]), source)
        if isinstance(part, list):
            part[_position(part, last, field, source)] = copy.deepcopy(value)
        else:
            part[last] = copy.deepcopy(value)
    return changed


def value_of(model: BaseModel, field: str) -> Any:
    """The checked value of a dotted field, as JSON has it; None where the field does not exist.

    Args:
        model: Checked settings.
        field: Dotted field.
    """
    value: Any = model
    for name in field.split("."):
        if isinstance(value, BaseModel):
            value = getattr(value, name, None)
        elif isinstance(value, Mapping):
            value = value.get(name)
        elif isinstance(value, Sequence) and not isinstance(value, str) and name.isdecimal():
            value = value[int(name)] if int(name) < len(value) else None
        else:
            return None
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def join_changes(changes: Mapping[str, Any]) -> str:
    """Changes as one text that ``parse_changes`` reads."""
    return shlex.join(describe_change(field, value) for field, value in changes.items())


def describe_change(field: str, value: Any) -> str:
    """A change as text, such as ``recipe.margin.margin=0.4``."""
    return f"{field}={value if isinstance(value, str) and _is_plain(value) else json.dumps(value, default=_as_json)}"


def _is_plain(text: str) -> bool:
    """Whether YAML reads an unquoted text as this text."""
    try:
        return yaml.safe_load(text) == text
    except yaml.YAMLError:
        return False


def _as_json(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)


def _read_value(field: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:100]
        raise InputError(
            f"SET: the value of {field} is not YAML: {text!r:.100} ({reason}); put quotes around it"
        ) from None


def _enter(part: Any, name: str, path: str, source: str) -> Any:
    """The section ``name`` of ``part``, added if it is missing."""
    if isinstance(part, list):
        value = part[_position(part, name, path, source)]
    else:
        if part.get(name) is None:
            part[name] = {}
        value = part[name]
    if not isinstance(value, dict | list):
        raise InputError(f"{source}: {path} is {value!r:.100} and holds no further fields; change {path} itself")
    return value


def _position(values: list, name: str, path: str, source: str) -> int:
    if not name.isdecimal() or int(name) >= len(values):
        raise InputError(f"{source}: {path} is no position of a list of {len(values)}; give 0 to {len(values) - 1}")
    return int(name)
