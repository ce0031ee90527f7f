"""Any model of timm as a recognition network: its flattened feature map is projected to features.

In: faces (B, 3, 112, 112). Out: features (B, D) before normalisation.

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
    """A timm model without its classifier. The last feature map is flattened instead of pooled, as faces are aligned.

    Args:
        name: Name of a timm model, such as ``vit_small_patch16_224``. It is built for 112 x 112 pixels, with random
            weights.
        embedding_dim: Length D of the features.
        dropout: Probability in [0, 1) that a value of the last feature map is zeroed in training.

    Raises:
        InputError: If timm has no model of this name, or the model does not accept 112 x 112 faces.
    """

    trunk: Any  # timm's models share no type that has forward_features

    def __init__(self, name: str, embedding_dim: int = 512, dropout: float = 0.0) -> None:
        super().__init__()
        self.name = name
        import timm

        if not timm.is_model(name):
            suggestions = difflib.get_close_matches(name, timm.list_models(), n=_NUM_SUGGESTED) or _EXAMPLES
            raise InputError(f"backbone.name={name} is no timm model; choose from {', '.join(suggestions)}, ...")
        settings = timm.get_pretrained_cfg(name)
        size: dict[str, Any] = {"img_size": _FACE_SIZE} if settings is not None and settings.fixed_input_size else {}
        try:
            with torch.inference_mode(False), torch.enable_grad():
                self.trunk = timm.create_model(name, pretrained=False, num_classes=0, **size).eval()
                feature_map = self.trunk.forward_features(torch.zeros(1, 3, _FACE_SIZE, _FACE_SIZE))
                feature_map.sum().backward()
        except (AssertionError, AttributeError, RuntimeError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:160]
            raise InputError(
                f"backbone.name={name} does not accept {_FACE_SIZE} x {_FACE_SIZE} faces ({reason}); name another"
            ) from None
        for parameter in self.trunk.parameters():  # a parameter of the removed classifier gets no gradient
            parameter.requires_grad_(parameter.grad is not None)
            parameter.grad = None
        self.trunk.train()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(feature_map.numel(), embedding_dim, bias=False)
        self.features = nn.BatchNorm1d(embedding_dim)
        self.features.weight.requires_grad_(False)

    def checkpoint_gradients(self) -> None:
        """Recompute activations in the backward pass, to save memory; timm decides where the model is split.

        Raises:
            InputError: If timm does not support it for this model, or the model has batch norms, whose statistics would
                count every batch twice.
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
        """Faces (B, 3, 112, 112) in [-1, 1] -> features (B, D), float32, before normalisation."""
        x = self.trunk.forward_features(faces)
        return self.features(self.fc(self.dropout(x.flatten(1))).float())
