"""Values of command-line flags, checked when they are parsed: counts, numbers, seeds, devices.

Each function is the ``type`` of an argparse flag: text in, value out. A value that does not fit ends the command with
status 2, the name of the flag, and what to give instead.
"""

import argparse
import math
import re

MAX_SEED = 2**63 - 1
_MAX_COUNT = 2**31 - 1


def seed(text: str) -> int:
    """A seed: a whole number from 0 to 2^63 - 1."""
    return _whole_number(text, 0, MAX_SEED)


def seeds(text: str) -> tuple[int, ...]:
    """Several seeds, each once, with spaces or commas between them; an empty text gives an empty tuple."""
    given = tuple(seed(word) for word in text.replace(",", " ").split())
    if twice := sorted({number for number in given if given.count(number) > 1}):
        raise argparse.ArgumentTypeError(f"{text!r:.40} holds {twice[0]} twice; give each seed once")
    return given


def count(text: str) -> int:
    """A whole number of at least 1."""
    return _whole_number(text, 1, _MAX_COUNT)


def count_or_zero(text: str) -> int:
    """A whole number of at least 0."""
    return _whole_number(text, 0, _MAX_COUNT)


def pixels(text: str) -> int:
    """A distance in pixels of a face, to either side: a whole number from -111 to 111."""
    return _whole_number(text, -111, 111)


def positive(text: str) -> float:
    """A finite number above 0."""
    value = _finite_number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0; give a positive number")
    return value


def positive_or_zero(text: str) -> float:
    """A finite number of at least 0."""
    value = _finite_number(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0; give 0 or a positive number")
    return value


def yaw(text: str) -> float:
    """An angle in degrees, from -90 to 90."""
    return _number(text, -90, 90)


def cosine(text: str) -> float:
    """A cosine, from -1 to 1."""
    return _number(text, -1, 1)


def device(text: str) -> str:
    """The name of a device: auto, cpu, cuda or cuda:N."""
    if not re.fullmatch(r"auto|cpu|cuda(:(0|[1-9][0-9]{0,2}))?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no device; give auto, cpu, cuda or cuda:N")
    return text


def _whole_number(text: str, least: int, most: int) -> int:
    is_number = re.fullmatch(r"[+-]?[0-9]{1,30}", text.strip())
    if not is_number or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"{text!r:.40} is no whole number from {least} to {most}; give one")
    return int(text)


def _number(text: str, least: float, most: float) -> float:
    value = _finite_number(text)
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{text} is not between {least} and {most}; give a number that is")
    return value


def _finite_number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r:.40} is no finite number; give one such as 0.5")
    return value
