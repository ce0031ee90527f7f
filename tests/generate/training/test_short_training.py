"""Settings that let a small generator learn in an hour on two cores: positions, few resolutions, a judged share."""

from pathlib import Path

import pytest
import torch
from torch import nn

from generate.networks.identity import IdentityNetwork
from generate.networks.vec2face_decoder import ImageDecoder
from generate.training.losses import LossTerms, Reconstruction
from generate.training.recipes import load_recipe
from generate.training.state import build_generator


def test_three_resolutions_end_at_full_size() -> None:
    images = ImageDecoder(8, (1, 2, 2), 16)(torch.zeros(2, 16, 7, 7))

    assert images.shape == (2, 3, 112, 112)


@pytest.mark.parametrize("std", [0.02, 1.0])
def test_positions_start_as_the_recipe_says(std: float) -> None:
    torch.manual_seed(0)
    generator = build_generator(load_recipe("rendered").model_copy(update={"initial_positions": std}))

    assert generator.token_emb.position_embeddings.weight.std().item() == pytest.approx(std, rel=0.05)
    assert generator.decoder_pos_embed_learned.std().item() == pytest.approx(std, rel=0.05)


def test_networks_see_the_judged_share_and_pixels_count_in_all_faces(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = IdentityNetwork(nn.Sequential(nn.Conv2d(3, 4, 16, 16), nn.Flatten(), nn.Linear(4 * 49, 8)))
    images, faces = torch.randn(2, 8, 3, 112, 112).clamp(-1, 1)
    features, tokens = torch.randn(8, 8), torch.zeros(8, 49, 4)
    weights = dict.fromkeys(("pixel", "perceptual", "identity"), 1.0) | {"ssim": 0.0, "token": 0.0}

    def terms(number: int, share: float) -> dict[str, torch.Tensor]:
        parts = LossTerms(network, weights=tmp_path, device=torch.device("cpu"), with_ssim=False, judged_share=share)
        reconstruction = Reconstruction(images[:number], tokens[:number], tokens[:number])
        return parts(reconstruction, faces[:number], features[:number], weights)

    quarter, first_two, whole_batch = terms(8, 0.25), terms(2, 1.0), terms(8, 1.0)

    torch.testing.assert_close(quarter["perceptual"], first_two["perceptual"])
    torch.testing.assert_close(quarter["identity"], first_two["identity"])
    torch.testing.assert_close(quarter["pixel"], whole_batch["pixel"])
    assert not torch.isclose(quarter["identity"], whole_batch["identity"])
