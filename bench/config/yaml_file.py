"""Read a YAML file, refuse keys given twice, and describe what does not fit its schema."""

from collections import Counter
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from bench.config.generator import GENERATORS
from bench.errors import InputError
from bench.files import read_text
from bench.names import nearest

_MAX_CHARACTERS = 100_000
_MAX_VALUES = 100_000
_MAX_BRACKETS = 100
"""Limits of a file of settings, far above what benchmarks.yaml holds."""
_MAX_MISTAKES, _MAX_MESSAGE, _MAX_SHOWN = 5, 300, 100
"""Mistakes that one message names, and characters of each mistake and of each value that it shows."""


class _UniqueKeyLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice, and brackets nested too deeply.

    PyYAML itself would silently take the last of two keys, and its time grows with the square of the open brackets.
    """

    def fetch_flow_collection_start(self, TokenClass: Any) -> None:  # noqa: N803 (PyYAML's name)
        if self.flow_level >= _MAX_BRACKETS:
            raise yaml.YAMLError(f"more than {_MAX_BRACKETS} brackets are open")
        super().fetch_flow_collection_start(TokenClass)


def _unique_mapping(loader: _UniqueKeyLoader, node: yaml.MappingNode) -> dict:
    keys = (key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge")
    counts = Counter(key.value for key in keys if isinstance(key, yaml.ScalarNode))
    duplicates = sorted(key for key, count in counts.items() if count > 1)
    if duplicates:
        raise InputError(f"line {node.start_mark.line + 1}: key given twice: {', '.join(duplicates)}; keep one")
    loader.flatten_mapping(node)
    return loader.construct_mapping(node)


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def read_yaml(path: str | Path) -> Any:
    """Content of a YAML file, as dicts, lists and values.

    Raises:
        InputError: If the file is missing, too large or not YAML, its aliases expand without end, or a key is given
            twice.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist; run inside the project's folder or give --config FILE")
    text = read_text(path)
    if len(text) > _MAX_CHARACTERS:
        raise InputError(f"{path} has {len(text)} characters, more than {_MAX_CHARACTERS}; give a file of settings")
    loader = None
    try:
        loader = _UniqueKeyLoader(text)  # refuses characters that YAML does not allow
        node = loader.get_single_node()
        if node is not None and _num_values(node, {}, ()) > _MAX_VALUES:
            raise InputError(f"its aliases expand to more than {_MAX_VALUES} values")
        return None if node is None else loader.construct_document(node)
    except (yaml.YAMLError, ValueError, TypeError, OverflowError) as error:  # all but YAMLError: value and tag differ
        raise InputError(f"{path}: {' '.join(str(error).split())[:300]}; correct the YAML") from None
    except RecursionError:
        raise InputError(f"{path} is nested too deeply; correct the YAML") from None
    finally:
        if loader is not None:
            loader.dispose()


def _num_values(node: yaml.Node, known: dict[int, int], above: tuple[int, ...]) -> int:
    """Values of a document once every alias is written out.

    Args:
        node: Part of the document.
        known: Identity of a node -> its number of values, for the parts that were counted already.
        above: Identities of the nodes that hold this one.

    Raises:
        InputError: If a part holds an alias of itself.
    """
    if id(node) in above:
        raise InputError(f"line {node.start_mark.line + 1}: an alias holds itself")
    if id(node) not in known:
        children: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            children = node.value
        elif isinstance(node, yaml.MappingNode):
            children = [part for pair in node.value for part in pair]
        known[id(node)] = 1 + sum(_num_values(child, known, (*above, id(node))) for child in children)
    return known[id(node)]


def check_entries(entries: Any, location: str) -> None:
    """Refuse a section of a YAML file that is no map of names.

    Args:
        entries: The section.
        location: File and section, for the message.

    Raises:
        InputError: If it is empty or a list, or a name is no text.
    """
    if not isinstance(entries, dict):
        raise InputError(f"{location} is {'empty' if entries is None else f'{entries!r:.100}'}; give a map of names")
    for name in entries:
        if not isinstance(name, str):
            raise InputError(f"{location}: the name {name!r:.100} is not read as text; put it between quotes")


def describe_mistakes(error: ValidationError, schema: type[BaseModel]) -> str:
    """All mistakes of a validation in one line: dotted field, message, value given; for unknown keys the nearest field.

    Args:
        error: Error of pydantic.
        schema: Model that was validated, which knows the fields.
    """
    parts = []
    mistakes = error.errors()
    for mistake in mistakes[:_MAX_MISTAKES]:
        field = ".".join(str(part) for part in mistake["loc"] if part not in GENERATORS)[:_MAX_SHOWN]
        if mistake["type"] == "extra_forbidden":
            key, known = str(mistake["loc"][-1]), _known_fields(schema, mistake["loc"][:-1])
            parts.append(f"{field} is unknown ({nearest(key, known)})" if known else f"{field} is unknown")
        elif mistake["type"] == "missing":
            parts.append(f"{field} is missing")
        else:
            message = mistake["msg"].removeprefix("Value error, ")[:_MAX_MESSAGE]
            got = "" if mistake["type"] == "value_error" else f", got {_shorten(mistake['input'])}"
            parts.append(f"{field}: {message[0].lower()}{message[1:]}{got}")
    if len(mistakes) > _MAX_MISTAKES:
        parts.append(f"and {len(mistakes) - _MAX_MISTAKES} more mistakes")
    return "; ".join(parts)


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def _known_fields(schema: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Fields of the section at pydantic's location of a mistake, which also holds the tag of a union (``vec2face``)."""
    section: Any = schema
    for part in location:
        if part in GENERATORS:
            section = GENERATORS[str(part)]
        elif isinstance(section, type) and issubclass(section, BaseModel) and part in section.model_fields:
            annotation = section.model_fields[str(part)].annotation
            section = next((kind for kind in get_args(annotation) if _is_schema(kind)), annotation)
    return sorted(section.model_fields) if _is_schema(section) else []


def _is_schema(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
