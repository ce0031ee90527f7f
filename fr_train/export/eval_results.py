"""Accuracies of an exported network in the form that the Hugging Face Hub reads beside a model card.

In: the results of a network. Out: the text of ``.eval_results/NAME.yaml``, a list of entries with ``dataset`` (``id``,
``task_id``), ``value`` and ``notes``. Only test sets that were fetched from a dataset of the Hub have an
entry. The Hub shows entries on a leaderboard of a dataset only if that dataset has one.
"""

from collections.abc import Mapping
from pathlib import PurePosixPath

import yaml

from bench.runs.cards import ProtocolResult, TemplateResult
from bench.runs.inputs import TEST_SETS_ON_THE_HUB

FOLDER = ".eval_results"


def render_eval_results(protocols: Mapping[str, ProtocolResult | TemplateResult]) -> dict[PurePosixPath, str]:
    """The files for the Hub, one per dataset repository; empty if no set was fetched from there.

    Args:
        protocols: Protocol -> result of the network.

    Returns:
        Path in the model's folder -> YAML. Values are accuracies as fractions.
    """
    entries: dict[str, list[dict[str, object]]] = {}
    for name, result in protocols.items():
        file = TEST_SETS_ON_THE_HUB.get(name)
        if file is None or not isinstance(result, ProtocolResult) or file.page not in (result.copy_known_as or ""):
            continue
        entry = {
            "dataset": {"id": file.repo_id, "task_id": name},
            "value": round(result.accuracy, 6),
            "notes": f"accuracy, published 10-fold protocol, {result.num_pairs:,} pairs, SHA-256 {result.sha256}",
        }
        entries.setdefault(file.repo_id, []).append(entry)
    return {
        PurePosixPath(FOLDER, f"{repository.replace('/', '_')}.yaml"): yaml.safe_dump(listed, sort_keys=False)
        for repository, listed in entries.items()
    }
