import pytest

from bench.errors import InputError
from generate.fetch import CATALOGUE, GENERATION, find_file


def test_names():
    assert [find_file(name).local_name for name in GENERATION] == [
        "vec2face_generator.pth",
        "arcface-r100-glint360k.pth",
        "magface-r100-glint360k.pth",
        "6DRepNet_300W_LP_AFLW2000.pth",
    ]
    assert len({file.local_name for file in CATALOGUE.values()}) == len(CATALOGUE)
    with pytest.raises(InputError, match="did you mean generator"):
        find_file("generater")
