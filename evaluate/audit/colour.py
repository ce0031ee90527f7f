"""Are the channels stored as RGB, as the field's files say, or as BGR? Asked of the recognition network.

A network sees faces with red and blue exchanged less well: identities come apart less. The Fisher ratio of a sample as
stored and exchanged is compared. Consistency alone would mislead: exchanged, *all* faces look more alike.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluate.audit.embeddings import Embedded, Embedder, faces_of
from evaluate.audit.identities import IdentityFigures, measure_identities
from evaluate.layouts.images import LazyImages
from evaluate.measure.embed import embed

_NUM_IDENTITIES, _IMAGES_EACH = 250, 4


def check_colour_order(embedded: Embedded, embedder: Embedder, *, seed: int = 0) -> dict[str, Any] | None:
    """Figures of a sample of images as stored and with red and blue exchanged; None where no identity has two images.

    Returns:
        ``num_images``; ``fisher_ratio``, ``consistency`` and ``impostor_mean`` each ``as_stored`` and ``exchanged``;
        ``order``: ``RGB``, or ``BGR`` where exchanged faces come apart better.
    """
    rows = _sample(embedded.identity_ids, seed)
    if rows.size == 0:
        return None
    _, ids = np.unique(embedded.identity_ids[rows], return_inverse=True)
    images = faces_of(embedded.source, embedded.positions[rows])

    def exchanged(position: int) -> NDArray[np.uint8]:
        return images.read(position)[..., ::-1]

    swapped = embed(embedder.network, LazyImages(exchanged, images.positions), device=embedder.device)
    figures = {
        "as_stored": measure_identities(embedded.embeddings[rows], ids),
        "exchanged": measure_identities(swapped, ids),
    }
    return {
        "num_images": len(rows),
        "fisher_ratio": {name: one.fisher_ratio for name, one in figures.items()},
        "consistency": {name: float(np.mean(one.to_others)) for name, one in figures.items()},
        "impostor_mean": {name: one.impostor.mean for name, one in figures.items()},
        "order": _order(figures),
    }


def _order(figures: dict[str, IdentityFigures]) -> str:
    return "RGB" if figures["as_stored"].fisher_ratio >= figures["exchanged"].fisher_ratio else "BGR"


def _sample(identity_ids: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Images of some identities that have at least two, a few of each."""
    counts = np.bincount(identity_ids)
    rng = np.random.default_rng(seed)
    several = np.flatnonzero(counts >= 2)
    chosen = rng.choice(several, min(_NUM_IDENTITIES, len(several)), replace=False)
    if len(chosen) < 2:
        return np.empty(0, dtype=np.int64)
    order = np.argsort(identity_ids, kind="stable")
    starts = np.cumsum(counts) - counts
    return np.sort(np.concatenate([order[starts[k] :][: min(_IMAGES_EACH, counts[k])] for k in chosen]))
