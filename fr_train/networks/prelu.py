"""PReLU that trains fast on a CPU with channels-last batches; elsewhere it is ``nn.PReLU``.

Legend: B batch, H W pixels, R rows of an image.
"""

from typing import Any

import torch
from torch import Tensor, nn


class _RowPReLU(torch.autograd.Function):
    """PReLU of rows (R, W * channels) with one weight per column, in operations that the CPU vectorises."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(rows, weight)
        return rows.clamp_min(0).addcmul_(rows.clamp_max(0), weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        rows, weight = ctx.saved_tensors
        positive = torch.ops.aten.threshold_backward(gradient, rows, 0.0)  # torch.where is three times slower
        negative = gradient - positive
        return positive.addcmul_(negative, weight), (rows * negative).sum(0)


class PReLU(nn.PReLU):
    """``nn.PReLU`` with the same parameter and the same values, several times as fast when a CPU trains channels-last.

    PyTorch's kernel loops over the few channels of one pixel, and its backward pass is not vectorised. Here a loop runs
    over a whole image row; the weight is repeated for each pixel of the row.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, channels, H, W)."""
        trains_on_cpu = input.device.type == "cpu" and torch.is_grad_enabled()
        if not trains_on_cpu or not input.is_contiguous(memory_format=torch.channels_last):
            return super().forward(input)
        batch, channels, height, width = input.shape
        rows = input.permute(0, 2, 3, 1).reshape(batch * height, width * channels)  # (R, W * channels)
        rows = _RowPReLU.apply(rows, self.weight.to(input.dtype).repeat(width))
        return rows.view(batch, height, width, channels).permute(0, 3, 1, 2)
