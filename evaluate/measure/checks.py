"""A result against itself: numbers of one card, and of its scores, that must agree with each other.

Run when a result is made and whenever one is read, so that no printed number rests on a card that was edited, merged or
written by a version with a mistake.
"""

from collections.abc import Iterator
from statistics import fmean, pstdev, stdev

from bench.runs.cards import ProtocolResult, ResultCard, TemplateResult
from evaluate.measure.scores import Scores
from evaluate.metrics import fold_means

_EXACT = 1e-9


def contradictions(card: ResultCard, scores: Scores | None = None) -> list[str]:
    """What in a result cannot be true, one line each; empty for a sound one.

    Args:
        card: The result.
        scores: Those beside the card, where they are there: the accuracy is counted again from them.
    """
    found = [f"{name}: {text}" for name, one in card.protocols.items() for text in protocol_contradictions(one)]
    found += [f"{name}: {text}" for name, one in card.templates.items() for text in _rate_contradictions(one)]
    accuracies = [one.accuracy for one in card.protocols.values()]
    mean = fmean(accuracies) if accuracies else None
    if (mean is None) != (card.mean_accuracy is None) or abs((card.mean_accuracy or 0) - (mean or 0)) > _EXACT:
        average = "are none" if mean is None else f"average {mean:.6f}"
        found.append(f"mean_accuracy is {card.mean_accuracy}, but its protocols {average}")
    for name, group in card.groups.items():
        parts = [card.protocols[one].accuracy for one in group.protocols if one in card.protocols]
        if len(parts) != len(group.protocols) or len(parts) < 2:
            found.append(f"{name}: of its groups {', '.join(group.protocols)} only {len(parts)} are there")
        elif abs(fmean(parts) - group.mean_accuracy) > _EXACT or abs(stdev(parts) - group.std) > _EXACT:
            stated = f"mean {group.mean_accuracy:.6f} and std {group.std:.6f}"
            found.append(f"{name}: {stated}, but its groups give {fmean(parts):.6f} and {stdev(parts):.6f}")
    for name in card.protocols.keys() & (scores or {}).keys():
        arrays, one = (scores or {})[name], card.protocols[name]
        counted = float(fold_means(arrays["is_correct"], len(one.folds) or int(arrays["fold"].max()) + 1).mean())
        if abs(counted - one.accuracy) > _EXACT:
            found.append(f"{name}: accuracy is {one.accuracy}, but its scores give {counted:.6f}")
        if len(arrays["is_correct"]) != one.num_pairs:
            found.append(f"{name}: num_pairs is {one.num_pairs}, but scores.npz holds {len(arrays['is_correct'])}")
    return found


def protocol_contradictions(one: ProtocolResult) -> Iterator[str]:
    """What in one protocol's numbers cannot be true."""
    if one.folds and abs(fmean(one.folds) - one.accuracy) > _EXACT:
        yield f"folds average {fmean(one.folds):.6f}, but the accuracy is {one.accuracy}"
    if one.folds and abs(pstdev(one.folds) - one.fold_std) > _EXACT:
        yield f"folds spread by {pstdev(one.folds):.6f}, but fold_std is {one.fold_std}"
    if abs(one.standard_error**2 * one.num_pairs - one.accuracy * (1 - one.accuracy)) > _EXACT * one.num_pairs:
        yield f"standard_error is {one.standard_error}, but {one.num_pairs} pairs at {one.accuracy} give another"
    yield from _rate_contradictions(one)
    if one.interval and not 0 <= one.interval[0] <= one.interval[1] <= 1:
        yield f"interval {one.interval} is none of fractions"


def _rate_contradictions(one: ProtocolResult | TemplateResult) -> Iterator[str]:
    """What in the accept rates cannot be true."""
    rates = sorted((float(far), tar) for far, tar in one.tar_at_far.items() if tar is not None)
    if [tar for _, tar in rates] != sorted(tar for _, tar in rates):
        yield f"TAR falls as FAR rises: {one.tar_at_far}"
    if rates and one.num_impostors is not None and rates[0][0] * one.num_impostors < 1 - _EXACT:
        least = 1 / max(one.num_impostors, 1)
        yield f"TAR is given at FAR {rates[0][0]:g}; {one.num_impostors} impostor pairs resolve {least:.3g} and above"
    if one.num_impostors is not None and not 0 <= one.num_impostors <= one.num_pairs:
        yield f"num_impostors is {one.num_impostors} of {one.num_pairs} pairs"


def grid_misleads(one: ProtocolResult) -> bool:
    """Whether exact thresholds move the accuracy by more than its standard error: distances crowd into few steps."""
    return one.exact_accuracy is not None and (abs(one.exact_accuracy - one.accuracy) > one.standard_error)
