"""Made-up result folders and scores, for tests of the leaderboard."""

from pathlib import Path

import numpy as np
from results import make_protocol_result, make_result
from verification_images import make_protocol

from bench.runs.cards import ResultCard, read_card, write_card
from evaluate.leaderboard.protocol_names import FIVE
from evaluate.measure.scores import write_scores
from evaluate.measure.verify import score


def add_result(runs, key, accuracy=0.9, *, protocols=FIVE, accuracies=None, separation=None, **fields):
    """Write a result card alone, as of another machine; with ``separation`` also its scores."""
    card = make_result(key, accuracy, protocols=protocols, **{"fingerprint": key} | fields)
    if accuracies:
        results = {name: make_protocol_result(value) for name, value in accuracies.items()}
        card = card.model_copy(update=results_and_means(results))
    folder = Path(runs) / key / "results" / key
    write_card(folder, card)
    return folder if separation is None else add_scores(folder, separation)


def add_scores(folder, separation=20):
    """Write scores beside a card that give its accuracies, and count its other figures from them."""
    card = read_card(folder, ResultCard)
    made_up = {
        name: made_up_verification(result.accuracy, seed, separation)
        for seed, (name, result) in enumerate(card.protocols.items())
    }
    results = {name: verification.result for name, verification in made_up.items()}
    write_card(folder, card.model_copy(update=results_and_means(results)))
    write_scores(folder / "scores.npz", {name: verification.arrays for name, verification in made_up.items()})
    return folder


def results_and_means(results):
    """The fields of a card that state these protocols and their means."""
    errors = np.array([result.standard_error for result in results.values()])
    mean = float(np.mean([result.accuracy for result in results.values()]))
    error = float(np.sqrt(np.sum(errors**2)) / len(errors))
    return {"protocols": results, "mean_accuracy": mean, "mean_standard_error": error}


def made_up_verification(accuracy, seed=0, separation=20):
    """600 pairs of which a network decides this share rightly. Cosines are 0.5 plus or minus ``separation`` / 100."""
    rng = np.random.default_rng(seed)
    labels = np.arange(600) % 2 == 0
    is_correct = rng.permutation(600) < round(600 * accuracy)
    looks_genuine = labels == is_correct
    angles = np.arccos(0.4975 + np.where(looks_genuine, 1, -1) * min(separation, 50) / 100)
    angles = np.stack([np.zeros(600), angles], axis=1).ravel()
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return score(embeddings, make_protocol(np.arange(1200).reshape(-1, 2), labels))


def floor(name="raw pixels", **fields):
    return {"row": "floor", "name": name, "dataset": None, "recipe": None, "inputs": {"floor": name}} | fields
