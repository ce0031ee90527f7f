"""Images of a shard, some turned by the mean head and judged again: ``turned`` in the generator's settings.

A small generator adds a person to a pose; that a profile is the person's own face from the side it cannot know. Turning
the image itself can (generate/render/turned.py). Legend: N images.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from generate.draw.attrop import Estimator, Jobs, Outcomes
from generate.render.turned import turn_face, view_yaw

_WORKERS = 2


@torch.no_grad()
def turn_outcomes(
    out: Outcomes,
    jobs: Jobs,
    degrees: NDArray[np.floating],
    identity: Estimator,
    attributes: Mapping[str, Estimator],
    *,
    batch_size: int,
    device: str | torch.device,
) -> None:
    """Turn some images in place, and put what is seen of them in the place of what was seen before.

    Args:
        out: Outcomes whose attributes hold the yaw of the images.
        jobs: Of these outcomes.
        degrees: Yaw to turn to, shape (N,), NaN for images that stay; the sign counts for those seen from the front.
        identity: Features of images.
        attributes: Estimator of every attribute of ``out``.
        batch_size: Images at a time.
        device: Of the estimators.
    """
    rows = np.flatnonzero(np.isfinite(degrees))
    seen = out.attributes["yaw"][rows]
    with ThreadPoolExecutor(_WORKERS) as pool:
        views = pool.map(turn_face, out.images[rows], seen.tolist(), view_yaw(seen, degrees[rows]).tolist())
        for row, view in zip(rows, views, strict=True):
            out.images[row] = view
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        pixels = torch.from_numpy(out.images[batch]).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
        features = identity(pixels).float().cpu()
        out.features[batch] = features.numpy()
        out.identity_cosine[batch] = F.cosine_similarity(features, torch.from_numpy(jobs.identity[batch])).numpy()
        for name, values in out.attributes.items():
            values[batch] = attributes[name](pixels).float().flatten().cpu().numpy()
