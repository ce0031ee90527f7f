"""Converts faces between pixels (uint8, NHWC) and network input (float32 in [-1, 1], NCHW).

``B`` batch, ``H W`` pixels. Training has its own ``fr_train.trainer.augment.normalize``, which rounds as the published
training code does; the two differ by at most 6e-8.
"""

import numpy as np
import torch
from numpy.typing import NDArray


def to_network_input(faces: NDArray[np.uint8] | torch.Tensor, device: str | torch.device = "cpu") -> torch.Tensor:
    """Network input x / 127.5 - 1 of a batch of faces: float32, shape (B, 3, H, W), channels last in memory.

    Args:
        faces: uint8 RGB, shape (B, H, W, 3).
        device: Device of the result. The faces are copied to it as uint8, a quarter of the bytes of float32.
    """
    tensor = torch.from_numpy(faces) if isinstance(faces, np.ndarray) else faces
    return tensor.to(device, non_blocking=True).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_pixels(images: torch.Tensor) -> NDArray[np.uint8]:
    """Pixels of a batch of generated images: uint8 RGB, shape (B, H, W, 3), in main memory.

    Values outside [-1, 1] are clamped. NaN becomes mid-grey (128).

    Args:
        images: Shape (B, 3, H, W), on any device, of any floating type.
    """
    pixels = (images.float().nan_to_num(0).clamp(-1, 1) * 127.5 + 127.5).round()
    return pixels.to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
