"""Pairs files: missing images and wrong lines are all listed in one line."""

import pytest
from verification_images import write_lfw

from bench.errors import InputError
from evaluate.layouts.pairs import read_pairs
from evaluate.protocol import load_protocol


@pytest.fixture
def lfw(tmp_path):
    return write_lfw(tmp_path / "lfw")


def test_missing_images_are_all_listed(lfw):
    (lfw / "Ann" / "Ann_0002.png").unlink()
    (lfw / "Bob" / "Bob_0001.png").unlink()
    with pytest.raises(
        InputError, match=r"names 2 missing images \(of 4\): Ann/Ann_0002, Bob/Bob_0001; put them under"
    ):
        load_protocol(lfw)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("Ann/Ann_0001 Ann/Ann_0001 1", "line 1: Ann/Ann_0001 is paired with itself"),
        ("Ann/Ann_0001 Bob/Bob_0001 0\n" * 2, "line 2: repeats the pair of line 1"),
        (
            "Ann/Ann_0001 Bob/Bob_0001 0\nBob/Bob_0001 Ann/Ann_0001 1",
            "line 2: repeats the pair of line 1 with the other label",
        ),
        ("Ann/Ann_0001 Bob/Bob_0001 2", "line 1 is 'Ann/Ann_0001 Bob/Bob_0001 2'; needs 'pathA pathB 0|1'"),
        ("10\t300\nAnn\t1\t2", "holds 1 pairs, but its first line says 10 folds of 300 genuine and 300 impostor"),
        ("1\t1\nAnn\t1\t2\nAnn\tone\tBob\t1", "line 3 is 'Ann one Bob 1'; needs 'name i j' or 'name1 i name2 j'"),
        ("", "is empty; needs lines"),
    ],
)
def test_wrong_pairs_files(lfw, lines, message):
    (lfw / "pairs.txt").write_text(lines)
    with pytest.raises(InputError) as error:
        load_protocol(lfw)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


ROWS = "A\t1\t2\nA\t1\tB\t1\n"


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf1\t1\n" + ROWS.encode(),
        b"1\n" + ROWS.encode(),
        b"1\t1\t\nA\t1\t2\t\nA\t1\tB\t1\t\t\n",
        b"1\t1\r\n" + ROWS.replace("\n", "\r\n").encode(),
        b"A_0001 1\nA_0002 1\nA_0001 0\nB_0001 0\n",
    ],
    ids=["byte-order mark", "View 1", "tabs at the end", "Windows", "CALFW"],
)
def test_dialects_of_lists(tmp_path, content):
    (tmp_path / "pairs.txt").write_bytes(content)
    genuine, impostor = read_pairs(tmp_path / "pairs.txt")
    assert (genuine.is_genuine, impostor.is_genuine) == (True, False)
    names = [pair.names for pair in (genuine, impostor)]
    assert [[name.split("/")[-1] for name in pair] for pair in names] == [["A_0001", "A_0002"], ["A_0001", "B_0001"]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("A\t1\t²\nA\t1\tB\t1", "line 1 is 'A 1 ²'; needs 'name i j'"),
        (f"A\t1\t{'9' * 5000}\nA\t1\tB\t1", "line 1 is 'A 1 999"),
        (f"{'9' * 30}\t1\n{ROWS}", "line 1 is '9999"),
        ("A_0001 1\nB_0001 1\n", "line 1 begins the pair 'A_0001 1, B_0001 1', whose labels and names contradict"),
        ("A_0001 1\nA_0002 1\nA_0003 1\n", "holds 3 lines 'image 0|1'; needs two per pair"),
        ("0\t300\n", "holds 0 pairs"),
        (f"{'x' * 5000} b 1\n", "names 2 missing images (of 2)"),
    ],
)
def test_numbers_and_names_that_are_none(lfw, content, message):
    (lfw / "pairs.txt").write_text(content, encoding="utf-8")
    with pytest.raises(InputError) as error:
        load_protocol(lfw)
    assert message in str(error.value)
    assert len(str(error.value)) < 800


def test_text_of_another_encoding_is_refused(lfw):
    (lfw / "pairs.txt").write_text("Ann/Ann_0001 Jos\u00e9/1 0", encoding="utf-16")
    with pytest.raises(InputError, match=r"pairs.txt is not UTF-8 text .*; save it as UTF-8"):
        load_protocol(lfw)
