"""Make the networks of generate/assets from nothing: ``python -m generate assets`` (``make assets``).

Everything is trained on rendered people that no benchmark and no protocol uses. An identity network learns to tell them
apart. Its features, with principal components of the low-resolution image appended, condition a small Vec2Face. The
true yaw of the faces trains the yaw network, and their true landmarks the pose model of the generator.

Files are made in ``runs/assets`` and copied to generate/assets at the end. Finished stages are skipped, and an
interrupted stage is resumed. Shipped files hold matrices in float16 and vectors in float32. Later stages use the
rounded identity network, so that their features are those of the shipped file.

| stage | files | code |
|---|---|---|
| identity | faces, identity.safetensors | benchmark ``rendered_people``, generate/networks/appearance.py |
| yaw | yaw.safetensors | generate/networks/yaw.py |
| features | the training set, centers.npy, deviations.npy | generate/training/prepared/prepare.py |
| generator | generator.safetensors | generate/training/train.py, recipe ``rendered`` of generators.yaml |
| pose | pose.safetensors | generate/training/pose/train.py, recipe ``rendered`` of pose_models.yaml |

The sharp generator, that of ``smoke``, follows in runs/assets/sharp_set and sharp, with the same identity network.
``generate assets sharp`` makes it alone, with the identity network that is shipped.

| stage | files | code |
|---|---|---|
| features | the training set, centers.npy, differences.npy | generate/training/prepared/rendered_set.py |
| generator | generator.safetensors | generate/training/train.py, recipe ``sharp`` of generators.yaml |
"""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.config.benchmarks import load_benchmark
from bench.config.generator import ASSETS_PATH, RenderGenerator
from bench.errors import InputError, python_command
from bench.faces.open import open_faces
from bench.files import atomic_path, read_json_object
from bench.machine.facts import Cost
from bench.machine.progress import progress
from bench.machine.stopwatch import Stopwatch
from bench.runs.cards import CARD_NAMES, GeneratorCard, ModelCard, read_card
from bench.runs.fingerprints import plan_stages
from bench.runs.launch import run_command
from bench.runs.stage import Stages
from generate.hub.ship import (
    POSE_NAME,
    WEIGHTS_NAME,
    Origin,
    card_path,
    ship_generator,
    store_rounded,
    write_weight_card,
)
from generate.networks.appearance import add_appearance
from generate.networks.yaw import half_size, save_yaw_network, train_yaw, yaw_error
from generate.render.face import IDENTITIES_PER_SEED, PROTOCOL_IDENTITIES
from generate.training.pose.recipes import POSE_RECIPES_PATH
from generate.training.prepared.prepare import (
    CENTERS_NAME,
    DEVIATIONS_NAME,
    LMDB_NAME,
    PREPARED_NAME,
    Preparation,
    prepare,
)
from generate.training.prepared.rendered_set import RenderedPeople, render_training_set
from generate.training.prepared.variation import DIFFERENCES_NAME
from generate.training.recipes import RECIPES_PATH

CONFIG = ASSETS_PATH / "make.yaml"
BENCHMARK, RECIPE = "rendered_people", "rendered"
SHARP_BENCHMARK, SHARP_RECIPE = "sharp_people", "sharp"
SHARP_COMMAND = "generate assets sharp"
SEED = PROTOCOL_IDENTITIES // IDENTITIES_PER_SEED - 1
"""Seed of the rendered people: the last one that a rendered dataset can have, so that no other dataset shows them."""
SHARP_SEED = SEED - 1
"""Seed of the people that the sharp generator is trained on."""
IDENTITY, YAW = "identity.safetensors", "yaw.safetensors"
NAMES = (IDENTITY, YAW, CENTERS_NAME, DEVIATIONS_NAME, WEIGHTS_NAME, POSE_NAME)
MAX_BYTES = 15_000_000
_TRAINED_ON = "rendered heads of people who do not exist (seed {}), which no benchmark and no protocol holds"
TRAINED_ON, SHARP_TRAINED_ON = _TRAINED_ON.format(SEED), _TRAINED_ON.format(SHARP_SEED)
_HELD_OUT_SHARE = 0.1
"""Share of the identities on which the error of the yaw network is measured."""
_NUM_COMPONENTS, _COMPONENT_STRENGTH = 40, 0.5
"""Principal components appended to the identity features, and their norm relative to that of the features."""


@dataclass(frozen=True)
class Workshop:
    """Folders in which the assets are made, and the settings that they are made by."""

    runs: Path
    """Folder of all runs; the assets are made in its folder ``assets``."""
    config: Path = CONFIG
    recipes: Path = RECIPES_PATH
    pose_recipes: Path = POSE_RECIPES_PATH

    @property
    def work_dir(self) -> Path:
        """Folder of intermediate files."""
        return self.runs / "assets"

    @property
    def finished_dir(self) -> Path:
        """Folder of the finished files and their cards."""
        return self.work_dir / "made"

    @property
    def stages(self) -> Stages:
        """The stages of the benchmark ``rendered_people``, which make the faces and the identity network."""
        benchmark = load_benchmark(BENCHMARK, self.config)
        return plan_stages(benchmark, seed=SEED, runs=self.runs, test_sets=Path("test_sets"))

    def is_finished(self, name: str) -> bool:
        """Whether a file is finished: its card, which is written last, exists."""
        return card_path(self.finished_dir / name).exists()

    def write_card(self, name: str, *, role: str, settings: Any, figures: dict[str, Any], cost: Cost) -> None:
        """Write the card of a file, which marks it as finished."""
        origin = Origin(TRAINED_ON, "MIT", SEED, "generate assets")
        write_weight_card(
            self.finished_dir / name, role=role, origin=origin, settings=settings, figures=figures, cost=cost
        )


def make_assets(workshop: Workshop, target: Path = ASSETS_PATH) -> list[Path]:
    """Make every asset that is not finished yet, and copy all of them with their cards.

    Args:
        workshop: Where and by which settings the assets are made.
        target: Folder to copy them to; files of the same names are replaced.

    Returns:
        Paths of the copied files, without their cards.

    Raises:
        InputError: If a stage fails, or the files together are larger than ``MAX_BYTES``.
    """
    _make_identity(workshop)
    _make_yaw(workshop)
    _make_features(workshop)
    _make_generator(workshop)
    _make_pose(workshop)
    files = [workshop.finished_dir / name for name in NAMES]
    size = sum(path.stat().st_size for path in files)
    if size > MAX_BYTES:
        raise InputError(
            f"{workshop.finished_dir} holds {size:,} bytes, but at most {MAX_BYTES:,} are shipped; "
            "make the networks smaller"
        )
    target.mkdir(parents=True, exist_ok=True)
    for path in files:
        shutil.copyfile(path, target / path.name)
        shutil.copyfile(card_path(path), card_path(target / path.name))
    return [target / name for name in NAMES]


def make_sharp_assets(
    workshop: Workshop, target: Path = ASSETS_PATH / "sharp", identity: Path = ASSETS_PATH / IDENTITY
) -> list[Path]:
    """Render the training set of the sharp generator, train it, and export it with the vectors that it draws from.

    What is finished is skipped, and a killed call continues.

    Args:
        workshop: Where and by which settings the assets are made.
        target: Folder to write to; files of the same names are replaced.
        identity: The identity network; by default the shipped one.

    Returns:
        Paths of the written files, without their cards.

    Raises:
        InputError: If the identity network is missing, or a stage fails.
    """
    people = load_benchmark(SHARP_BENCHMARK, workshop.config).generator
    if not isinstance(people, RenderGenerator):
        raise InputError(f"{workshop.config}: {SHARP_BENCHMARK} has a {people.kind} generator; give kind: render")
    prepared, trained = workshop.work_dir / "sharp_set", workshop.work_dir / "sharp"
    stopwatch = Stopwatch()
    rendered = render_training_set(
        RenderedPeople(people.num_identities, people.images_per_identity, SHARP_SEED, identity), prepared
    )
    cost = stopwatch.cost(images=rendered["num_images"])
    if not (trained / CARD_NAMES[GeneratorCard]).exists():
        flags = ["train", "--faces", str(prepared / LMDB_NAME), "--recipe", SHARP_RECIPE]
        flags += ["--recipes", str(workshop.recipes), "--identity-model", str(identity)]
        _call("generate", [*flags, "--seed", "0", "--runs", str(workshop.runs), "--out", str(trained)], SHARP_COMMAND)
    ship_generator(trained, target, trained_on=SHARP_TRAINED_ON, licence="MIT")
    origin = Origin(SHARP_TRAINED_ON, "MIT", SHARP_SEED, SHARP_COMMAND)
    for name, role in ((CENTERS_NAME, "identity centres"), (DIFFERENCES_NAME, "rows of image circumstances")):
        shutil.copyfile(prepared / name, target / name)
        settings = {"identity_sha256": rendered["identity_sha256"]}
        write_weight_card(target / name, role=role, origin=origin, settings=settings, figures=rendered, cost=cost)
    return [target / name for name in (WEIGHTS_NAME, CENTERS_NAME, DIFFERENCES_NAME)]


def _make_identity(workshop: Workshop) -> None:
    """Make the faces and the identity network by the stages of a benchmark, then append principal components."""
    flags = ["--scale", BENCHMARK, "--config", str(workshop.config), "--seed", str(SEED), "--runs", str(workshop.runs)]
    for stage, package in ((workshop.stages.generate, "generate"), (workshop.stages.train, "fr_train")):
        if not stage.is_finished:
            _call(package, flags)
    if workshop.is_finished(IDENTITY):
        return
    directory, full_precision = workshop.stages.train.directory, workshop.work_dir / IDENTITY
    appearance = add_appearance(
        directory / "model.safetensors",
        open_faces(workshop.stages.generate.directory / "faces.lmdb"),
        full_precision,
        num_components=_NUM_COMPONENTS,
        strength=_COMPONENT_STRENGTH,
    )
    store_rounded(full_precision, workshop.finished_dir / IDENTITY)
    card = read_card(directory, ModelCard)
    figures = {"num_parameters": card.num_parameters, "final_loss": card.final_loss, **card.dataset.model_dump()}
    figures |= {"appearance_explained": round(appearance.explained, 4)}
    settings = card.inputs["recipe"] | {"appearance": {"numbers": _NUM_COMPONENTS, "strength": _COMPONENT_STRENGTH}}
    workshop.write_card(
        IDENTITY, role="identity and quality estimator", settings=settings, figures=figures, cost=card.cost
    )


def _make_yaw(workshop: Workshop) -> None:
    """Train the yaw network on the true yaw of the rendered faces, and measure its error on held-out identities."""
    if workshop.is_finished(YAW):
        return
    stopwatch, directory = Stopwatch(), workshop.stages.generate.directory
    faces = open_faces(directory / "faces.lmdb")
    yaw = pd.read_parquet(directory / "faces.parquet", columns=["yaw_degrees"])["yaw_degrees"].to_numpy()
    small = np.stack([half_size(faces.image(i)) for i in progress(range(len(faces)), desc="halve", total=len(faces))])
    held_out = faces.identity_ids >= (1 - _HELD_OUT_SHARE) * faces.num_identities
    network = train_yaw(small[~held_out], yaw[~held_out], seed=SEED)
    save_yaw_network(network, workshop.finished_dir / YAW)
    figures = {
        "num_parameters": sum(parameter.numel() for parameter in network.parameters()),
        "mean_error_degrees": round(yaw_error(network, small[held_out], yaw[held_out]), 3),
        "held_out_faces": int(held_out.sum()),
    }
    cost = stopwatch.cost(images=len(faces))
    workshop.write_card(YAW, role="yaw estimator", settings={}, figures=figures, cost=cost)


def _make_features(workshop: Workshop) -> None:
    """Extract the features of all faces with the rounded identity network; write centres and directions of noise.

    The mean of several features is shorter than they are. Centres are scaled to the mean norm of the features, because
    the generator is trained on vectors of that norm.
    """
    directory, stopwatch = workshop.work_dir / "prepared", Stopwatch()
    if not (directory / PREPARED_NAME).exists():
        faces = open_faces(workshop.stages.generate.directory / "faces.lmdb")
        prepare(faces, Preparation(workshop.finished_dir / IDENTITY), directory)
    prepared = read_json_object(directory / PREPARED_NAME)
    centers = np.load(directory / CENTERS_NAME)
    centers *= prepared["mean_norm"] / np.linalg.norm(centers, axis=1).mean()
    deviations = np.load(directory / DEVIATIONS_NAME)
    settings = {"identity_sha256": prepared["identity_sha256"]}
    for name, role, array in (
        (CENTERS_NAME, "identity centres", centers),
        (DEVIATIONS_NAME, "directions of noise", deviations),
    ):
        if not workshop.is_finished(name):
            with atomic_path(workshop.finished_dir / name) as temporary, temporary.open("wb") as file:
                np.save(file, array.astype(np.float16))
            workshop.write_card(name, role=role, settings=settings, figures=prepared, cost=stopwatch.cost())


def _make_generator(workshop: Workshop) -> None:
    """Train the generator with ``python -m generate train``, and export it."""
    directory = workshop.work_dir / "generator"
    if not (directory / CARD_NAMES[GeneratorCard]).exists():
        flags = ["train", "--faces", str(workshop.work_dir / "prepared" / LMDB_NAME), "--recipe", RECIPE]
        flags += ["--recipes", str(workshop.recipes), "--identity-model", str(workshop.finished_dir / IDENTITY)]
        _call("generate", [*flags, "--seed", "0", "--runs", str(workshop.runs), "--out", str(directory)])
    if not workshop.is_finished(WEIGHTS_NAME):
        ship_generator(directory, workshop.finished_dir, trained_on=TRAINED_ON, licence="MIT")


def _make_pose(workshop: Workshop) -> None:
    """Train the pose model of the exported generator on the same faces, with their true landmarks, and export it."""
    if workshop.is_finished(POSE_NAME):
        return
    posed_set, directory = workshop.work_dir / "posed", workshop.work_dir / "pose"
    if not (posed_set / PREPARED_NAME).exists():
        faces = open_faces(workshop.work_dir / "prepared" / LMDB_NAME)
        prepare(faces, Preparation(landmarks=workshop.stages.generate.directory / "faces.parquet"), posed_set)
    if not (directory / CARD_NAMES[GeneratorCard]).exists():
        flags = ["train-pose", "--faces", str(posed_set / LMDB_NAME), "--recipe", RECIPE]
        flags += ["--recipes", str(workshop.pose_recipes), "--identity-model", str(workshop.finished_dir / IDENTITY)]
        flags += ["--generator", str(workshop.finished_dir / WEIGHTS_NAME), "--seed", "0"]
        _call("generate", [*flags, "--runs", str(workshop.runs), "--out", str(directory)])
    ship_generator(directory, workshop.finished_dir, trained_on=TRAINED_ON, licence="MIT")


def _call(package: str, flags: list[str], command: str = "generate assets") -> None:
    """Run ``python -m package`` on the CPU, as the shipped networks were made; the command resumes its own work.

    Args:
        package: The package to run.
        flags: Its sub-command and flags, without the device.
        command: The command to give again after a failure, for the message.

    Raises:
        InputError: If it fails.
    """
    if status := run_command([sys.executable, "-m", package, *flags, "--device", "cpu"]):
        raise InputError(
            f"{python_command(package)} ended with status {status}; read its message above, correct the cause, then "
            f"run {python_command(command)} again"
        )
