"""Changes of bytes for fuzz tests, and how many cases they draw."""

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

WORDS = [0, 1, 0x7F, 0x80, 0xFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1]
MAX_SECONDS, MAX_KILOBYTES = 1.0, 500_000


def fuzzed(num_examples):
    """The same cases on every run; with FUZZ_FACTOR=20 in the environment, 20 times as many, new ones on every run."""
    factor = int(os.environ.get("FUZZ_FACTOR", "1"))
    return settings(
        max_examples=num_examples * factor,
        deadline=None,
        database=None,
        derandomize=factor == 1,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


@st.composite
def mutations(draw, *snippets):
    """A change of bytes: a list of edits that ``mutate`` applies to a file of any size.

    Args:
        draw: Given by hypothesis.
        snippets: Lists of bytes to put into the file, beside random ones.
    """
    place = st.one_of(st.floats(0, 1, exclude_max=True), st.integers(0, 600), st.integers(-600, -1))
    new = st.one_of(st.binary(min_size=1, max_size=8), *(st.sampled_from(values) for values in snippets))
    edits = st.one_of(
        st.tuples(st.just("cut"), place),
        st.tuples(st.just("set"), place, new),
        st.tuples(st.just("insert"), place, new),
        st.tuples(st.just("copy"), place, place, st.integers(1, 200)),
    )
    return draw(st.lists(edits, min_size=1, max_size=4))


def mutate(data, edits):
    for kind, place, *rest in edits:
        at = position(place, len(data))
        if kind == "cut":
            data = data[:at]
        elif kind == "set":
            data = data[:at] + rest[0] + data[at + len(rest[0]) :]
        elif kind == "insert":
            data = data[:at] + rest[0] + data[at:]
        else:
            source = position(rest[0], len(data))
            data = data[:at] + data[source : source + rest[1]] + data[at:]
    return data


def position(place, size):
    """A share of the size, or a number of bytes from the start or, if negative, from the end."""
    if isinstance(place, float):
        return int(place * size)
    return min(max(place if place >= 0 else size + place, 0), size)
