"""A network on a template set -> TAR at FAR: the 1:1 evaluation of IJB-B and IJB-C, by insightface's protocol.

The features of a face and of its mirror image are added and *not* normalised: their length falls with image quality, so
poor images count less. Each face is weighted by its detector score. The faces of one media are averaged, the media of a
template are added, and the sum is normalised. The score of a pair is the cosine.

One thing differs from insightface: TAR is exact, at the loosest threshold whose FAR is at most the stated one.
insightface takes the nearest point of its ROC curve, whose FAR may be higher.
Legend: B batch, D feature dimension, K faces, T templates, P pairs.
"""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray

from bench.errors import InputError
from bench.runs.cards import TemplateResult
from evaluate import metrics
from evaluate.layouts.ijb.templates import TemplateSet
from evaluate.layouts.images import listed
from evaluate.test_sets.registry import known_version

_PAIRS_PER_BLOCK = 8192  # their features fit into the processor's cache


def verify_templates(batches: Iterable[tuple[slice, torch.Tensor]], templates: TemplateSet) -> TemplateResult:
    """Measure a network on a template protocol.

    Args:
        batches: Features of ``templates.faces`` before normalising, those of the mirror image added, as from
            ``feature_batches``.
        templates: Faces, templates and pairs.

    Raises:
        InputError: If features are not finite (names the faces), or there is no genuine or no impostor pair.
    """
    return score_templates(pool_templates(batches, templates), templates)


def score_templates(features: NDArray[np.float32], templates: TemplateSet) -> TemplateResult:
    """As ``verify_templates``, from the unit features of the templates, shape (T, D)."""
    scores = pair_scores(features, templates.pairs)
    is_genuine = templates.is_genuine
    return TemplateResult(
        tar_at_far=metrics.tar_at_fars(scores, is_genuine),
        auc=metrics.auc(scores, is_genuine),
        eer=metrics.eer(scores, is_genuine),
        num_pairs=len(is_genuine),
        num_impostors=int(np.count_nonzero(~is_genuine)),
        num_templates=templates.num_templates,
        num_images=len(templates.faces),
        sha256=templates.sha256,
        copy_known_as=known_version(templates.name, templates.sha256),
    )


def pool_templates(batches: Iterable[tuple[slice, torch.Tensor]], templates: TemplateSet) -> NDArray[np.float32]:
    """Unit features of all templates, shape (T, D), in one pass over the faces; memory grows with T, not with K.

    Averaging within media and adding over media is a weighted sum over faces. The weight of a face is its detector
    score divided by the number of faces that its template has of its media.
    """
    weights = templates.detector_scores / _faces_of_same_media(templates)
    sums = np.empty((0, 0))
    for batch, features in batches:
        rows = features.double().cpu().numpy()  # (B, D)
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if bad.size:
            names = listed([templates.face_names[batch.start + row] for row in bad])
            raise InputError(
                f"{templates.name}: features of {names} are not finite; inspect these images, or evaluate in float32"
            )
        if not sums.size:
            sums = np.zeros((templates.num_templates, rows.shape[1]))
        np.add.at(sums, templates.template_ids[batch], rows * weights[batch, None])
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return (sums / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def _faces_of_same_media(templates: TemplateSet) -> NDArray[np.int64]:
    """For each face, the number of faces with the same template and media, shape (K,)."""
    media, media_ids = np.unique(templates.media_ids, return_inverse=True)  # published numbers may be large
    keys = templates.template_ids * len(media) + media_ids
    _, indices, counts = np.unique(keys, return_inverse=True, return_counts=True)
    return counts[indices]


def pair_scores(features: NDArray[np.float32], pairs: NDArray[np.integer]) -> NDArray[np.float32]:
    """Cosine of each pair, shape (P,), computed in blocks so that only the result grows with P.

    Args:
        features: Unit features of the templates, shape (T, D).
        pairs: Templates that are compared, shape (P, 2).
    """
    scores = np.empty(len(pairs), dtype=np.float32)
    for start in range(0, len(pairs), _PAIRS_PER_BLOCK):
        block = pairs[start : start + _PAIRS_PER_BLOCK]
        np.einsum("pd,pd->p", features[block[:, 0]], features[block[:, 1]], out=scores[start : start + len(block)])
    return scores
