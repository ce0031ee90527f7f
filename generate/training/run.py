"""Files of faces and networks, and a recipe -> a trained generator with its card: what ``generate train`` does.

The folder of a training is named after the fingerprint of its inputs: seed, recipe, and digests of the faces and of the
networks. A training with the same inputs is therefore skipped if it is finished, and resumed if it was interrupted.
MLflow gets the metrics while it runs, and the card at the end.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.errors import InputError
from bench.files import flatten, sha256
from bench.machine.device import choose_device, process_rank
from bench.machine.digests import remembered_sha256
from bench.machine.stopwatch import Stopwatch
from bench.runs.cards import CARD_NAMES, GeneratorCard, read_card, write_card
from bench.runs.fingerprints import content_sha256, generator_stage, recipe_sha256
from bench.runs.stage import Stage, stage_lock
from bench.runs.tracking.generators import GRIDS
from bench.runs.tracking.live import followed, live_run
from bench.runs.tracking.sending import sync_generator
from generate.networks.identity import load_identity_network
from generate.training.data import open_training_set
from generate.training.recipes import GeneratorRecipe
from generate.training.train import GENERATOR_NAME, FrozenNetworks, TrainOptions, train_generator


@dataclass(frozen=True)
class TrainingFiles:
    """The files that a training reads."""

    faces: Path
    """LMDB of faces with features: of ``generate prepare``, or WebFace4M's."""
    identity_network: Path
    """Weights of the network that computed the features."""
    mask: Path | None = None
    """``.npy`` of positions of the faces to use."""
    judge: Path | None = None
    """Weights of a second identity network, which measures held-out identities and takes no part in the loss."""
    weights: Path = Path("weights")
    """Folder that may hold VGG-16, for LPIPS."""


@dataclass(frozen=True)
class FinishedTraining:
    """A training whose card is written."""

    card: Path
    is_skipped: bool = False
    """The training was finished before."""
    warning: str | None = None
    """Why the card could not be sent to MLflow, in one line."""


def run_training(
    files: TrainingFiles,
    recipe: GeneratorRecipe,
    *,
    seed: int = 0,
    device: str = "auto",
    runs: Path = Path("runs"),
    directory: Path | None = None,
) -> FinishedTraining | None:
    """Train a generator unless that is done, and write its card. A killed training resumes from its last epoch.

    Args:
        files: The training set and the networks.
        recipe: How to train.
        seed: Seed of weights, order, masks and held-out identities.
        device: Torch device: auto, cpu, cuda or cuda:N. Under torchrun each process takes its own GPU.
        runs: Folder of all runs.
        directory: Folder of this training; by default ``runs/generators/<fingerprint>``.

    Returns:
        The finished training; None in all processes but the first.

    Raises:
        InputError: If a network is missing, another process holds the folder, or the files do not fit the recipe.
    """
    device = choose_device(device)
    stage = generator_stage(_declared_inputs(files, recipe, seed), runs=runs)
    fingerprint = stage.fingerprint
    if directory is not None:
        stage = replace(stage, directory=directory)
    if stage.is_finished:
        _refuse_other_inputs(stage)
        return FinishedTraining(stage.directory / CARD_NAMES[GeneratorCard], is_skipped=True)
    with stage_lock(stage.directory):
        with followed(live_run(stage, scale=recipe.name, seed=seed, runs=runs, pictures=GRIDS)):
            card = _train(files, recipe, stage, seed=seed, device=device)
        card = card.model_copy(update={"fingerprint": fingerprint})  # the folder's name may be the user's
        if process_rank()[0] != 0:
            return None
        path = write_card(stage.directory, card)
        return FinishedTraining(path, warning=sync_generator(stage.directory, runs))


def _declared_inputs(files: TrainingFiles, recipe: GeneratorRecipe, seed: int) -> dict[str, Any]:
    """Everything that the result depends on. The fingerprint is its hash."""
    networks = {"identity": _describe_network("identity", files.identity_network)}
    if files.judge is not None:
        networks["judge"] = _describe_network("judge", files.judge)
    dataset = {}
    if files.faces.exists():
        dataset = {"name": files.faces.name, "sha256": content_sha256(files.faces)}
    if files.mask and files.mask.is_file():
        dataset["mask_sha256"] = remembered_sha256(files.mask)
    return {"seed": seed, "recipe": recipe.model_dump(mode="json"), "networks": networks, "dataset": dataset}


def _refuse_other_inputs(stage: Stage) -> None:
    """Refuse a folder of the user's with a finished training of other inputs."""
    before, now = flatten(read_card(stage.directory, GeneratorCard).inputs), flatten(stage.inputs)
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            raise InputError(
                f"{stage.directory} holds a network trained with {name}={before.get(name)}, this run has "
                f"{now.get(name)}; give another folder, or delete that one"
            )


def _describe_network(role: str, path: Path) -> dict[str, str]:
    if not path.is_file():
        raise InputError(f"{role} network {path} does not exist; give a .pth, .safetensors or .onnx file")
    return {"name": path.name, "sha256": remembered_sha256(path)}


def _train(files: TrainingFiles, recipe: GeneratorRecipe, stage: Stage, *, seed: int, device: str) -> GeneratorCard:
    faces = open_training_set(files.faces, files.mask)
    judge = load_identity_network(files.judge) if files.judge else None
    # circumstances stand in place of components of appearance
    identity = load_identity_network(files.identity_network, with_appearance=not recipe.sizes.circumstances)
    networks = FrozenNetworks(identity, judge, files.weights)
    options = TrainOptions(
        device=device,
        must_match={"dataset": stage.inputs["dataset"], "networks": stage.inputs["networks"]},
    )
    stopwatch = Stopwatch()
    with stopwatch.phase("training"):
        summary = train_generator(faces, networks, recipe, stage.directory, seed=seed, options=options)
    weights = stage.directory / GENERATOR_NAME
    counts = {"num_images": len(faces), "num_identities": summary.num_trained_identities}
    return GeneratorCard(
        **stage.card_header(scale=recipe.name, seed=seed),
        recipe=recipe.name,
        recipe_sha256=recipe_sha256(recipe),
        dataset=stage.inputs["dataset"] | counts,
        networks=stage.inputs["networks"],
        perceptual_network=summary.perceptual_network,
        weights_sha256=sha256(weights) if weights.exists() else "",
        num_parameters=summary.num_parameters,
        num_images_seen=summary.num_images_seen,
        figures=summary.figures,
        cost=stopwatch.cost(images=summary.num_images_seen, phase="training", device=device),
    )
