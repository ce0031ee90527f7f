"""Weights -> the identity network that conditions and judges the generator, and its intermediate activations.

In: images (B, 3, 112, 112) RGB in [-1, 1]. Out: un-normalised features (B, D). The network is an IResNet (``.pth``,
``.safetensors``) or an ONNX file, which onnx2torch makes differentiable. Either may have components of appearance
behind its features (``appearance.py``).

Shapes: ``B`` batch, ``C`` channels, ``H W`` pixels, ``D`` width of the features.
"""

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import InputError
from bench.onnx_input import takes_bytes
from fr_train.checkpoint import backbone_and_weights, load_backbone, load_weights

COARSENESS = 4
"""Side in pixels of the squares that a low-resolution face averages: it has 28 x 28 colours."""
COARSE_SIDE = 112 // COARSENESS
_SMALLEST_MAP = 7


class WithAppearance(nn.Module):
    """An identity network and, behind its features, one linear layer on the low-resolution image.

    Args:
        network: Images (B, 3, 112, 112) in [-1, 1] to features (B, D).
        num_components: Components of appearance; the output is (B, D + num_components).
    """

    def __init__(self, network: nn.Module, num_components: int) -> None:
        super().__init__()
        self.network = network
        self.appearance = nn.Linear(3 * COARSE_SIDE**2, num_components)

    def forward(self, images: Tensor) -> Tensor:
        """Features, then components of appearance, (B, D + num_components)."""
        coarse = F.avg_pool2d(images, COARSENESS).flatten(1)
        return torch.cat([self.network(images), self.appearance(coarse)], dim=1)


class _TakesBytes(nn.Module):
    """Images in [-1, 1] for a network that expects pixels of 0..255 and normalises them itself."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images * 127.5 + 127.5)


class IdentityNetwork(nn.Module):
    """A frozen identity network that can also return its last activations at every resolution."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self._maps: dict[str, Tensor] | None = None
        names = self._last_maps()
        for name, module in self.network.named_modules():
            if name in names:
                module.register_forward_hook(self._keep(name))

    @property
    def feature_dim(self) -> int:
        """Width of the features."""
        weight = next(self.network.parameters())
        with torch.no_grad():
            return self(torch.zeros(1, 3, 112, 112, device=weight.device)).shape[1]

    def train(self, mode: bool = True) -> "IdentityNetwork":
        """Stays in eval mode, whatever ``mode`` is: the network is never trained."""
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, D)."""
        return self.network(images)

    def with_maps(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Features (B, D), and the last activations (B, C, H, W) of every resolution down to 7 x 7."""
        self._maps = {}
        try:
            features = self.network(images)
            return features, list(self._maps.values())
        finally:
            self._maps = None

    def _last_maps(self) -> set[str]:
        """Names of the modules that give the last activations of each resolution, found by one run on a grey image."""
        last: dict[int, str] = {}
        handles = []
        for name, module in self.network.named_modules():
            if not list(module.children()):

                def note_resolution(_: nn.Module, __: object, output: object, name: str = name) -> None:
                    if isinstance(output, Tensor) and output.dim() == 4 and output.shape[-1] >= _SMALLEST_MAP:
                        last[output.shape[-1]] = name

                handles.append(module.register_forward_hook(note_resolution))
        with torch.no_grad():
            self.network(torch.zeros(1, 3, 112, 112))
        for handle in handles:
            handle.remove()
        return set(last.values())

    def _keep(self, name: str) -> Callable[[nn.Module, object, Tensor], None]:
        """A hook that stores a module's output while ``with_maps`` runs."""

        def keep(_: nn.Module, __: object, output: Tensor) -> None:
            if self._maps is not None:
                self._maps[name] = output

        return keep


def map_distance(first: list[Tensor], second: list[Tensor]) -> Tensor:
    """Distance between the activations of two batches of images, one number: LPIPS with equal weights.

    At each resolution the activations are normalised to length 1 over the channels. Their squared differences are
    summed over channels and averaged over positions, faces and resolutions (arXiv 1801.03924, eq. 1, with w = 1).

    Args:
        first: Activations of ``IdentityNetwork.with_maps``, (B, C, H, W) per resolution.
        second: The same for the other images.
    """
    distances = []
    for left, right in zip(first, second, strict=True):
        difference = F.normalize(left.float(), dim=1, eps=1e-6) - F.normalize(right.float(), dim=1, eps=1e-6)
        distances.append(difference.square().sum(dim=1).mean())
    return torch.stack(distances).mean()


def load_identity_network(
    path: str | Path, device: str | torch.device = "cpu", *, with_appearance: bool = True
) -> IdentityNetwork:
    """An identity network from its weights, frozen, on its device.

    Args:
        path: Weights of an IResNet, or an ONNX file.
        device: Where the network runs.
        with_appearance: Whether the components of appearance that may follow the features are kept.

    Raises:
        InputError: As ``load_features`` and ``without_appearance``.
    """
    network = load_features(path)
    return IdentityNetwork(network if with_appearance else without_appearance(network, path)).to(device)


def without_appearance(network: nn.Module, path: str | Path) -> nn.Module:
    """The identity network of ``load_features`` without components of appearance behind its features.

    Raises:
        InputError: If it is an ONNX file, whose components are part of the graph.
    """
    if Path(path).suffix == ".onnx":
        raise InputError(
            f"{path} may hold components of appearance, which cannot be cut off an ONNX file; give a .safetensors or "
            ".pth of the identity network"
        )
    return network.network if isinstance(network, WithAppearance) else network


def load_features(path: str | Path) -> nn.Module:
    """An identity network as a plain module: images in [-1, 1] to un-normalised features.

    Args:
        path: Any file of ``fr_train.checkpoint.load_backbone``, or an ONNX file.

    Raises:
        InputError: As ``load_identity_network``.
    """
    path = Path(path)
    if path.suffix == ".onnx" and path.exists():
        return load_onnx(path)
    if path.suffix == ".safetensors" and path.exists():
        network, weights = backbone_and_weights(path)
        if "appearance.bias" in weights:
            network = WithAppearance(network, len(weights["appearance.bias"]))
        load_weights(network, weights, str(path))
        return network.eval()
    return load_backbone(path)


def load_onnx(path: Path) -> nn.Module:
    """A differentiable module of an ONNX file; it takes images in [-1, 1], whatever range the file expects.

    Raises:
        InputError: If a package is not installed, or the file cannot be read or has several outputs.
    """
    try:
        import onnx
        from onnx2torch import convert
    except ImportError as error:
        raise InputError(f"{path} needs {error.name}; run .venv/bin/pip install -e '.[generator]'") from None
    try:
        model = onnx.load(path)
        network = convert(model).eval()  # batch norms in training mode would change with every image
        with torch.no_grad():
            network(torch.zeros(1, 3, 112, 112))
    except Exception as error:  # protobuf's and onnx2torch's errors share no base class
        reason = " ".join(str(error).split())[:160]
        raise InputError(
            f"{path} is not an ONNX model of faces (B, 3, 112, 112) that onnx2torch can run ({reason}); fetch it again"
        ) from None
    if (num_outputs := len(model.graph.output)) != 1:
        raise InputError(f"{path} has {num_outputs} outputs; give a network with a single output")
    return _TakesBytes(network) if takes_bytes(model.graph) else network
