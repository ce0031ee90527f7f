"""Read a YAML file, refuse keys given twice, and describe what does not fit its schema."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from bench.config.generator import GENERATORS
from bench.errors import InputError
from bench.names import nearest


class _UniqueKeyLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice. PyYAML itself would silently take the last one."""


def _unique_mapping(loader: _UniqueKeyLoader, node: yaml.MappingNode) -> dict:
    keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
    duplicates = sorted({str(key) for key in keys if keys.count(key) > 1})
    if duplicates:
        raise InputError(f"line {node.start_mark.line + 1}: key given twice: {', '.join(duplicates)}; keep one")
    loader.flatten_mapping(node)
    return loader.construct_mapping(node)


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def read_yaml(path: str | Path) -> Any:
    """Content of a YAML file, as dicts, lists and values.

    Raises:
        InputError: If the file is missing or not YAML, or a key is given twice.
    """
    try:
        with Path(path).open(encoding="utf-8") as file:
            return yaml.load(file, _UniqueKeyLoader)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; run inside the project's folder or give --config FILE") from None
    except (yaml.YAMLError, InputError) as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}; correct the YAML") from None


def describe_mistakes(error: ValidationError, schema: type[BaseModel]) -> str:
    """All mistakes of a validation in one line: dotted field, message, value given; for unknown keys the nearest field.

    Args:
        error: Error of pydantic.
        schema: Model that was validated, which knows the fields.
    """
    parts = []
    for mistake in error.errors():
        field = ".".join(str(part) for part in mistake["loc"] if part not in GENERATORS)
        if mistake["type"] == "extra_forbidden":
            key, known = str(mistake["loc"][-1]), _known_fields(schema, mistake["loc"][:-1])
            parts.append(f"{field} is unknown ({nearest(key, known)})" if known else f"{field} is unknown")
        elif mistake["type"] == "missing":
            parts.append(f"{field} is missing")
        else:
            message = mistake["msg"].removeprefix("Value error, ")
            got = "" if mistake["type"] == "value_error" else f", got {mistake['input']!r}"
            parts.append(f"{field}: {message[0].lower()}{message[1:]}{got}")
    return "; ".join(parts)


def _known_fields(schema: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Fields of the section at a location of pydantic, which for a union also contains the tag (``vec2face``)."""
    section: Any = schema
    for part in location:
        if part in GENERATORS:
            section = GENERATORS[str(part)]
        elif isinstance(section, type) and issubclass(section, BaseModel) and part in section.model_fields:
            section = section.model_fields[str(part)].annotation
    return sorted(section.model_fields) if isinstance(section, type) and issubclass(section, BaseModel) else []
