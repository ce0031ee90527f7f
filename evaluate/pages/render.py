"""A template of this folder and its values -> one HTML page that needs no other file."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

TEMPLATES = Path(__file__).parent
"""Folder of the templates."""


def render_page(template: str, **values: Any) -> str:
    """Fill a template; equal values give equal bytes.

    Text is escaped; a value of type ``markupsafe.Markup`` enters as HTML.

    Args:
        template: File name in ``TEMPLATES``.
        **values: Variables of the template.
    """
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template(template).render(**values)
