"""Check of the channel order of a dataset: embeddings of a sample of images -> RGB or BGR.

A recognition network separates identities less well if red and blue of its input are exchanged. So the Fisher ratio of
a sample is measured on the images as stored and with the two channels exchanged, and the order with the higher ratio is
the right one. The mean cosine within identities would mislead, because with exchanged channels *all* faces look alike.
"""

import numpy as np
from numpy.typing import NDArray

from bench.runs.card_parts.audit import ByChannelOrder, ColourOrder
from evaluate.audit.embeddings import Embedded, Embedder, read_faces
from evaluate.audit.identities.cosines import measure_identities
from evaluate.layouts.images import LazyImages
from evaluate.measure.embed import embed

_NUM_IDENTITIES, _IMAGES_EACH = 250, 4


def check_colour_order(embedded: Embedded, embedder: Embedder, *, seed: int = 0) -> ColourOrder | None:
    """Compare a sample of images as stored with the same images with red and blue exchanged.

    Args:
        embedded: Images of the dataset with their embeddings.
        embedder: The recognition network.
        seed: Seed of the sample.

    Returns:
        The measurements of both orders, and the better order. None unless two identities have two images each.
    """
    rows = _sample(embedded.identity_ids, seed)
    if rows.size == 0:
        return None
    _, ids = np.unique(embedded.identity_ids[rows], return_inverse=True)
    images = read_faces(embedded.source, embedded.positions[rows])

    def read_exchanged(position: int) -> NDArray[np.uint8]:
        return images.read(position)[..., ::-1]

    exchanged_images = LazyImages(read_exchanged, images.positions)
    as_stored = measure_identities(embedded.embeddings[rows], ids)
    exchanged = measure_identities(embed(embedder.network, exchanged_images, device=embedder.device), ids)
    return ColourOrder(
        num_images=len(rows),
        fisher_ratio=ByChannelOrder(as_stored=as_stored.fisher_ratio, exchanged=exchanged.fisher_ratio),
        consistency=ByChannelOrder(
            as_stored=float(np.mean(as_stored.to_others)), exchanged=float(np.mean(exchanged.to_others))
        ),
        impostor_mean=ByChannelOrder(as_stored=as_stored.impostor.mean, exchanged=exchanged.impostor.mean),
        order="RGB" if as_stored.fisher_ratio >= exchanged.fisher_ratio else "BGR",
    )


def _sample(identity_ids: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Positions of at most 4 images of each of at most 250 identities, all of which have two images or more."""
    counts = np.bincount(identity_ids)
    rng = np.random.default_rng(seed)
    candidates = np.flatnonzero(counts >= 2)
    chosen = rng.choice(candidates, min(_NUM_IDENTITIES, len(candidates)), replace=False)
    if len(chosen) < 2:
        return np.empty(0, dtype=np.int64)
    order = np.argsort(identity_ids, kind="stable")
    starts = np.cumsum(counts) - counts
    return np.sort(np.concatenate([order[starts[k] :][: min(_IMAGES_EACH, counts[k])] for k in chosen]))
