"""Identity features -> face images: the Vec2Face generator, weight for weight.

In: ``features`` on the scale of un-normalised ArcFace features (norm about 22), ``noise`` that decides which tokens are
masked, and the share of masked tokens. Out: images in about [-1, 1], not clipped. The forward pass draws no random
numbers. Follows Vec2Face (arXiv 2409.02979; HaiyuWu/Vec2Face at 9d9fa8c; docs/field.md, section 1.2), whose masked
autoencoder is that of MAGE.

Shapes: ``B`` batch, 50 tokens (one for the identity, then a grid of 7 x 7), ``K`` tokens kept by the encoder,
``D`` width.
"""

import json
import math
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, overload

import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import Block
from torch import nn

from bench.errors import InputError, python_command
from bench.files import atomic_path
from generate.networks.identity import COARSE_SIDE
from generate.networks.plus.condition import PosedGenerator
from generate.networks.plus.pose_weights import main_state, read_pose_model, share_equal_parameters
from generate.networks.styled_decoder import StyledDecoder
from generate.networks.vec2face_decoder import ImageDecoder
from generate.networks.weights import load_checked, read_weights

_layer_norm: Any = partial(nn.LayerNorm, eps=1e-6)

GRID = 7
NUM_GRID_TOKENS = GRID * GRID
DROP_RATIO = 0.1
"""Share of the grid tokens that are hidden from the encoder during generation; the mask ratio is at least this."""


@dataclass(frozen=True)
class Architecture:
    """Sizes of the network; the defaults are those of the released base variant."""

    feature_dim: int = 512
    width: int = 768
    depth: int = 12
    num_heads: int = 12
    decoder_depth: int = 8
    decoder_heads: int = 16
    channels: int = 128
    multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)
    latent_channels: int = 256
    smooth: bool = False
    """Average away checkerboard artefacts of the pixel shuffle, see ``ImageDecoder``."""
    own_tokens: bool = False
    """Give every grid token its own linear projection of the feature. As published, all grid tokens are scaled copies
    of one projection, and the transformer must learn which content belongs to which token. Small ones learn it slowly.
    """
    coarse: bool = False
    """Add the decoder's output to a low-resolution image (28 x 28) that a linear map computes from the feature. On
    photographs the linear map alone has a pixel error of 0.018; a small network without it reached 0.033 in one epoch.
    """
    style_width: int = 0
    """Width of the style by which the feature acts on every resolution of the image decoder (``StyledDecoder``); 0 for
    the published decoder, which sees the tokens alone.
    """
    circumstances: int = 0
    """Last numbers of the feature that no identity network gives, see ``generate/networks/circumstances.py``."""


VARIANTS = {
    "base": Architecture(),
    "large": Architecture(width=1024, depth=24, num_heads=16),
    "huge": Architecture(width=1280, depth=32, num_heads=16),
}


class _TokenEmbedding(nn.Module):
    """Adds learned position embeddings and normalises; attribute names are those of the released state dict."""

    position_ids: torch.Tensor

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.register_buffer("position_ids", torch.arange(1 + NUM_GRID_TOKENS)[None])
        self.position_embeddings = nn.Embedding(1 + NUM_GRID_TOKENS, width)
        self.LayerNorm = _layer_norm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.dropout(self.LayerNorm(tokens + self.position_embeddings(self.position_ids)))


class _UnusedPatchEmbedding(nn.Module):
    """Weights of the released state dict that the reference never uses."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, 16, 16)


def token_masks(
    noise: torch.Tensor, mask_ratio: float | torch.Tensor, drop_ratio: float = DROP_RATIO
) -> tuple[torch.Tensor, torch.Tensor]:
    """The dropped and the masked grid tokens: those of lowest noise.

    Dropped tokens are hidden from the encoder. Masked tokens enter it as the identity token. Ties of the noise are
    broken by position, so the counts are exact: ceil(49 * drop_ratio) and ceil(49 * mask_ratio).

    Args:
        noise: Any finite numbers, shape (B, 49).
        mask_ratio: Share of masked tokens, a fraction in [0, 1]; one number or shape (B,).
        drop_ratio: Share of dropped tokens, the same for the whole batch.

    Returns:
        Dropped and masked tokens, bool (B, 49) each; a dropped token is masked as well.
    """
    rank = noise.argsort(dim=1, stable=True).argsort(dim=1)
    num_dropped = math.ceil(NUM_GRID_TOKENS * drop_ratio)
    # float64, as the reference computes it in Python: in float32, 49 * ratio can round over a whole number
    ratio = torch.as_tensor(mask_ratio, dtype=torch.float64, device=noise.device).reshape(-1, 1)
    dropped = rank < num_dropped
    return dropped, dropped | (rank < torch.ceil(NUM_GRID_TOKENS * ratio))


class Vec2Face(nn.Module):
    """The generator: identity features -> images. Attribute names are those of the released state dict."""

    def __init__(self, architecture: Architecture = VARIANTS["base"], dropout: float = 0.0) -> None:
        """Build the network with random weights.

        Args:
            architecture: Sizes.
            dropout: Dropout probability after the token embedding and in the transformer blocks during training; the
                reference trains with 0.1.

        Raises:
            InputError: If a width is not divisible by its number of heads, or ``multipliers`` has another length.
        """
        super().__init__()
        size = architecture
        _check_sizes(size)
        self.architecture = size
        self.decoder_pos_embed_learned = nn.Parameter(torch.zeros(1, 1 + NUM_GRID_TOKENS, size.width))
        self.token_emb = _TokenEmbedding(size.width, dropout)
        self.latent_prior_proj_f = nn.Linear(size.feature_dim, size.width)
        if size.own_tokens:
            self.grid_tokens = nn.Linear(size.feature_dim, NUM_GRID_TOKENS * size.width)
        else:
            self.feature_token = nn.Linear(1, NUM_GRID_TOKENS)
        if size.coarse:
            self.coarse = nn.Linear(size.feature_dim, 3 * COARSE_SIDE**2)
        self.center_token = nn.Linear(size.width, NUM_GRID_TOKENS)  # never used, part of the released state dict
        self.im_decoder = _image_decoder(size)
        self.im_decoder_proj = nn.Linear(size.width, size.latent_channels)
        self.patch_embed = _UnusedPatchEmbedding(size.width)  # never used, part of the released state dict
        self.blocks = _blocks(size.width, size.depth, size.num_heads, dropout)
        self.norm = _layer_norm(size.width)
        self.decoder_embed = nn.Linear(size.width, size.width)
        self.decoder_blocks = _blocks(size.width, size.decoder_depth, size.decoder_heads, dropout)
        self.decoder_norm = _layer_norm(size.width)

    def expand(self, features: torch.Tensor) -> torch.Tensor:
        """Features (B, feature_dim) -> tokens (B, 50, D): the projected feature, then the grid (``own_tokens``)."""
        features = features.to(self.norm.weight.dtype)
        projected = self.latent_prior_proj_f(features)  # (B, D)
        if self.architecture.own_tokens:
            grid = self.grid_tokens(features).unflatten(1, (NUM_GRID_TOKENS, -1))  # (B, 49, D)
        else:
            grid = self.feature_token(projected[..., None]).transpose(1, 2)
        return torch.cat([projected[:, None], grid], dim=1)

    def encode(
        self, tokens: torch.Tensor, dropped: torch.Tensor, masked: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens (B, 50, D) -> latents of the tokens kept (B, K, D), and their positions (B, K), ascending."""
        tokens = torch.where(_with_identity(masked)[..., None], tokens[:, :1], tokens)
        embedded = self.token_emb(tokens)
        num_kept = 1 + NUM_GRID_TOKENS - int(dropped[0].sum())
        positions = _with_identity(dropped).int().argsort(dim=1, stable=True)[:, :num_kept]
        latent = embedded.gather(1, positions[..., None].expand(-1, -1, embedded.shape[2]))
        return self.norm(self.blocks(latent)), positions

    def decode(
        self, latent: torch.Tensor, positions: torch.Tensor, masked: torch.Tensor, fill: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Latents (B, K, D) and their positions (B, K) -> restored tokens (B, 50, D).

        Dropped and masked tokens start as the token ``fill`` (B, 1, D), by default as the embedded identity token. With
        a given ``fill`` the latents are not embedded (``decoder_embed``), as in Vec2Face+.
        """
        if fill is None:
            latent = self.decoder_embed(latent)
            fill = latent[:, :1]
        tokens = fill.expand(-1, 1 + NUM_GRID_TOKENS, -1).scatter(1, positions[..., None].expand_as(latent), latent)
        tokens = torch.where(_with_identity(masked)[..., None], fill, tokens)
        return self.decoder_norm(self.decoder_blocks(tokens + self.decoder_pos_embed_learned))

    def paint(self, tokens: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Restored tokens (B, 50, D) and features (B, feature_dim) -> images (B, 3, 112, 112), unclipped."""
        grid = self.im_decoder_proj(tokens[:, 1:]).transpose(1, 2)  # (B, latent_channels, 49)
        style = (features.to(self.norm.weight.dtype),) if self.architecture.style_width else ()
        images = self.im_decoder(grid.unflatten(2, (GRID, GRID)), *style)
        if not self.architecture.coarse:
            return images
        coarse = self.coarse(features.to(self.coarse.weight.dtype)).unflatten(1, (3, COARSE_SIDE, COARSE_SIDE))
        return images + torch.nn.functional.interpolate(coarse, size=images.shape[2:], mode="bilinear")

    def forward(
        self,
        features: torch.Tensor,
        noise: torch.Tensor,
        mask_ratio: float | torch.Tensor,
        *,
        fill: torch.Tensor | None = None,
        drop_ratio: float = DROP_RATIO,
    ) -> torch.Tensor:
        """Images for identity features; a pure function of its arguments in eval mode or without dropout.

        Args:
            features: Un-normalised identity features, shape (B, feature_dim), norm about 22.
            noise: Noise per grid token, shape (B, 49); the tokens of lowest noise are masked.
            mask_ratio: Share of masked tokens, a fraction in [0, 1]; one number or shape (B,).
            fill: Token that dropped and masked tokens start as, shape (B, 1, D); Vec2Face+ gives the pose in it. None
                for the embedded identity token, as in Vec2Face.
            drop_ratio: Share of the grid tokens that are hidden from the encoder, a fraction in [0, 1].

        Returns:
            Images, shape (B, 3, 112, 112), RGB, in about [-1, 1], not clipped. Their type is that of ``features``,
            also where the weights are bfloat16.
        """
        dropped, masked = token_masks(noise, mask_ratio, drop_ratio)
        latent, positions = self.encode(self.expand(features), dropped, masked)
        return self.paint(self.decode(latent, positions, masked, fill), features).to(features.dtype)


def vec2face(variant: str = "base") -> Vec2Face:
    """A generator with random weights.

    Args:
        variant: ``base`` (the only one with released weights), ``large`` or ``huge``.

    Raises:
        InputError: If the variant is unknown.
    """
    if variant not in VARIANTS:
        raise InputError(f"Vec2Face variant {variant!r} is unknown; choose from {', '.join(VARIANTS)}")
    return Vec2Face(VARIANTS[variant])


@overload
def load_generator(
    path: str | Path, *, pose: None = None, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> Vec2Face: ...
@overload
def load_generator(
    path: str | Path,
    *,
    pose: str | Path | None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Vec2Face | PosedGenerator: ...
def load_generator(
    path: str | Path,
    *,
    pose: str | Path | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Vec2Face | PosedGenerator:
    """Load a generator in eval mode; its decoder lies channels-last in memory, which is fastest.

    Args:
        path: The released ``.pth`` (entry ``model_vec2face``) or a file of ``save_generator``.
        pose: Pose model of Vec2Face+: the released ``pose_model.pth`` or a file of ``save_pose_model``. Its LoRA is
            merged. The generator then takes landmark pictures as a fourth argument, and without them draws as ``path``.
        device: Where the generator runs.
        dtype: Type of the weights. ``torch.bfloat16`` is about twice as fast and changes pixels by about 1e-2, see
            ``generate/speed``.

    Raises:
        InputError: If a file is missing, cut short, or holds other weights (names the entries that differ).
    """
    content, metadata = read_weights(path)
    state = main_state(content, path)
    architecture = _read_architecture(metadata, path) if metadata else _guess_architecture(state)
    model = _build(architecture, state, path)
    if pose is None:
        return model.to(device=device, dtype=dtype).eval().requires_grad_(False)
    pose_model = read_pose_model(pose, model.state_dict())
    posed = _build(architecture, pose_model.generator, pose)
    if (width := pose_model.network.linear.out_features) != architecture.width:
        raise InputError(f"weights {pose} give pose tokens of width {width}, not {architecture.width}; give others")
    share_equal_parameters(model, posed)
    with_pose = PosedGenerator(model, posed, pose_model.network)
    return with_pose.to(device=device, dtype=dtype).eval().requires_grad_(False)


def _build(architecture: Architecture, state: dict[str, torch.Tensor], path: str | Path) -> Vec2Face:
    """A generator with these weights, which must fit exactly."""
    with torch.device("meta"):
        model = Vec2Face(architecture)
    model.to_empty(device="cpu")
    load_checked(model, state, path)
    model.im_decoder.to(memory_format=torch.channels_last)
    return model


def save_generator(model: Vec2Face, path: str | Path) -> None:
    """Write weights and sizes as one ``.safetensors`` file, which ``load_generator`` reads."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(state, temporary, {"architecture": json.dumps(asdict(model.architecture))})


def _read_architecture(metadata: dict[str, str], path: str | Path) -> Architecture:
    try:
        sizes = json.loads(metadata["architecture"])
        return Architecture(**sizes | {"multipliers": tuple(sizes["multipliers"])})
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"weights {path} state no Vec2Face sizes ({error}); give a generator.safetensors that "
            f"{python_command('generate train')} or ship wrote"
        ) from None


def _guess_architecture(state: dict[str, torch.Tensor]) -> Architecture:
    """The published variant of the same width and depth.

    Where none fits, base is returned; loading the weights into it then names the entries that differ.
    """
    width = state["norm.weight"].shape[0] if "norm.weight" in state else None
    depth = len({name.split(".")[1] for name in state if name.startswith("blocks.")})
    fitting = (size for size in VARIANTS.values() if (size.width, size.depth) == (width, depth))
    return next(fitting, VARIANTS["base"])


def _blocks(width: int, depth: int, num_heads: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        *(
            Block(width, num_heads, qkv_bias=True, proj_drop=dropout, attn_drop=dropout, norm_layer=_layer_norm)
            for _ in range(depth)
        )
    )


def _image_decoder(size: Architecture) -> ImageDecoder | StyledDecoder:
    if not size.style_width:
        return ImageDecoder(size.channels, size.multipliers, size.latent_channels, smooth=size.smooth)
    return StyledDecoder(
        size.channels,
        size.multipliers,
        size.latent_channels,
        feature_dim=size.feature_dim,
        style_width=size.style_width,
    )


def _with_identity(grid_mask: torch.Tensor) -> torch.Tensor:
    """Mask over the grid (B, 49) -> mask over all tokens (B, 50), False for the identity token."""
    return torch.nn.functional.pad(grid_mask, (1, 0), value=False)


def _check_sizes(size: Architecture) -> None:
    for name, num_heads in (("num_heads", size.num_heads), ("decoder_heads", size.decoder_heads)):
        if size.width % num_heads:
            raise InputError(f"Vec2Face: width={size.width} cannot be divided by {name}={num_heads}; change one")
    if len(size.multipliers) not in (3, 4, 5):
        raise InputError(f"Vec2Face: {len(size.multipliers)} multipliers; give 3 to 5 (from 7 x 7 to 112 x 112 pixels)")
