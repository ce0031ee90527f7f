"""Consistency of a result: numbers of a card that must agree with each other, and with the scores they come from.

The checks run when a result is made and whenever one is read, so that a card that was edited, merged, or written by a
faulty version is refused. Every comparison is written such that NaN fails it.
"""

from collections.abc import Iterable, Iterator
from math import sqrt
from statistics import fmean, pstdev, stdev

from numpy.typing import NDArray

from bench.runs.cards import GroupSummary, ProtocolResult, ResultCard, TemplateResult
from evaluate import metrics
from evaluate.measure.scores import IDENTITIES, Scores
from evaluate.measure.uncertainty.bootstrap import interval, resampled_means
from evaluate.test_sets.registry import in_mean

_TOLERANCE = 1e-9
_HARD_SETS_LEFT_OUT = 5  # schema of the cards whose mean leaves out hard sets
_ROUNDED = 1e-5  # scores.npz holds float32
_PAIRS_TIED = 3  # pairs whose scores can become equal when they are rounded to float32


def contradictions(card: ResultCard, scores: Scores | None = None, *, resample: bool = False) -> list[str]:
    """Statements of a result that cannot all be true, one line each; empty for a consistent result.

    Args:
        card: The result.
        scores: The scores of the result, if they exist; every number of its protocols is then checked against them.
        resample: Whether to draw intervals over identities again too, which takes seconds per protocol.
    """
    wrong = [f"{name}: {text}" for name, result in card.protocols.items() for text in protocol_contradictions(result)]
    wrong += [f"{name}: {text}" for name, result in card.templates.items() for text in _rate_contradictions(result)]
    wrong += _mean_contradictions(card)
    for name, group in card.groups.items():
        wrong += [f"{name}: {text}" for text in _group_contradictions(group, card)]
    if scores is None:
        return wrong
    for name, result in card.protocols.items():
        if name not in scores:
            wrong.append(f"{name}: scores.npz lacks it")
        else:
            wrong += [f"{name}: {text}" for text in _score_contradictions(result, scores[name], resample=resample)]
    return wrong


def protocol_contradictions(result: ProtocolResult) -> Iterator[str]:
    """Numbers of one protocol that cannot all be true."""
    yield from _outside({"accuracy": result.accuracy, "exact_accuracy": result.exact_accuracy})
    if result.folds and not _is_near(fmean(result.folds), result.accuracy):
        yield f"folds average {fmean(result.folds):.6f}, but the accuracy is {result.accuracy}"
    if result.folds and not _is_near(pstdev(result.folds), result.fold_std):
        yield f"the standard deviation of the folds is {pstdev(result.folds):.6f}, but fold_std is {result.fold_std}"
    variance = result.accuracy * (1 - result.accuracy)
    if not abs(result.standard_error**2 * result.num_pairs - variance) <= _TOLERANCE * result.num_pairs:
        yield (
            f"standard_error is {result.standard_error}, but accuracy {result.accuracy} on {result.num_pairs} pairs "
            "gives another"
        )
    yield from _rate_contradictions(result)
    if result.interval and not 0 <= result.interval[0] <= result.interval[1] <= 1:
        yield f"interval {result.interval} does not hold two ascending fractions"


def _rate_contradictions(result: ProtocolResult | TemplateResult) -> Iterator[str]:
    """Accept rates of one protocol that cannot all be true."""
    fractions = {"auc": result.auc, "eer": result.eer}
    fractions |= {f"TAR at FAR {far}": tar for far, tar in result.tar_at_far.items()}
    outside = list(_outside(fractions))
    yield from outside
    if not result.num_pairs > 0:
        yield f"num_pairs is {result.num_pairs}"
    rates = sorted((float(far), tar) for far, tar in result.tar_at_far.items() if tar is not None)
    if not outside and [tar for _, tar in rates] != sorted(tar for _, tar in rates):
        yield f"TAR falls as FAR rises: {result.tar_at_far}"
    if result.num_impostors is None:
        return
    if rates and not rates[0][0] * result.num_impostors >= 1 - _TOLERANCE:
        smallest = 1 / max(result.num_impostors, 1)
        yield (
            f"TAR is given at FAR {rates[0][0]:g}, but {result.num_impostors} impostor pairs resolve {smallest:.3g} "
            "and above"
        )
    if not 0 <= result.num_impostors <= result.num_pairs:
        yield f"num_impostors is {result.num_impostors} of {result.num_pairs} pairs"


def _mean_contradictions(card: ResultCard) -> Iterator[str]:
    """The mean accuracy and its standard error against the protocols."""
    counted = in_mean(card.protocols) if card.schema_version >= _HARD_SETS_LEFT_OUT else card.protocols
    results = [card.protocols[name] for name in counted]
    if not results:
        if card.mean_accuracy is not None:
            yield f"mean_accuracy is {card.mean_accuracy}, but there are no protocols"
        return
    mean = fmean(result.accuracy for result in results)
    if card.mean_accuracy is None or not _is_near(card.mean_accuracy, mean):
        yield f"mean_accuracy is {card.mean_accuracy}, but its protocols average {mean:.6f}"
    error = sqrt(sum(result.standard_error**2 for result in results)) / len(results)
    if card.mean_standard_error is not None and not _is_near(card.mean_standard_error, error):
        yield f"mean_standard_error is {card.mean_standard_error}, but its protocols give {error:.6f}"


def _group_contradictions(group: GroupSummary, card: ResultCard) -> Iterator[str]:
    """Mean and deviation over groups of people against the accuracies of these groups."""
    accuracies = [card.protocols[name].accuracy for name in group.protocols if name in card.protocols]
    if len(accuracies) != len(group.protocols) or len(accuracies) < 2:
        yield f"the card has only {len(accuracies)} of its groups {', '.join(group.protocols)}"
        return
    mean, std = fmean(accuracies), stdev(accuracies)
    if not (_is_near(mean, group.mean_accuracy) and _is_near(std, group.std)):
        stated = f"mean {group.mean_accuracy:.6f} and std {group.std:.6f}"
        yield f"{stated}, but its groups give {mean:.6f} and {std:.6f}"


def _score_contradictions(result: ProtocolResult, arrays: dict[str, NDArray], *, resample: bool) -> Iterator[str]:
    """Every number of a protocol against the one that its scores and decisions give."""
    scores, is_genuine, is_correct = (arrays[field] for field in ("scores", "is_genuine", "is_correct"))
    scores = scores.astype("float64")
    num_folds, num_pairs = len(result.folds) or int(arrays["fold"].max()) + 1, len(scores)
    num_genuine = int(is_genuine.sum())
    if num_pairs != result.num_pairs or result.num_impostors not in (None, num_pairs - num_genuine):
        stated = f"{result.num_pairs} pairs, {result.num_impostors} of them impostor pairs"
        yield f"the card has {stated}, but scores.npz holds {num_pairs} and {num_pairs - num_genuine}"
        return
    if not 2 <= num_folds <= num_pairs:
        yield f"{num_pairs} pairs cannot make {num_folds} folds"
        return
    folds = metrics.fold_means(is_correct, num_folds)
    if not _is_near(folds.mean(), result.accuracy):
        yield f"accuracy is {result.accuracy}, but its decisions give {folds.mean():.6f}"
    if result.folds and not all(map(_is_near, folds, result.folds)):
        yield f"folds are {result.folds}, but its decisions give {tuple(folds.tolist())}"
    decided = metrics.fold_means(metrics.grid_decisions(2 - 2 * scores, is_genuine, num_folds), num_folds).mean()
    if not abs(decided - result.accuracy) <= max(result.standard_error, _PAIRS_TIED / num_pairs):
        yield f"accuracy is {result.accuracy}, but its scores give {decided:.6f}"
    exact = metrics.fold_means(metrics.exact_decisions(scores, is_genuine, num_folds), num_folds).mean()
    yield from _other("exact_accuracy", result.exact_accuracy, exact, _PAIRS_TIED / num_pairs)
    if result.interval and (resample or result.interval_over != "identities"):
        ends = interval(resampled_means(is_correct, identities=arrays.get(IDENTITIES)))
        if not all(map(_is_near, ends, result.interval)):
            yield f"interval is {result.interval}, but its decisions give {ends}"
    if not 0 < num_genuine < num_pairs:
        return
    tie = _PAIRS_TIED / min(num_genuine, num_pairs - num_genuine)
    yield from _other("auc", result.auc, metrics.auc(scores, is_genuine), _ROUNDED)
    yield from _other("eer", result.eer, metrics.eer(scores, is_genuine), tie)
    d_prime = metrics.d_prime(scores, is_genuine)
    yield from _other("d_prime", result.d_prime, d_prime, _ROUNDED * max(1.0, abs(d_prime)))
    for far, tar in metrics.tar_at_fars(scores, is_genuine).items():
        if tar is not None:
            yield from _other(f"TAR at FAR {far}", result.tar_at_far.get(far), tar, tie)


def _other(name: str, stated: float | None, counted: float, tolerance: float) -> Iterator[str]:
    if stated is not None and not abs(stated - counted) <= tolerance:
        yield f"{name} is {stated}, but its scores give {counted:.6f}"


def _outside(fractions: dict[str, float | None]) -> Iterable[str]:
    return (f"{name} is {value}, no fraction" for name, value in fractions.items() if not 0 <= (value or 0) <= 1)


def _is_near(a: float, b: float) -> bool:
    return abs(a - b) <= _TOLERANCE


def grid_misleads(result: ProtocolResult) -> bool:
    """Whether exact thresholds change the accuracy by more than its standard error.

    This happens when many distances fall into few steps of the published grid of thresholds.
    """
    if result.exact_accuracy is None:
        return False
    return abs(result.exact_accuracy - result.accuracy) > result.standard_error
