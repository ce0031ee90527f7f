"""Tables that pandas pickled, in today's and in the older way; what is no such table runs nothing."""

import contextlib
import io
import pickle
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from verification_images import write_folder

from bench.errors import InputError
from evaluate.layouts.group_folders import load_bfw
from evaluate.layouts.pandas_pickle import read_columns

PAIRS = {
    "p1": ["asian_females/n1/1.jpg", "asian_females/n1/1.jpg", "white_males/n1/1.jpg"],
    "p2": ["asian_females/n1/2.jpg", "white_males/n1/2.jpg", "white_males/n1/2.jpg"],
    "att1": ["asian_females", "asian_females", "white_males"],
    "att2": ["asian_females", "white_males", "white_males"],
}
COLUMNS = tuple(PAIRS)


def table():
    """As BFW's authors make it: paths are objects, attributes categories, and numbers stand between them."""
    frame = pd.DataFrame({"fold": np.array([1, 2, 3])})
    for name in ("p1", "p2"):
        frame[name] = pd.Series(PAIRS[name], dtype=object)
    frame["label"] = np.array([1, 0, 1])
    for name in ("att1", "att2"):
        frame[name] = pd.Series(
            pd.Categorical(PAIRS[name], categories=pd.Index(sorted(set(PAIRS[name])), dtype=object))
        )
    frame["vgg16"] = np.array([0.8, 0.1, 0.7], np.float32)
    frame.columns = pd.Index(frame.columns, dtype=object)
    return frame


def as_in_pandas_1_0(frame, protocol):
    """The pickle that pandas 1.0 wrote, by objects that are called as its classes were."""

    def named(module, name):
        return type(name, (), {"__module__": module, "__qualname__": name, "__reduce__": lambda self: self.parts})

    def made(module, name, args, state):
        instance = named(module, name)()
        instance.parts = (type(instance), args, state)
        return instance

    def index(values):
        kind = named("pandas.core.indexes.base", "Index")
        new_index = named("pandas.core.indexes.base", "_new_Index")()
        data = np.array(values, dtype=object)
        new_index.parts = (type(new_index), (kind, {"data": data, "name": None}))
        return new_index

    blocks = [
        {"values": frame[["fold", "label"]].to_numpy().T, "mgr_locs": np.array([0, 3])},
        {"values": np.array([PAIRS["p1"], PAIRS["p2"]], dtype=object), "mgr_locs": slice(1, 3, 1)},
    ]
    for place, name in ((4, "att1"), (5, "att2")):
        categories = index(frame[name].cat.categories)
        dtype = made("pandas.core.dtypes.dtypes", "CategoricalDtype", (), {"categories": categories, "ordered": False})
        state = {"_codes": frame[name].cat.codes.to_numpy(), "_dtype": dtype}
        values = made("pandas.core.arrays.categorical", "Categorical", (), state)
        blocks.append({"values": values, "mgr_locs": slice(place, place + 1, 1)})
    axes = [index(frame.columns[:6]), index(range(3))]
    state = (axes, [], [], {"0.14.1": {"axes": axes, "blocks": blocks}})
    manager = made("pandas.core.internals.managers", "BlockManager", (), state)
    whole = made("pandas.core.frame", "DataFrame", (), {"_data": manager, "_typ": "dataframe", "_metadata": []})
    return _pickled_without_check(whole, protocol)


def _pickled_without_check(value, protocol):
    """Pickle objects of classes that their modules do not have: Python's own pickler refuses to."""

    class Pickler(pickle._Pickler):
        def save_global(self, obj, name=None):
            if obj.__module__.startswith("pandas.core"):
                self.write(pickle.GLOBAL + f"{obj.__module__}\n{obj.__qualname__}\n".encode())
                self.memoize(obj)
            else:
                super().save_global(obj, name)

        dispatch: ClassVar[dict] = {**pickle._Pickler.dispatch, type: save_global}

    file = io.BytesIO()
    Pickler(file, protocol).dump(value)
    return file.getvalue()


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("version", ["today", "1.0"])
def test_columns_of_text_and_of_categories(tmp_path, version, protocol):
    path = tmp_path / "table.pkl"
    frame = table()
    path.write_bytes(pickle.dumps(frame, protocol) if version == "today" else as_in_pandas_1_0(frame, protocol))
    assert read_columns(path, COLUMNS) == [PAIRS[name] for name in COLUMNS]


def test_bfw_by_its_pickle_equals_bfw_by_csv(tmp_path):
    names = [f"{group}/n1/{i}.jpg" for group in ("asian_females", "white_males") for i in (1, 2)]
    folder = write_folder(tmp_path / "bfw", names)
    table().to_pickle(folder / "bfw-v0.1.5-datatable.pkl")
    by_pickle = load_bfw(folder)
    (folder / "bfw-v0.1.5-datatable.csv").write_text(table().to_csv(index=False))
    by_csv = load_bfw(folder)  # a CSV beside the pickle that it was saved from is read in its place
    assert by_pickle.identity_names == by_csv.identity_names == ["AF/n1", "WM/n1"]
    assert by_pickle.attributes == by_csv.attributes
    assert np.array_equal(by_pickle.identity_ids, by_csv.identity_ids)


class RunsCode:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_that_would_run_code_is_refused_without_running_it(tmp_path):
    frame = table()
    frame["vgg16"] = pd.Series([RunsCode(tmp_path / "made"), 0, 0], dtype=object)
    frame.to_pickle(tmp_path / "bfw-1-datatable.pkl")
    convert = (
        r"save it as CSV: pandas\.read_pickle\('bfw-1-datatable\.pkl'\)\.to_csv\('bfw-1-datatable\.csv', index=False\)"
    )
    with pytest.raises(InputError, match=rf"holds \S+, which .* may run code; where you trust the file, {convert}"):
        read_columns(tmp_path / "bfw-1-datatable.pkl", COLUMNS)
    assert not (tmp_path / "made").exists()


def test_strings_of_pandas_3_are_refused_with_the_way_to_csv(tmp_path):
    path = tmp_path / "t.pkl"
    pd.DataFrame({"p1": pd.array(["a"], dtype="string[pyarrow]")}).to_pickle(path)
    with pytest.raises(InputError, match=r"t\.pkl .*; where you trust the file, save it as CSV"):
        read_columns(path, ("p1",))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"p1": ["a"]}, "holds no pandas.DataFrame"),
        (table().drop(columns=["att2", "p1"]), "lacks the columns p1, att2"),
        (table().assign(p1=pd.Series([1, 2, "x"], dtype=object)), "has a column of other values than text"),
        (table().assign(att1=pd.Series(pd.Categorical([None, "a", "a"], pd.Index(["a"], dtype=object)))),
         "has a line without a category"),
    ],
)  # fmt: skip
def test_other_tables_are_named(tmp_path, value, message):
    (tmp_path / "t.pkl").write_bytes(pickle.dumps(value, 4))
    with pytest.raises(InputError, match=rf"t\.pkl {message}"):
        read_columns(tmp_path / "t.pkl", COLUMNS)


class ClaimsMore:
    """An array of a shape that its content does not fill."""

    def __init__(self, shape, dtype, content):
        self.state = (1, shape, np.dtype(dtype), False, content)

    def __reduce__(self):
        return (*np.zeros(1).__reduce__()[:2], self.state)


@pytest.mark.parametrize(
    "claim",
    [ClaimsMore((2**40,), object, ["x"]), ClaimsMore((2**40, 3), "i8", b"x" * 8), ClaimsMore((2,), "O,O", ["x"])],
)
def test_an_array_cannot_claim_more_than_the_file_holds(tmp_path, claim):
    (tmp_path / "t.pkl").write_bytes(pickle.dumps(claim, 4))
    with pytest.raises(InputError, match=r"t\.pkl holds an array of shape .* with a content of another size"):
        read_columns(tmp_path / "t.pkl", COLUMNS)


@pytest.mark.slow
def test_a_damaged_table_gives_one_line(tmp_path):
    """Whatever byte is changed or wherever the file ends, only InputError comes out."""
    good, path, rng = pickle.dumps(table(), 4), tmp_path / "t.pkl", np.random.default_rng(0)
    for _ in range(1000):
        damaged = bytearray(good)
        damaged[rng.integers(len(good))] = rng.integers(256)
        path.write_bytes(damaged[: rng.integers(1, len(good) + 1)] if rng.random() < 0.3 else damaged)
        with contextlib.suppress(InputError):
            read_columns(path, COLUMNS)
