"""A result and everything behind it, read again and compared: ``python -m evaluate check``.

In: the folder of a result. Out: a line per file. The numbers of the card are compared with its scores. The cards of
model and dataset, the network, the faces and the test sets are compared with the SHA-256 that cards record of them.
Files are hashed anew, even where a remembered digest exists. A card NAME.json must also keep the rules of the committed
leaderboard (``rules``).
"""

from collections.abc import Iterator
from pathlib import Path

from bench.config.benchmarks import load_benchmarks
from bench.errors import InputError
from bench.files import sha256
from bench.runs.cards import CARD_NAMES, DatasetCard, ModelCard, ResultCard, card_sha256
from bench.runs.inputs import find_protocol, is_rendered, rendered_protocol_path
from bench.runs.parents import Parents, parents_of_result
from evaluate.challenge.rules import check_rules
from evaluate.leaderboard.read import read_checked
from evaluate.test_sets.open import open_test_set

Finding = tuple[str, str, str | None]
"""What was hashed, its SHA-256 now, and the SHA-256 that a card records; None if no card does."""


def check_result(path: Path, test_sets: Path) -> str:
    """Check a result and everything behind it that is still there.

    Args:
        path: Folder of a result.json, this file itself, or a published NAME.json.
        test_sets: Folder of test sets.

    Returns:
        A line per file that was checked, or that is gone.

    Raises:
        InputError: If the card contradicts itself or its scores, a file is not the one that a card records, or a card
            NAME.json breaks a rule of the leaderboard.
    """
    if path.name == CARD_NAMES[ResultCard]:
        path = path.parent
    is_submitted = path.is_file()
    card = read_checked(path, resample=is_submitted)
    lines = [f"ok       {path}: the card agrees with itself and with its scores"]
    changed = []
    findings = [*_network_findings(path, card), *_test_set_findings(path, card, test_sets)]
    for name, digest, recorded in findings:
        if recorded is None:
            lines.append(f"unknown  {name}: no card records its SHA-256")
        elif digest == "missing":
            lines.append(f"missing  {name}: cannot be checked")
        elif digest == recorded:
            lines.append(f"ok       {name}: SHA-256 {digest[:16]}...")
        else:
            changed.append(f"{name} was changed: its SHA-256 is {digest[:16]}..., the card says {recorded[:16]}...")
    if changed:
        raise InputError(f"{path}: {'; '.join(changed)}; restore these files, or run their stages again")
    rules = list(check_rules(path, card, load_benchmarks())) if is_submitted else []
    if broken := [problem for _, problem in rules if problem]:
        raise InputError(f"{path}: {' | '.join(broken)}")
    return "\n".join([*lines, *(f"ok       {subject}" for subject, _ in rules)])


def _test_set_findings(path: Path, card: ResultCard, test_sets: Path) -> Iterator[Finding]:
    """The test sets of all kinds."""
    recorded = {name: result.sha256 for name, result in card.protocols.items()}
    recorded |= {name: result.sha256 for name, result in card.templates.items()}
    recorded |= {name: result.sha256 for name, result in card.group_errors.items()}
    # The digest of searches among templates holds their lists too; that of the templates is checked above.
    recorded |= {name: each.sha256 for name, each in card.identification.items() if name not in card.templates}
    for name, digest in recorded.items():
        test_set_path = find_protocol(name, test_sets)
        if is_rendered(name) and path.is_dir():
            test_set_path = rendered_protocol_path(name, path.resolve().parents[2])
        yield f"test set {name}", _test_set_sha256(test_set_path), digest


def _test_set_sha256(path: Path | None) -> str:
    if path is None or not path.exists():
        return "missing"
    return open_test_set(path).sha256


def _network_findings(path: Path, card: ResultCard) -> Iterator[Finding]:
    """The network that was evaluated, and the faces that it was trained on."""
    if card.row != "dataset" or not path.is_dir():
        return
    parents = parents_of_result(path, card)
    if parents.model is None or parents.model_dir is None:
        yield str(path.parent.parent / "models" / str(card.inputs.get("model"))), "missing", card.model.sha256
        return
    yield str(parents.model_dir / "model.json"), card_sha256(parents.model_dir, ModelCard), card.model.sha256
    weights = parents.model_dir / "model.safetensors"
    digest = _sha256_if_there(weights)
    yield str(weights), digest, parents.model.weights_sha256
    if card.model.weights_sha256 != parents.model.weights_sha256:
        yield f"{weights} of the result", digest, card.model.weights_sha256
    yield from _dataset_findings(parents.model, parents)


def _dataset_findings(model: ModelCard, parents: Parents) -> Iterator[Finding]:
    dataset, directory = parents.dataset, parents.dataset_dir
    if dataset is None or directory is None:
        yield f"dataset {model.inputs.get('dataset')}", "missing", model.dataset.sha256
        return
    yield str(directory / "dataset.json"), card_sha256(directory, DatasetCard), model.dataset.sha256
    if dataset.content_sha256 is not None:
        faces = directory / dataset.path
        yield str(faces), _sha256_if_there(faces), dataset.content_sha256


def _sha256_if_there(path: Path) -> str:
    return sha256(path) if path.is_file() else "missing"
