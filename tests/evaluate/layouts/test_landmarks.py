"""Landmark files of IJB and RFW, and lines that are none."""

import pytest

from bench.errors import InputError
from bench.faces.face import ARCFACE_TEMPLATE
from evaluate.layouts.landmarks import image_key, read_landmarks


def test_landmark_dialects(tmp_path):
    numbers = " ".join(map(str, ARCFACE_TEMPLATE.ravel()))
    file = tmp_path / "landmarks.txt"
    file.write_text(f"1.jpg {numbers} 0.998\n")  # IJB: the detector's score
    assert read_landmarks(file)["1.jpg"].score == 0.998
    file.write_text("/data/m.0x1/m.0x1_0001.jpg\t0\t" + numbers.replace(" ", "\t"))  # RFW: a label first
    ((name, known),) = read_landmarks(file).items()
    assert known.points.tolist() == ARCFACE_TEMPLATE.tolist()
    assert known.score == 1
    assert image_key(name) == image_key("m.0x1/m.0x1_0001") == ("m.0x1", "m.0x1_0001")
    for content, message in (
        ("1.jpg 3 4", "line 1 is '1.jpg 3 4'; needs"),
        ("", "is empty"),
        (f"a {numbers}\na {numbers}", "line 2 names a again"),
    ):
        file.write_text(content)
        with pytest.raises(InputError, match=message):
            read_landmarks(file)
