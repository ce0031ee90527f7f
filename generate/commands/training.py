"""The sub-commands that train a generator: train, train-pose, assets."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli import Command, add_stage_flags

if TYPE_CHECKING:
    from generate.training.run import FinishedTraining

_RECIPES, _POSE_RECIPES = "generators.yaml", "pose_models.yaml"


def _training_flags(parser: argparse.ArgumentParser, *, faces: str, recipe: str, recipes: str) -> None:
    """Flags of both trainings.

    Args:
        parser: Parser that gets the flags.
        faces: Help of ``--faces``.
        recipe: Default of ``--recipe``.
        recipes: Name of the file of recipes.
    """
    parser.add_argument("--faces", type=Path, required=True, help=faces)
    parser.add_argument("--mask", type=Path, help=".npy of positions of the faces to use (default: all)")
    parser.add_argument(
        "--identity-model", type=Path, required=True, help="identity network that computed the features of --faces"
    )
    parser.add_argument(
        "--judge",
        type=Path,
        help="second identity network, which measures held-out identities and is not in the loss (default: none)",
    )
    parser.add_argument("--recipe", default=recipe, help=f"entry of {recipes} (default: %(default)s)")
    parser.add_argument("--recipes", type=Path, help=f"YAML file of recipes (default: {recipes})")
    parser.add_argument("--out", type=Path, help="folder of this training (default: RUNS/generators/<fingerprint>)")
    add_stage_flags(parser, "--device", "--seed", "--weights", "--runs")


def _train_flags(parser: argparse.ArgumentParser) -> None:
    faces = "faces.lmdb of generate prepare, or the LMDB of WebFace4M"
    _training_flags(parser, faces=faces, recipe="present", recipes=_RECIPES)


def _train(args: argparse.Namespace) -> str | None:
    from generate.training.recipes import RECIPES_PATH, load_recipe
    from generate.training.run import TrainingFiles, run_training

    finished = run_training(
        TrainingFiles(args.faces, args.identity_model, mask=args.mask, judge=args.judge, weights=args.weights),
        load_recipe(args.recipe, args.recipes or RECIPES_PATH),
        seed=args.seed,
        device=args.device,
        runs=args.runs,
        directory=args.out,
    )
    return _finished_line("train", finished)


def _train_pose_flags(parser: argparse.ArgumentParser) -> None:
    faces = "faces.lmdb of generate prepare --landmarks, or WebFace4M_with_landmarks.lmdb"
    parser.add_argument(
        "--generator", type=Path, required=True, help="trained generator, whose own weights stay as they are"
    )
    _training_flags(parser, faces=faces, recipe="plus", recipes=_POSE_RECIPES)


def _train_pose(args: argparse.Namespace) -> str | None:
    from generate.training.pose.recipes import POSE_RECIPES_PATH, load_pose_recipe
    from generate.training.pose.run import run_pose_training
    from generate.training.run import TrainingFiles

    files = TrainingFiles(
        args.faces,
        args.identity_model,
        mask=args.mask,
        judge=args.judge,
        weights=args.weights,
        generator=args.generator,
    )
    finished = run_pose_training(
        files,
        load_pose_recipe(args.recipe, args.recipes or POSE_RECIPES_PATH),
        seed=args.seed,
        device=args.device,
        runs=args.runs,
        directory=args.out,
    )
    return _finished_line("train-pose", finished)


def _finished_line(command: str, finished: "FinishedTraining | None") -> str | None:
    """What a training prints; nothing in all processes but the first."""
    if finished is None:
        return None
    if finished.is_skipped:
        return f"{command}: skip, unchanged ({finished.card.parent})"
    return f"{command}: {finished.card}" + (f"; {finished.warning}" if finished.warning else "")


def _assets_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "which",
        nargs="?",
        choices=("all", "sharp"),
        default="all",
        help="all: every network; sharp: only the sharp generator, which smoke draws with (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="folder of the networks; the sharp generator gets its folder sharp (default: generate/assets)",
    )
    add_stage_flags(parser, "--runs")


def _assets(args: argparse.Namespace) -> str:
    from bench.config.generator import ASSETS_PATH
    from generate.training.make_assets import IDENTITY, Workshop, make_assets, make_sharp_assets

    workshop, target = Workshop(args.runs), args.out or ASSETS_PATH
    if args.which == "sharp":
        files = make_sharp_assets(workshop, target / "sharp")
    else:
        files = make_assets(workshop, target)
        files += make_sharp_assets(workshop, target / "sharp", identity=target / IDENTITY)
    size = sum(path.stat().st_size for path in files)
    return f"assets: {len(files)} files, {size / 1e6:.1f} MB in {target}"


COMMANDS = (
    Command(
        "train",
        "Train a Vec2Face generator on a prepared training set",
        "Reads a prepared training set, its identity network and a recipe. Writes generator.safetensors, its card, "
        "train.jsonl and one image grid per epoch. Needed for a generator of your own. A finished training is skipped "
        "and a killed one resumes from its last epoch. For several GPUs, start it with torchrun.",
        "generate train --faces weights/lfw/faces.lmdb --identity-model weights/lfw/identity.onnx --recipe photographs",
        _train_flags,
        _train,
    ),
    Command(
        "train-pose",
        "Train the pose model of a generator, which draws by pictures of landmarks",
        "Reads a training set with landmark pictures, its identity network, a trained generator and a recipe. Writes "
        "pose.safetensors, its card, train.jsonl and one image grid per epoch. Needed to draw faces of a generator of "
        "your own at a given pose in one pass (Vec2Face+). A finished training is skipped and a killed one resumes "
        "from its last epoch. For several GPUs, start it with torchrun.",
        "generate train-pose --faces weights/posed/faces.lmdb --generator weights/generator.safetensors "
        "--identity-model weights/lfw/identity.onnx",
        _train_pose_flags,
        _train_pose,
    ),
    Command(
        "assets",
        "Train the networks of generate/assets again, on two CPU cores",
        "Reads generate/assets/make.yaml, generators.yaml and pose_models.yaml. Renders people, trains the identity "
        "network, the yaw network, both generators and the pose model on them below RUNS/assets, and copies them with "
        "their cards into --out. Needed only to change the networks that come with this project. Takes about two and a "
        "half hours. Finished steps are skipped.",
        "generate assets --out generate/assets",
        _assets_flags,
        _assets,
    ),
)
