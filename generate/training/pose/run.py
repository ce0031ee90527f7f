"""Files of faces and networks, and a recipe -> a trained pose model with its card: what ``generate train-pose`` does.

As ``generate/training/run.py``: the folder is named after the fingerprint of the inputs, a finished training is skipped
and a killed one resumes.
"""

from functools import partial
from pathlib import Path

from bench.errors import InputError
from bench.machine.device import choose_device
from bench.machine.stopwatch import Stopwatch
from bench.runs.cards import GeneratorCard
from bench.runs.fingerprints import generator_stage
from bench.runs.stage import Stage
from generate.training.data import open_training_set
from generate.training.pose.recipes import PoseRecipe
from generate.training.pose.train import POSE_NAME, train_pose
from generate.training.run import (
    FinishedTraining,
    TrainingFiles,
    declared_inputs,
    load_networks,
    make_card,
    run_stage,
    stage_options,
)


def run_pose_training(
    files: TrainingFiles,
    recipe: PoseRecipe,
    *,
    seed: int = 0,
    device: str = "auto",
    runs: Path = Path("runs"),
    directory: Path | None = None,
) -> FinishedTraining | None:
    """Train a pose model unless that is done, and write its card. A killed training resumes from its last epoch.

    Args:
        files: The training set with landmark pictures, the identity network and the generator.
        recipe: How to train.
        seed: Seed of weights, order, masks and held-out identities.
        device: Torch device: auto, cpu, cuda or cuda:N. Under torchrun each process takes its own GPU.
        runs: Folder of all runs.
        directory: Folder of this training; by default ``runs/generators/<fingerprint>``.

    Returns:
        The finished training; None in all processes but the first.

    Raises:
        InputError: If a file is missing, another process holds the folder, or the files do not fit the recipe.
    """
    if files.generator is None:
        raise InputError("a pose model needs the generator that it is trained for; give its weights")
    device = choose_device(device)
    stage = generator_stage(declared_inputs(files, recipe, seed), runs=runs)
    train = partial(_train, files, files.generator, recipe, seed=seed, device=device)
    return run_stage(stage, train, name=recipe.name, seed=seed, runs=runs, directory=directory)


def _train(
    files: TrainingFiles, generator: Path, recipe: PoseRecipe, stage: Stage, *, seed: int, device: str
) -> GeneratorCard:
    faces, stopwatch = open_training_set(files.faces, files.mask), Stopwatch()
    options = stage_options(stage, device)
    with stopwatch.phase("training"):
        summary = train_pose(
            faces, load_networks(files), generator, recipe, stage.directory, seed=seed, options=options
        )
    stopwatch.carry("training", summary.earlier_seconds)
    cost = stopwatch.cost(images=summary.num_images_seen, phase="training", device=device)
    return make_card(stage, recipe, POSE_NAME, summary, num_images=len(faces), cost=cost)
