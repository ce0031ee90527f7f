"""Reconstruction and original -> the terms of the generator's loss (field.md 1.3), each a mean over the batch.

Terms are computed in float32 whatever the precision of the networks. Shapes: ``B`` batch, ``D`` token width.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import InputError
from generate.networks.identity import IdentityNetwork, map_distance
from generate.networks.weights import read_weights

VGG_NAME = "vgg16-397923af.pth"
"""torchvision's VGG-16 on ImageNet, on which LPIPS is built; put it into WEIGHTS, or let torch.hub have it."""
IDENTITY_MAPS = "identity network"
LPIPS = "LPIPS (VGG)"
_MAX_SHIFT, _COARSENESS = 2, (1, 2, 4)
"""In pixels: how far a view is shifted at most, and how large its pixels may be."""


@dataclass(frozen=True)
class Reconstruction:
    """What the generator made of a batch."""

    images: Tensor
    """(B, 3, 112, 112), unclipped, float32."""
    tokens: Tensor
    """Restored grid tokens, (B, 49, D)."""
    target_tokens: Tensor
    """Grid tokens as the features were expanded, without gradient, (B, 49, D)."""


class Terms:
    """Computes the terms that count; the frozen networks behind them are shared between terms."""

    def __init__(
        self,
        identity: IdentityNetwork,
        *,
        weights: Path,
        device: torch.device,
        with_ssim: bool,
        judged_share: float = 1.0,
        judged_views: bool = False,
    ) -> None:
        """Load what the terms need.

        Args:
            identity: The network whose features condition the generator.
            weights: Folder where VGG's weights may lie.
            device: Where the networks run.
            with_ssim: Whether SSIM counts at all.
            judged_share: Share of a batch, its first faces, for which the perceptual and the identity term are
                computed: these networks cost more than a small generator.
            judged_views: Whether they see faces shifted and blurred, see ``same_view``.

        Raises:
            InputError: If a package is not installed.
        """
        self.identity = identity
        self.judged_share, self.judged_views = judged_share, judged_views
        self.lpips = load_lpips(weights, device)
        self.ssim: Callable[[Tensor, Tensor], Tensor] | None = _load_ssim() if with_ssim else None

    @property
    def perceptual_network(self) -> str:
        """What the perceptual term looks at, for the card."""
        return LPIPS if self.lpips is not None else IDENTITY_MAPS

    def __call__(
        self, made: Reconstruction, faces: Tensor, features: Tensor, weights: dict[str, float]
    ) -> dict[str, Tensor]:
        """The terms of weight above 0, but for the adversarial one.

        Args:
            made: The reconstruction.
            faces: The originals, (B, 3, 112, 112) in [-1, 1].
            features: Their identity features, (B, feature_dim).
            weights: Weight per term.
        """
        terms: dict[str, Tensor] = {}
        on_maps = weights["perceptual"] > 0 and self.lpips is None
        num_judged = max(1, round(self.judged_share * len(faces)))
        shown, originals = made.images[:num_judged], faces[:num_judged]
        if self.judged_views:
            shown, originals = same_view(shown, originals)
        if weights["pixel"] > 0:
            terms["pixel"] = F.mse_loss(made.images, faces)
        if weights["perceptual"] > 0 and self.lpips is not None:
            terms["perceptual"] = self.lpips(shown, originals).float().mean()
        if weights["ssim"] > 0 and self.ssim is not None:
            with torch.autocast(faces.device.type, enabled=False):
                terms["ssim"] = 1 - self.ssim((made.images + 1) / 2, (faces + 1) / 2)
        if weights["token"] > 0:
            terms["token"] = F.mse_loss(made.tokens.float(), made.target_tokens.float())
        if weights["identity"] > 0 or on_maps:
            again, maps = self.identity.with_maps(shown)
            if weights["identity"] > 0:
                terms["identity"] = (1 - F.cosine_similarity(again.float(), features[:num_judged])).mean()
            if on_maps:
                with torch.no_grad():
                    _, real_maps = self.identity.with_maps(originals)
                terms["perceptual"] = map_distance(maps, real_maps)
        return terms


def same_view(*images: Tensor) -> list[Tensor]:
    """Images, all shifted by the same few pixels, at full, half or a quarter of their resolution.

    What a network recognises must then be drawn coarsely and in its place: a fine texture that only pleases the network
    is gone. Drawn from torch's generator.

    Args:
        images: Of shape (B, 3, H, W) each, H and W multiples of 4.
    """
    down, right = (int(pixels) for pixels in torch.randint(2 * _MAX_SHIFT + 1, (2,)))
    coarseness = _COARSENESS[int(torch.randint(len(_COARSENESS), ()))]
    views = []
    for given in images:
        height, width = given.shape[2:]
        padded = F.pad(given, (_MAX_SHIFT,) * 4, mode="replicate")
        view = padded[:, :, down : down + height, right : right + width]
        if coarseness > 1:
            view = F.interpolate(F.avg_pool2d(view, coarseness), scale_factor=coarseness, mode="bilinear")
        views.append(view)
    return views


def load_lpips(weights: Path, device: torch.device) -> nn.Module | None:
    """LPIPS on VGG-16 where VGG's weights and the package are at hand, else None. Nothing is downloaded."""
    hub = Path(torch.hub.get_dir()) / "checkpoints"
    path = next((folder / VGG_NAME for folder in (weights, hub) if (folder / VGG_NAME).is_file()), None)
    if path is None:
        return None
    try:
        import lpips
    except ImportError:
        raise InputError(f"{path} is there for LPIPS, but lpips is not; run pip install lpips") from None
    with warnings.catch_warnings(action="ignore"):  # torchvision: an argument that lpips still gives
        network = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)  # its own linear weights come with the package
    content, _ = read_weights(path)
    trunk: dict[str, Any] = network.net.state_dict()
    # slice1.0.weight of LPIPS is features.0.weight of torchvision: the number names the layer
    network.net.load_state_dict({name: content[f"features.{name.split('.', 1)[1]}"] for name in trunk})
    return network.to(device).eval().requires_grad_(False)


def _load_ssim() -> Callable[[Tensor, Tensor], Tensor]:
    try:
        from pytorch_msssim import SSIM
    except ImportError:
        raise InputError("losses.ssim needs pytorch-msssim; run .venv/bin/pip install -e '.[generator]'") from None
    return SSIM(data_range=1, size_average=True, channel=3)
