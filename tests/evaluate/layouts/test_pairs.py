"""Pairs files: missing images and wrong lines are all listed in one line."""

import pytest
from verification_images import write_lfw

from bench.errors import InputError
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
