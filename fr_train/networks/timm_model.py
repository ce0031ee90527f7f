"""Any timm model as a recognition network: its feature map, flattened, into an embedding.

Legend: B batch, D embedding dimension.
"""

import difflib
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import InputError
from fr_train.networks.recompute import has_batch_norm

_FACE_SIZE = 112
_NUM_SUGGESTED = 5
_EXAMPLES = ["vit_small_patch16_224", "resnet50"]


class TimmBackbone(nn.Module):
    """A timm model without its classifier; the last feature map is flattened, not pooled, since faces are aligned.

    Args:
        name: Model of timm, such as ``vit_small_patch16_224``; it is built for 112 x 112 pixels, with random weights.
        embedding_dim: Length D of the features.
        dropout: Share of the last feature map that is dropped in training.

    Raises:
        InputError: If timm has no model of this name, or it cannot take faces.
    """

    trunk: Any  # timm's models share no type that has forward_features

    def __init__(self, name: str, embedding_dim: int = 512, dropout: float = 0.0) -> None:
        super().__init__()
        self.name = name
        import timm

        if not timm.is_model(name):
            near = difflib.get_close_matches(name, timm.list_models(), n=_NUM_SUGGESTED) or _EXAMPLES
            raise InputError(f"backbone.name={name} is no timm model; choose from {', '.join(near)}, ...")
        settings = timm.get_pretrained_cfg(name)
        size: dict[str, Any] = {"img_size": _FACE_SIZE} if settings is not None and settings.fixed_input_size else {}
        try:
            with torch.inference_mode(False), torch.enable_grad():
                self.trunk = timm.create_model(name, pretrained=False, num_classes=0, **size).eval()
                feature_map = self.trunk.forward_features(torch.zeros(1, 3, _FACE_SIZE, _FACE_SIZE))
                feature_map.sum().backward()
        except (AssertionError, AttributeError, RuntimeError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:160]
            raise InputError(f"backbone.name={name} cannot take {_FACE_SIZE} x {_FACE_SIZE} faces ({reason})") from None
        for parameter in self.trunk.parameters():  # of the classifier that is left out, no gradient reaches it
            parameter.requires_grad_(parameter.grad is not None)
            parameter.grad = None
        self.trunk.train()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(feature_map.numel(), embedding_dim, bias=False)
        self.features = nn.BatchNorm1d(embedding_dim)
        self.features.weight.requires_grad_(False)

    def checkpoint_gradients(self) -> None:
        """Compute activations again in the backward pass from now on, as timm cuts the model.

        Raises:
            InputError: If timm cannot, or the model has batch norms, which would count every batch twice.
        """
        problem = "its batch norms would count every batch twice" if has_batch_norm(self.trunk) else ""
        if not problem:
            try:
                self.trunk.set_grad_checkpointing(True)
            except (AssertionError, AttributeError) as error:
                problem = " ".join(str(error).split())[:160] or "timm does not offer it"
        if problem:
            raise InputError(f"{self.name} cannot checkpoint gradients ({problem}); set --micro-batch to save memory")

    def forward(self, faces: Tensor) -> Tensor:
        """Features of faces: (B, 3, 112, 112) in [-1, 1] -> (B, D), not normalised."""
        x = self.trunk.forward_features(faces)
        return self.features(self.fc(self.dropout(x.flatten(1))).float())
