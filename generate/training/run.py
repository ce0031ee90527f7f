"""Files of faces and networks, and a recipe -> a trained generator with its card: what ``generate train`` does.

The folder of a training is named after the fingerprint of its inputs: seed, recipe, and digests of the faces and of the
networks. A training with the same inputs is therefore skipped if it is finished, and resumed if it was interrupted.
MLflow gets the metrics while it runs, and the card at the end.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from bench.errors import InputError
from bench.files import flatten, sha256
from bench.machine.device import choose_device, process_rank
from bench.machine.digests import remembered_sha256
from bench.machine.facts import Cost
from bench.machine.stopwatch import Stopwatch
from bench.runs.cards import CARD_NAMES, GeneratorCard, read_card, write_card
from bench.runs.fingerprints import content_sha256, generator_stage, recipe_sha256
from bench.runs.stage import Stage, stage_lock
from bench.runs.tracking.generators import GRIDS
from bench.runs.tracking.live import followed, live_run
from bench.runs.tracking.sending import sync_generator
from generate.networks.identity import load_identity_network
from generate.training.data import open_training_set
from generate.training.loop import TrainOptions, TrainSummary
from generate.training.pose.recipes import PoseRecipe
from generate.training.recipes import GeneratorRecipe
from generate.training.train import GENERATOR_NAME, FrozenNetworks, train_generator

Recipe = GeneratorRecipe | PoseRecipe


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
    generator: Path | None = None
    """Weights of the generator that a pose model is trained for."""


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
    stage = generator_stage(declared_inputs(files, recipe, seed), runs=runs)
    train = partial(_train, files, recipe, seed=seed, device=device)
    return run_stage(stage, train, name=recipe.name, seed=seed, runs=runs, directory=directory)


def run_stage(
    stage: Stage,
    train: Callable[[Stage], GeneratorCard],
    *,
    name: str,
    seed: int,
    runs: Path,
    directory: Path | None,
) -> FinishedTraining | None:
    """Call ``train`` unless the stage is finished, follow it in MLflow, and write and send its card.

    Args:
        stage: The training, with its declared inputs.
        train: Trains in the folder of a stage, and returns the card.
        name: Name of the recipe.
        seed: Seed of the training.
        runs: Folder of all runs.
        directory: Folder of this training; by default that of the stage.

    Returns:
        The finished training; None in all processes but the first.

    Raises:
        InputError: If another process holds the folder, or it holds a training with other inputs.
    """
    fingerprint = stage.fingerprint
    if directory is not None:
        stage = replace(stage, directory=directory)
    if stage.is_finished:
        _refuse_other_inputs(stage)
        return FinishedTraining(stage.directory / CARD_NAMES[GeneratorCard], is_skipped=True)
    with stage_lock(stage.directory):
        with followed(live_run(stage, scale=name, seed=seed, runs=runs, pictures=GRIDS)):
            card = train(stage)
        card = card.model_copy(update={"fingerprint": fingerprint})  # the folder's name may be the user's
        if process_rank()[0] != 0:
            return None
        path = write_card(stage.directory, card)
        return FinishedTraining(path, warning=sync_generator(stage.directory, runs))


def declared_inputs(files: TrainingFiles, recipe: Recipe, seed: int) -> dict[str, Any]:
    """Everything that the result depends on. The fingerprint is its hash."""
    paths = {"identity": files.identity_network, "judge": files.judge, "generator": files.generator}
    networks = {role: _describe_network(role, path) for role, path in paths.items() if path is not None}
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
    faces, stopwatch = open_training_set(files.faces, files.mask), Stopwatch()
    # circumstances replace components of appearance behind the identity features
    networks = load_networks(files, with_appearance=not recipe.sizes.circumstances)
    with stopwatch.phase("training"):
        summary = train_generator(
            faces, networks, recipe, stage.directory, seed=seed, options=stage_options(stage, device)
        )
    stopwatch.carry("training", summary.earlier_seconds)
    cost = stopwatch.cost(images=summary.num_images_seen, phase="training", device=device)
    return make_card(stage, recipe, GENERATOR_NAME, summary, num_images=len(faces), cost=cost)


def load_networks(files: TrainingFiles, *, with_appearance: bool = True) -> FrozenNetworks:
    """The identity network, with or without components of appearance behind its features, and the judge."""
    judge = load_identity_network(files.judge) if files.judge else None
    identity = load_identity_network(files.identity_network, with_appearance=with_appearance)
    return FrozenNetworks(identity, judge, files.weights)


def stage_options(stage: Stage, device: str) -> TrainOptions:
    """Options of a training whose checkpoint must match the inputs of its stage."""
    return TrainOptions(device, must_match={name: stage.inputs[name] for name in ("dataset", "networks")})


def make_card(
    stage: Stage,
    recipe: Recipe,
    weights_name: str,
    summary: TrainSummary,
    *,
    num_images: int,
    cost: Cost,
) -> GeneratorCard:
    """The card of a finished training.

    Args:
        stage: The training.
        recipe: How it was trained.
        weights_name: Name of the trained weights in its folder.
        summary: Counts and last metrics.
        num_images: Faces of the dataset.
        cost: Time and memory that it took.
    """
    weights = stage.directory / weights_name
    counts = {"num_images": num_images, "num_identities": summary.num_trained_identities}
    return GeneratorCard(
        **stage.card_header(scale=recipe.name, seed=stage.inputs["seed"]),
        recipe=recipe.name,
        recipe_sha256=recipe_sha256(recipe),
        dataset=stage.inputs["dataset"] | counts,
        networks=stage.inputs["networks"],
        perceptual_network=summary.perceptual_network,
        weights_sha256=sha256(weights) if weights.exists() else "",
        num_parameters=summary.num_parameters,
        num_images_seen=summary.num_images_seen,
        figures=summary.figures,
        cost=cost,
    )
