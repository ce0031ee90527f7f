"""The published upsampling, and the official code, that speed is measured against."""

import pytest
import torch

from generate.speed import network
from generate.speed.network import Speed, _double_then_convolve, _measure_official, generator_rows
from generate.vec2face import Architecture, Vec2Face

pytestmark = pytest.mark.usefixtures("one_thread")


def test_published_upsampling_draws_the_same_images():
    torch.manual_seed(0)
    model = Vec2Face(Architecture(16, 32, 1, 2, 1, 2, 32, (1, 1, 1, 1, 1), 8)).eval()
    features, noise = torch.randn(2, 16), torch.rand(2, 49)
    ours = model(features, noise, 0.3)
    _double_then_convolve(model)
    torch.testing.assert_close(model(features, noise, 0.3), ours, rtol=1e-4, atol=1e-5)


def test_the_official_generator_is_made_as_its_script_makes_it(tmp_path):
    folder = tmp_path / "pixel_generator" / "vec2face"
    folder.mkdir(parents=True)
    (folder / "model_vec2face.py").write_text(
        "import json, torch\n"
        "class Model(torch.nn.Module):\n"
        "    def forward(self, features):\n"
        "        assert not self.training and torch.is_grad_enabled()\n"
        "        return None, None, features.reshape(-1, 2, 16, 16), None, None\n"
        "def vec2face_vit_base_patch16(**settings):\n"
        "    open('settings.json', 'w').write(json.dumps(settings))\n"
        "    return Model()\n"
    )
    rate, memory = _measure_official(tmp_path, 3, 1, "cpu", "base")
    assert rate > 0 and memory > 0
    assert '"mask_ratio_mu": 0.15' in (tmp_path / "settings.json").read_text()


def test_rows_compare_with_the_official_code_where_a_clone_is_given(tmp_path, monkeypatch):
    measured = [Speed("official", 2.0, 800, None), Speed("plain", 1.0, 400, 0.0), Speed("float32", 4.0, 200, 0.1)]
    monkeypatch.setattr(network, "compare", lambda device, official: measured if official else measured[1:])
    rows = generator_rows("cpu", tmp_path)
    assert [row["times official"] for row in rows] == [1.0, 0.5, 2.0]
    assert [row["times plain"] for row in rows] == [2.0, 1.0, 4.0]
    assert rows[0]["implementation"] == f"{tmp_path.name} (no commit)"
    assert "times official" not in generator_rows("cpu")[0]
