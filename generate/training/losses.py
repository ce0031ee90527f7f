"""Reconstructions and originals -> the terms of the generator's loss, each a mean over the batch.

The terms are those of HaiyuWu/Vec2Face (docs/field.md, section 1.3). They are computed in float32, whatever the
precision of the networks. Shapes: ``B`` batch, ``D`` token width.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import InputError
from generate.networks.identity import IdentityNetwork, map_distance
from generate.networks.weights import read_weights

VGG_NAME = "vgg16-397923af.pth"
"""torchvision's VGG-16 on ImageNet, which LPIPS uses. It is looked for in WEIGHTS and in torch.hub's folder."""
IDENTITY_MAPS = "identity network"
LPIPS = "LPIPS (VGG)"
_MAX_SHIFT_PIXELS = 2
_BLOCK_PIXELS = (1, 2, 4)
"""A view is averaged over square blocks of one of these sizes."""


@dataclass(frozen=True)
class Reconstruction:
    """The generator's reconstruction of a batch."""

    images: Tensor
    """Images, unclipped, float32, (B, 3, 112, 112)."""
    tokens: Tensor
    """Grid tokens that the decoder restored, (B, 49, D)."""
    target_tokens: Tensor
    """Grid tokens that the features were expanded to, without gradient, (B, 49, D)."""


class LossTerms:
    """Computes the terms of weight above 0. The terms share the frozen networks."""

    def __init__(
        self,
        identity: IdentityNetwork,
        *,
        weights: Path,
        device: torch.device,
        with_ssim: bool,
        with_lpips: bool = True,
        judged_share: float = 1.0,
        judged_views: bool = False,
    ) -> None:
        """Load the networks of the terms.

        Args:
            identity: The network whose features condition the generator.
            weights: Folder that may hold VGG's weights.
            device: Where the networks run.
            with_ssim: Whether the recipe uses SSIM.
            with_lpips: Whether LPIPS is the perceptual term if VGG's weights are found.
            judged_share: Share of a batch, its first faces, for which the perceptual and the identity term are
                computed. Below 1 it saves time: their networks cost more than a small generator.
            judged_views: Whether these two terms are computed on shifted and blurred images, see ``same_view``.

        Raises:
            InputError: If a package is not installed.
        """
        self.identity = identity
        self.judged_share, self.judged_views = judged_share, judged_views
        self.lpips = load_lpips(weights, device) if with_lpips else None
        self.ssim: Callable[[Tensor, Tensor], Tensor] | None = _load_ssim() if with_ssim else None

    @property
    def perceptual_network(self) -> str:
        """Name of the network of the perceptual term, for the card."""
        return LPIPS if self.lpips is not None else IDENTITY_MAPS

    def __call__(
        self, reconstruction: Reconstruction, faces: Tensor, features: Tensor, weights: dict[str, float]
    ) -> dict[str, Tensor]:
        """The unweighted terms of weight above 0, without the adversarial one.

        Args:
            reconstruction: The reconstruction of the batch.
            faces: The originals, (B, 3, 112, 112) in [-1, 1].
            features: Their identity features, (B, feature_dim).
            weights: Weight per term.
        """
        terms: dict[str, Tensor] = {}
        images = reconstruction.images
        num_judged = max(1, round(self.judged_share * len(faces)))
        judged, originals = images[:num_judged], faces[:num_judged]
        if self.judged_views:
            judged, originals = same_view(judged, originals)
        if weights["pixel"] > 0:
            terms["pixel"] = F.mse_loss(images, faces)
        if weights.get("absolute", 0) > 0:
            terms["absolute"] = F.l1_loss(images, faces)
        if weights["perceptual"] > 0 and self.lpips is not None:
            terms["perceptual"] = self.lpips(judged, originals).float().mean()
        if weights["ssim"] > 0 and self.ssim is not None:
            with torch.autocast(faces.device.type, enabled=False):
                terms["ssim"] = 1 - self.ssim((images + 1) / 2, (faces + 1) / 2)
        if weights["token"] > 0:
            terms["token"] = F.mse_loss(reconstruction.tokens.float(), reconstruction.target_tokens.float())
        needs_maps = weights["perceptual"] > 0 and self.lpips is None
        if weights["identity"] > 0 or needs_maps:
            judged_features, maps = self.identity.with_maps(judged)
            if weights["identity"] > 0:
                wanted = features[:num_judged, : judged_features.shape[1]]  # without circumstances
                cosines = F.cosine_similarity(judged_features.float(), wanted)
                terms["identity"] = (1 - cosines).mean()
            if needs_maps:
                with torch.no_grad():
                    _, original_maps = self.identity.with_maps(originals)
                terms["perceptual"] = map_distance(maps, original_maps)
        return terms


def same_view(*images: Tensor) -> list[Tensor]:
    """Images, all shifted by the same 0 to 2 pixels each way and averaged over blocks of 1, 2 or 4 pixels.

    A generator can raise the cosine of the identity network by fine textures that no person sees (adversarial noise).
    Shift and blur destroy them, so that the gradient favours coarse shapes in the right position. Shift and block size
    come from torch's global generator.

    Args:
        images: Images of one shape (B, 3, H, W), H and W multiples of 4.
    """
    down, right = (int(pixels) for pixels in torch.randint(2 * _MAX_SHIFT_PIXELS + 1, (2,)))
    block = _BLOCK_PIXELS[int(torch.randint(len(_BLOCK_PIXELS), ()))]
    views = []
    for image in images:
        height, width = image.shape[2:]
        padded = F.pad(image, (_MAX_SHIFT_PIXELS,) * 4, mode="replicate")
        view = padded[:, :, down : down + height, right : right + width]
        if block > 1:
            view = F.interpolate(F.avg_pool2d(view, block), scale_factor=block, mode="bilinear")
        views.append(view)
    return views


def load_lpips(weights: Path, device: torch.device) -> nn.Module | None:
    """LPIPS on VGG-16 if VGG's weights are in ``weights`` or torch.hub's folder, else None. Downloads nothing.

    Raises:
        InputError: If the weights exist, but the package lpips is not installed.
    """
    hub = Path(torch.hub.get_dir()) / "checkpoints"
    paths = [path for path in (weights / VGG_NAME, hub / VGG_NAME) if path.is_file()]
    if not paths:
        return None
    path = paths[0]
    try:
        import lpips
    except ImportError:
        raise InputError(
            f"{path} exists, so the perceptual term is LPIPS, whose package lpips is not installed; run .venv/bin/pip "
            "install -e '.[generator]'"
        ) from None
    with warnings.catch_warnings(action="ignore"):  # lpips uses an argument that torchvision deprecates
        # pnet_rand leaves VGG random, so that nothing is downloaded; LPIPS's linear weights come with the package
        network = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)
    content, _ = read_weights(path)
    trunk: dict[str, Tensor] = network.net.state_dict()
    # slice1.0.weight of LPIPS is features.0.weight of torchvision, the same layer
    network.net.load_state_dict({name: content[f"features.{name.split('.', 1)[1]}"] for name in trunk})
    return network.to(device).eval().requires_grad_(False)


def _load_ssim() -> Callable[[Tensor, Tensor], Tensor]:
    try:
        from pytorch_msssim import SSIM
    except ImportError:
        raise InputError("losses.ssim needs pytorch-msssim; run .venv/bin/pip install -e '.[generator]'") from None
    return SSIM(data_range=1, size_average=True, channel=3)
