"""Made-up result folders and scores, for tests of the leaderboard."""

from pathlib import Path

import numpy as np
from protocols import make_protocol
from results import make_protocol_result, make_result

from bench.runs.cards import write_card
from evaluate.leaderboard.protocol_names import FIVE
from evaluate.measure.scores import write_scores
from evaluate.measure.verify import score


def add_result(runs, key, accuracy=0.9, *, protocols=FIVE, accuracies=None, separation=None, **fields):
    """Write a result card alone, as of another machine; with ``separation`` also its scores."""
    card = make_result(key, accuracy, protocols=protocols, **{"fingerprint": key} | fields)
    if accuracies:
        results = {name: make_protocol_result(value) for name, value in accuracies.items()}
        mean = float(np.mean(list(accuracies.values())))
        card = card.model_copy(update={"protocols": results, "mean_accuracy": mean})
    folder = Path(runs) / key / "results" / key
    write_card(folder, card)
    if separation is not None:
        shares = {name: one.accuracy for name, one in card.protocols.items()}
        scores = {name: made_up_scores(separation, i, shares[name]) for i, name in enumerate(protocols)}
        write_scores(folder / "scores.npz", scores)
    return folder


def made_up_scores(separation, seed, accuracy=None):
    """Scores of 600 pairs; with ``accuracy`` that share counts as decided rightly, as a made-up card says."""
    rng = np.random.default_rng(seed)
    labels = np.arange(600) % 2 == 0
    angle = np.where(labels, 90 - separation, 90) + 15 * rng.standard_normal(600)
    radians = np.radians(np.stack([np.zeros(600), angle], axis=1).ravel())
    embeddings = np.stack([np.cos(radians), np.sin(radians)], axis=1)
    arrays = score(embeddings, make_protocol(np.arange(1200).reshape(-1, 2), labels)).arrays
    return arrays if accuracy is None else arrays | {"is_correct": rng.permutation(600) < round(600 * accuracy)}


def floor(name="raw pixels", **fields):
    return {"row": "floor", "name": name, "dataset": None, "recipe": None, "inputs": {"floor": name}} | fields
