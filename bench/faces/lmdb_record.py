"""The record of a face in an LMDB, laid out as ``lmdb_file.py`` says: where its identity is, and reading only that."""

import msgpack

RECORD_LENGTHS = (2, 3, 4)
"""Numbers of elements that a record may have."""
_WIDTHS = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
"""First byte of a msgpack bin or str -> bytes of its length. msgpack before 1.0 wrote image files as str."""
_ARRAY, _MAX_INT_BYTES = 0x90, 9
"""msgpack: first byte of an array of length 0, to which the length is added; most bytes of an int."""


def label_place(num_elements: int) -> int:
    """Index of the identity in a record: the last element, or the third if a landmark picture follows."""
    return min(num_elements - 1, 2)


def quick_label(value: memoryview) -> int | None:
    """Identity of a msgpack record without unpacking the image; None if the record has to be unpacked."""
    try:
        num_elements = value[0] - _ARRAY
        if num_elements not in RECORD_LENGTHS:
            return None
        start = 1
        for _ in range(label_place(num_elements)):
            start += _bin_size(value, start)
        unpacker = msgpack.Unpacker(raw=True)
        unpacker.feed(value[start : start + _MAX_INT_BYTES])
        return as_label(unpacker.unpack())
    except Exception:  # msgpack raises errors of many types; unpacking the record will name the key
        return None


def as_label(value: object) -> int | None:
    """An identity as an integer of 64 bits; None if it is none. Whole floats count."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and -(2**63) <= value < 2**63 else None


def shorten(value: object) -> str:
    """A value in a message, at most 60 characters of it."""
    if isinstance(value, bytes | list | dict):
        return f"{type(value).__name__} {value!r}"[:60]
    return f"{value!r}"[:60]


def _bin_size(value: memoryview, start: int) -> int:
    """Bytes of the msgpack bin or str at ``start``, including its header."""
    width = _WIDTHS[value[start]]
    return 1 + width + int.from_bytes(value[start + 1 : start + 1 + width], "big")
