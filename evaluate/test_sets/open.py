"""A path -> a test set of the kind that its layout shows: pairs, templates, people of known groups, or searches."""

from pathlib import Path

from evaluate.layouts.face_table import FaceTable, is_group_set, load_group_set
from evaluate.layouts.ijb.templates import TemplateSet, is_template_set, load_templates
from evaluate.layouts.searches import SearchSet, is_search_set, load_search_set
from evaluate.protocol import Protocol, load_protocol

AnyTestSet = TemplateSet | FaceTable | SearchSet | Protocol


def open_test_set(path: Path, name: str | None = None) -> AnyTestSet:
    """Read a test set; without a ``name`` it is named after its files.

    Raises:
        InputError: If it is missing or malformed.
    """
    if is_template_set(path):
        return load_templates(path, name)
    if is_group_set(path):
        return load_group_set(path, name)
    return load_search_set(path, name) if is_search_set(path) else load_protocol(path, name)


def has_pairs(path: Path) -> bool:
    """Whether a test set is one of pairs. Templates (IJB), groups and searches have no accuracy by the protocol."""
    return not (is_template_set(path) or is_group_set(path) or is_search_set(path))
