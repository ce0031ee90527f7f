"""A batch of pose training, which tests compare with the reference at two sizes."""

import pytest
import torch


@pytest.fixture(scope="session")
def train_batch():
    """Runs a batch of the golden file forwards and backwards: name of the loss -> its value.

    Pixels, SSIM and identity, by the published expressions; LPIPS is random there (dropout) and not in the sum.
    """
    ssim = pytest.importorskip("pytorch_msssim").ssim

    def run(generator, conditions, identity, golden):
        faces, features = golden["train_faces"].double() / 127.5 - 1, golden["train_features"].double()
        pictures = 2 * golden["landmark_pictures"][golden["train_picture_of_sample"]].double() - 1
        images = generator(
            features,
            golden["train_noise"],
            golden["train_mask_rate"].item(),
            fill=conditions(pictures),
            drop_ratio=golden["train_drop_ratio"].item(),
        )
        losses = {
            "pixel": (images - faces).square().mean(),
            "ssim": 1 - ssim((images + 1) / 2, (faces + 1) / 2, data_range=1.0),
            "identity": (1 - torch.cosine_similarity(features, identity(images))).mean(),
        }
        sum(losses.values()).backward()
        return {name: loss.item() for name, loss in losses.items()}

    return run
