"""Drawn images of a shard -> some of them rotated on a mean 3D head and judged again (``turned`` in the settings).

Small generators do not keep identity in profile, so the drawn image itself is rotated (``generate/render/turned.py``).
Shapes: ``N`` images, ``D`` width of the features.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from generate.draw.attrop import Jobs, Outcomes
from generate.networks.estimators import Estimator
from generate.networks.over_faces import outputs_over_faces
from generate.render.turned import turn_face, view_yaw

_WORKERS = 2


def turn_outcomes(
    outcomes: Outcomes,
    jobs: Jobs,
    degrees: NDArray[np.floating],
    identity: Estimator,
    attributes: Mapping[str, Estimator],
    *,
    batch_size: int,
    device: str | torch.device,
) -> None:
    """Rotate some images in place; their features, identity cosines and attributes are measured again.

    Args:
        outcomes: Outcomes whose attributes hold the yaw of the images.
        jobs: The jobs of these outcomes.
        degrees: Yaw to rotate to, shape (N,), NaN where an image stays. Its sign counts only for images that are seen
            from the front; the others turn further to the side that they show.
        identity: Estimator of identity features.
        attributes: Estimator of every attribute of ``outcomes``, by name.
        batch_size: Images per forward pass.
        device: Where the estimators are.
    """
    rows = np.flatnonzero(np.isfinite(degrees))
    if not len(rows):
        return
    yaw = outcomes.attributes["yaw"][rows]
    with ThreadPoolExecutor(_WORKERS) as pool:
        views = pool.map(turn_face, outcomes.images[rows], yaw.tolist(), view_yaw(yaw, degrees[rows]).tolist())
        for row, view in zip(rows, views, strict=True):
            outcomes.images[row] = view
    images = outcomes.images[rows]
    features = outputs_over_faces(identity, images, batch_size=batch_size, device=device)
    outcomes.features[rows] = features
    outcomes.identity_cosine[rows] = F.cosine_similarity(
        torch.from_numpy(features), torch.from_numpy(jobs.identity[rows])
    ).numpy()
    for name, values in outcomes.attributes.items():
        attribute = outputs_over_faces(attributes[name], images, batch_size=batch_size, device=device)
        values[rows] = attribute.reshape(len(rows))
