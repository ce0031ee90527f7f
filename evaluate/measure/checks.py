"""Consistency of a result: numbers of a card, and of its scores, that must agree with each other.

The checks run when a result is made and whenever one is read. So no printed number comes from a card that was edited,
merged, or written by a faulty version.
"""

from collections.abc import Iterator
from statistics import fmean, pstdev, stdev

from numpy.typing import NDArray

from bench.runs.cards import GroupSummary, ProtocolResult, ResultCard, TemplateResult
from evaluate.measure.scores import Scores
from evaluate.metrics import fold_means

_TOLERANCE = 1e-9


def contradictions(card: ResultCard, scores: Scores | None = None) -> list[str]:
    """Statements of a result that cannot all be true, one line each; empty for a consistent result.

    Args:
        card: The result.
        scores: The scores of the result, if they exist; the accuracies are then counted again from them.
    """
    wrong = [f"{name}: {text}" for name, result in card.protocols.items() for text in protocol_contradictions(result)]
    wrong += [f"{name}: {text}" for name, result in card.templates.items() for text in _rate_contradictions(result)]
    wrong += _mean_contradictions(card)
    for name, group in card.groups.items():
        wrong += [f"{name}: {text}" for text in _group_contradictions(group, card)]
    for name in card.protocols.keys() & (scores or {}).keys():
        wrong += [f"{name}: {text}" for text in _score_contradictions(card.protocols[name], (scores or {})[name])]
    return wrong


def protocol_contradictions(result: ProtocolResult) -> Iterator[str]:
    """Numbers of one protocol that cannot all be true."""
    if result.folds and abs(fmean(result.folds) - result.accuracy) > _TOLERANCE:
        yield f"folds average {fmean(result.folds):.6f}, but the accuracy is {result.accuracy}"
    if result.folds and abs(pstdev(result.folds) - result.fold_std) > _TOLERANCE:
        yield f"the standard deviation of the folds is {pstdev(result.folds):.6f}, but fold_std is {result.fold_std}"
    variance = result.accuracy * (1 - result.accuracy)
    if abs(result.standard_error**2 * result.num_pairs - variance) > _TOLERANCE * result.num_pairs:
        yield (
            f"standard_error is {result.standard_error}, but accuracy {result.accuracy} on {result.num_pairs} pairs "
            "gives another"
        )
    yield from _rate_contradictions(result)
    if result.interval and not 0 <= result.interval[0] <= result.interval[1] <= 1:
        yield f"interval {result.interval} does not hold two ascending fractions"


def _rate_contradictions(result: ProtocolResult | TemplateResult) -> Iterator[str]:
    """Accept rates of one protocol that cannot all be true."""
    rates = sorted((float(far), tar) for far, tar in result.tar_at_far.items() if tar is not None)
    if [tar for _, tar in rates] != sorted(tar for _, tar in rates):
        yield f"TAR falls as FAR rises: {result.tar_at_far}"
    if result.num_impostors is None:
        return
    if rates and rates[0][0] * result.num_impostors < 1 - _TOLERANCE:
        smallest = 1 / max(result.num_impostors, 1)
        yield (
            f"TAR is given at FAR {rates[0][0]:g}, but {result.num_impostors} impostor pairs resolve {smallest:.3g} "
            "and above"
        )
    if not 0 <= result.num_impostors <= result.num_pairs:
        yield f"num_impostors is {result.num_impostors} of {result.num_pairs} pairs"


def _mean_contradictions(card: ResultCard) -> Iterator[str]:
    """The mean accuracy against the accuracies of the protocols."""
    accuracies = [result.accuracy for result in card.protocols.values()]
    if not accuracies:
        if card.mean_accuracy is not None:
            yield f"mean_accuracy is {card.mean_accuracy}, but there are no protocols"
    elif card.mean_accuracy is None or abs(card.mean_accuracy - fmean(accuracies)) > _TOLERANCE:
        yield f"mean_accuracy is {card.mean_accuracy}, but its protocols average {fmean(accuracies):.6f}"


def _group_contradictions(group: GroupSummary, card: ResultCard) -> Iterator[str]:
    """Mean and deviation over groups of people against the accuracies of these groups."""
    accuracies = [card.protocols[name].accuracy for name in group.protocols if name in card.protocols]
    if len(accuracies) != len(group.protocols) or len(accuracies) < 2:
        yield f"the card has only {len(accuracies)} of its groups {', '.join(group.protocols)}"
        return
    mean, std = fmean(accuracies), stdev(accuracies)
    if abs(mean - group.mean_accuracy) > _TOLERANCE or abs(std - group.std) > _TOLERANCE:
        stated = f"mean {group.mean_accuracy:.6f} and std {group.std:.6f}"
        yield f"{stated}, but its groups give {mean:.6f} and {std:.6f}"


def _score_contradictions(result: ProtocolResult, arrays: dict[str, NDArray]) -> Iterator[str]:
    """Accuracy and number of pairs against the decisions of scores.npz."""
    is_correct = arrays["is_correct"]
    num_folds = len(result.folds) or int(arrays["fold"].max()) + 1
    accuracy = float(fold_means(is_correct, num_folds).mean())
    if abs(accuracy - result.accuracy) > _TOLERANCE:
        yield f"accuracy is {result.accuracy}, but its scores give {accuracy:.6f}"
    if len(is_correct) != result.num_pairs:
        yield f"num_pairs is {result.num_pairs}, but scores.npz holds {len(is_correct)}"


def grid_misleads(result: ProtocolResult) -> bool:
    """Whether exact thresholds change the accuracy by more than its standard error.

    This happens when many distances fall into few steps of the published grid of thresholds.
    """
    if result.exact_accuracy is None:
        return False
    return abs(result.exact_accuracy - result.accuracy) > result.standard_error
