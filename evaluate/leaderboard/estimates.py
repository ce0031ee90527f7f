"""Cards of the seeds of one row -> its numbers: accuracies with their uncertainty, hours, price, images per second.

In: the results of one network or of one benchmark with several seeds, one card per seed. Accuracies are fractions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from bench.runs.cards import ProtocolResult, ResultCard
from evaluate.test_sets.registry import RFW


@dataclass(frozen=True)
class Estimate:
    """A number with its uncertainty."""

    value: float
    """Mean over the seeds."""
    standard_error: float
    """Over the test pairs, mean over the seeds: they share the pairs, so that more seeds do not lower it."""
    low: float
    high: float
    """95 % interval of the bootstrap, over pairs or, where the test set names them, over identities. Cards of schema 1
    have none; for them it is 1.96 standard errors each way."""
    seeds: tuple[float, ...]
    """The number of each seed."""

    @property
    def seed_std(self) -> float | None:
        """Sample standard deviation over the seeds; None for one seed."""
        return float(np.std(self.seeds, ddof=1)) if len(self.seeds) > 1 else None


def estimate_accuracy(cards: Sequence[ResultCard], names: Sequence[str]) -> Estimate:
    """Mean accuracy over protocols, which are taken as independent.

    Standard errors of independent sets add in squares, and so do the distances of the ends of their intervals.

    Args:
        cards: One per seed.
        names: Protocols that every card has.
    """
    seeds, errors = [], []
    below, above = [], []  # distances of the lower and of the upper ends
    for card in cards:
        protocols = [card.protocols[name] for name in names]
        accuracies = np.array([protocol.accuracy for protocol in protocols])
        ends = np.array([_interval(protocol) for protocol in protocols])
        distances = np.sqrt(np.sum((ends - accuracies[:, None]) ** 2, axis=0)) / len(protocols)
        seeds.append(float(accuracies.mean()))
        errors.append(float(np.sqrt(np.sum([protocol.standard_error**2 for protocol in protocols])) / len(protocols)))
        below.append(distances[0])
        above.append(distances[1])
    value = fmean(seeds)
    low, high = value - float(np.mean(below)), value + float(np.mean(above))
    return Estimate(value, fmean(errors), low, high, tuple(seeds))


def spread_over_groups(cards: Sequence[ResultCard]) -> tuple[float, float | None]:
    """Sample standard deviation of the accuracies on RFW's four groups of people.

    Returns:
        Mean over the seeds, and standard deviation over them (None for one seed).
    """
    spreads = [np.std([card.protocols[name].accuracy for name in RFW], ddof=1) for card in cards]
    return float(np.mean(spreads)), float(np.std(spreads, ddof=1)) if len(spreads) > 1 else None


def mean_device_hours(cards: Sequence[ResultCard]) -> float | None:
    """Hours times processes over all stages, mean over the seeds; None where the cards hold no costs of stages."""
    totals = [sum(cost.device_hours for cost in card.stage_costs.values()) for card in cards]
    return float(np.mean(totals)) if cards[0].stage_costs else None


def mean_price(cards: Sequence[ResultCard]) -> float | None:
    """Price of all stages, mean over the seeds; None unless every stage of every seed has a price."""
    stages = [cost.price for card in cards for cost in card.stage_costs.values()]
    prices = [price for price in stages if price is not None]
    return sum(prices) / len(cards) if prices and len(prices) == len(stages) else None


def mean_images_per_second(cards: Sequence[ResultCard], stage: str) -> float | None:
    """Images per second of a stage, mean over the seeds that have it; None where none has."""
    costs = [card.stage_costs.get(stage) for card in cards]
    rates = [cost.images_per_second for cost in costs if cost is not None and cost.images_per_second]
    return float(np.mean(rates)) if rates else None


def device_kind(card: ResultCard) -> str:
    """``GPU`` if a stage ran on one, else ``CPU``: the unit of the device hours."""
    return "GPU" if any(cost.device.startswith("cuda") for cost in card.stage_costs.values()) else "CPU"


def _interval(protocol: ProtocolResult) -> tuple[float, float]:
    margin = 1.96 * protocol.standard_error
    return protocol.interval or (protocol.accuracy - margin, protocol.accuracy + margin)
