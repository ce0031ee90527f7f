"""Columns of text of a table that pandas pickled, as BFW's authors release theirs, read without pandas.

Loading a pickle can run any code. This reader replaces every class and function of pandas that the file names by a
stand-in, which stores its arguments and does nothing; arrays are rebuilt here after a check of their size; any other
name is refused before it is looked up. The table is then put together from what the stand-ins hold, in the two ways in
which pandas has stored tables: ``_unpickle_block`` since version 1.3, dictionaries of blocks before.
"""

import math
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from evaluate.layouts.packed import LimitedFile

_BLOCKS_BEFORE_1_3 = "0.14.1"
"""Version of pandas that names the older way to store blocks, in the file itself."""


class _Held:
    """Stands in for a class or function of pandas: keeps its arguments and its state."""

    name = ""
    args: tuple[Any, ...]
    state: Any

    def __new__(cls, *args: Any) -> "_Held":
        held = super().__new__(cls)
        held.args, held.state = args, None
        return held

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Array:
    """Stands in for a NumPy array: checks the size before it builds the array."""

    values: NDArray

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, is_fortran, content = state
        self.values = _built(content, dtype, shape, "F" if is_fortran else "C")


def _built(content: Any, dtype: Any, shape: Any, order: str) -> NDArray:
    """An array of the content, a list of objects or bytes.

    Raises:
        InputError: If the content does not have the size of the shape.
    """
    size = math.prod(shape)
    holds_objects = dtype.kind == "O"
    if holds_objects and isinstance(content, list) and len(content) == size:
        values = np.empty(size, dtype=object)
        values[:] = content
    elif not dtype.hasobject and len(content) == size * dtype.itemsize:
        values = np.frombuffer(content, dtype)
    else:
        raise InputError(f"holds an array of shape {shape} with a content of another size")
    return values.reshape(shape, order="F" if order == "F" else "C")


def _from_buffer(content: Any, dtype: Any, shape: Any, order: str) -> _Array:
    array = _Array()
    array.values = _built(content, dtype, shape, order)
    return array


class _TableUnpickler(pickle._Unpickler):
    """Refuses every name outside pandas and NumPy's arrays before it is looked up, so nothing of the file runs."""

    def __init__(self, file: Any) -> None:
        super().__init__(file, encoding="latin1")
        self._allowed: dict[tuple[str, str], Any] = {
            ("numpy", "ndarray"): _Array,
            ("numpy", "dtype"): np.dtype,
            ("builtins", "slice"): slice,
            ("__builtin__", "slice"): slice,
            ("_codecs", "encode"): lambda text, _: text.encode("latin1"),
        }
        for core in ("numpy.core", "numpy._core"):
            self._allowed[f"{core}.multiarray", "_reconstruct"] = lambda *_: _Array()
            self._allowed[f"{core}.multiarray", "scalar"] = lambda *_: None
            self._allowed[f"{core}.numeric", "_frombuffer"] = _from_buffer

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "pandas":
            return type("_Held", (_Held,), {"name": name})
        if (module, name) not in self._allowed:
            raise InputError(f"holds {module}.{name}, which a table of text does not need and which may run code")
        return self._allowed[module, name]


def read_columns(path: Path, names: Sequence[str]) -> list[list[str]]:
    """Columns of text, or of categories of text, of a pickled table.

    Args:
        path: What ``DataFrame.to_pickle`` wrote, not compressed.
        names: Names of the columns.

    Returns:
        The texts of each column, all of one length.

    Raises:
        InputError: If the file is no such table, lacks a column or holds anything else in it, or names a class that a
            table does not need. Nothing of the file is run.
    """
    try:
        with path.open("rb") as file:
            frame = _TableUnpickler(LimitedFile(file, path.stat().st_size)).load()
        columns = dict(_columns(frame, set(names)))
        texts = [_texts(columns[name]) for name in names if name in columns]
    except InputError as error:
        raise InputError(f"{path} {error}; {_convert(path)}") from None
    except Exception as error:  # a broken pickle can raise nearly anything
        reason = f"{type(error).__name__}: {error}"[:200]
        raise InputError(f"{path} is no pickled table that is known here ({reason}); {_convert(path)}") from None
    missing = [name for name in names if name not in columns]
    if missing or len({len(column) for column in texts}) != 1:
        what = f"lacks the columns {', '.join(missing)}" if missing else "has columns of different lengths"
        raise InputError(f"{path} {what}; {_convert(path)}")
    return texts


def _convert(path: Path) -> str:
    """Advice to save the table as CSV, which cannot run code."""
    code = f"pandas.read_pickle('{path.name}').to_csv('{path.stem}.csv', index=False)"
    return f"where you trust the file, save it as CSV: {code}"


def _columns(frame: _Held, wanted: set[str]) -> Iterator[tuple[str, Any]]:
    """Name and values of the wanted columns: an array of objects, or what stands in for categories."""
    if not isinstance(frame, _Held) or frame.name != "DataFrame" or not isinstance(frame.state, dict):
        raise InputError("holds no pandas.DataFrame")
    manager: Any = frame.state.get("_mgr", frame.state.get("_data"))
    if isinstance(manager.state, tuple):  # before pandas 1.3
        stored = manager.state[3][_BLOCKS_BEFORE_1_3]
        axes, blocks = stored["axes"], [(block["values"], block["mgr_locs"]) for block in stored["blocks"]]
    else:
        axes, blocks = manager.args[1], [block.args[:2] for block in manager.args[0]]
    names = _index(axes[0])
    for values, locations in blocks:
        for row, column in enumerate(_positions(locations, len(names))):
            if names[column] in wanted:
                yield names[column], values.values[row] if isinstance(values, _Array) else values


def _positions(locations: Any, num_columns: int) -> list[int]:
    """Columns of a block, from a slice or an array, either of which pandas may wrap."""
    if isinstance(locations, _Held):
        locations = locations.args[0]
    if isinstance(locations, slice):
        return list(range(*locations.indices(num_columns)))
    return locations.values.tolist() if isinstance(locations, _Array) else list(locations)


def _index(index: _Held) -> list[str]:
    """The values of an ``Index``, which pandas rebuilds by ``_new_Index(class, {"data": array})``."""
    data = index.args[1]["data"]
    return _index(data) if isinstance(data, _Held) else data.values.tolist()


def _texts(values: Any) -> list[str]:
    """The texts of a column: of an array of objects, or of a ``Categorical``, whose codes are positions."""
    if isinstance(values, _Held):
        state = values.state
        kind, codes = (state["_dtype"], state["_codes"]) if isinstance(state, dict) else state[:2]
        categories = np.array(_index(kind.state["categories"]), dtype=object)
        positions = codes.values.ravel()
        if positions.size and not 0 <= positions.min() <= positions.max() < len(categories):
            raise InputError("has a line without a category")
        values = categories[positions]
    texts = values.tolist()
    if not all(isinstance(text, str) for text in texts):
        raise InputError("has a column of other values than text")
    return texts
