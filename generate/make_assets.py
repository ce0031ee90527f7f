"""Nothing in, the networks of generate/assets out: ``python -m generate assets`` (``make assets``).

Everything starts from rendered people that no benchmark and no protocol holds: an identity network is trained on them,
its features, with numbers of appearance behind them, condition a small Vec2Face, their true yaw trains the yaw network.
All is made below ``runs/assets`` and shipped at the end; stages that are done there are skipped, an interrupted one
goes on. Shipped files hold matrices in float16 and vectors in float32; later stages use the rounded identity network,
so that features are those of the file.

| stage | makes | by |
|---|---|---|
| faces, identity | faces, identity.safetensors | stages of the benchmark ``assets``, generate/networks/appearance.py |
| yaw | yaw.safetensors | generate/networks/yaw.py |
| features | the training set, centers.npy, deviations.npy | generate/training/prepare.py |
| generator | generator.safetensors | generate/training/train.py, recipe ``rendered`` of generators.yaml |
"""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from bench.config.benchmarks import load_benchmark
from bench.config.generator import ASSETS_PATH
from bench.errors import InputError
from bench.faces.lmdb_file import open_faces
from bench.files import atomic_path, read_json, sha256, write_json
from bench.machine.device import Stopwatch, environment, git_state
from bench.machine.progress import progress
from bench.runs.cards import CARD_NAMES, Cost, GeneratorCard, ModelCard, read_card
from bench.runs.stage import Stages, plan_stages
from generate.networks.appearance import add_appearance
from generate.networks.yaw import half_size, save_yaw_network, train_yaw, yaw_error
from generate.render.face import IDENTITIES_PER_SEED, PROTOCOL_IDENTITIES
from generate.training.prepare import CENTERS_NAME, DEVIATIONS_NAME, LMDB_NAME, PREPARED_NAME, Preparation, prepare
from generate.training.recipes import RECIPES_PATH
from generate.training.train import GENERATOR_NAME

CONFIG = Path(__file__).parent / "assets" / "make.yaml"
RECIPE = "rendered"
SEED = PROTOCOL_IDENTITIES // IDENTITIES_PER_SEED - 1
"""The last seed that a rendered dataset can have: nobody meets these people who does not ask for this very seed."""
IDENTITY, YAW = "identity.safetensors", "yaw.safetensors"
NAMES = (IDENTITY, YAW, CENTERS_NAME, DEVIATIONS_NAME, GENERATOR_NAME)
MAX_BYTES = 12_000_000
TRAINED_ON = f"rendered heads of people who do not exist (seed {SEED}), which no benchmark and no protocol holds"
_HELD_OUT_SHARE = 0.1
_NUMBERS, _STRENGTH = 40, 0.5
"""Of appearance: how many, and their norm by that of the features."""


@dataclass(frozen=True)
class Workshop:
    """Where the assets are made, and by which settings."""

    runs: Path
    """Everything is made in the folder ``assets`` below it."""
    config: Path = CONFIG
    recipes: Path = RECIPES_PATH

    @property
    def folder(self) -> Path:
        """What is made on the way."""
        return self.runs / "assets"

    @property
    def made(self) -> Path:
        """What shall be shipped, with its cards."""
        return self.folder / "made"

    @property
    def stages(self) -> Stages:
        """Faces and identity network, as stages of a benchmark."""
        benchmark = load_benchmark("assets", self.config)
        return plan_stages(benchmark, seed=SEED, runs=self.runs, test_sets=Path("test_sets"))

    def has(self, name: str) -> bool:
        """Whether a file is made; its card is written last."""
        return card_path(self.made / name).exists()

    def describe(self, name: str, *, role: str, settings: Any, figures: dict[str, Any], cost: Cost) -> None:
        """Write the card of a file that is made."""
        origin = {"trained_on": TRAINED_ON, "licence": "MIT", "seed": SEED}
        _describe(self.made / name, role=role, origin=origin, settings=settings, figures=figures, cost=cost)


def _describe(
    path: Path, *, role: str, origin: dict[str, Any], settings: Any, figures: dict[str, Any], cost: Cost
) -> None:
    """Write the card of a network or an array, beside it."""
    card = {"name": path.name, "role": role, "sha256": sha256(path), "bytes": path.stat().st_size, **origin}
    card |= {"settings": settings, "figures": figures, "cost": cost.model_dump(mode="json")}
    card |= {"environment": environment().model_dump(mode="json"), "git": git_state().model_dump(mode="json")}
    write_json(card_path(path), card | {"created_utc": datetime.now(UTC).isoformat(timespec="seconds")})


def ship_generator(directory: Path, out: Path, *, trained_on: str, licence: str) -> Path:
    """Put a finished training of ``generate train`` into ``out``: weights of half the size, and their card.

    Args:
        directory: Folder of the training.
        out: Folder that gets generator.safetensors and generator.json.
        trained_on: Whose faces, in words.
        licence: Terms under which the weights may be used.

    Raises:
        InputError: If the training is not finished.
    """
    if not (directory / CARD_NAMES[GeneratorCard]).exists():
        raise InputError(f"{directory} holds no {CARD_NAMES[GeneratorCard]}; give a finished folder of generate train")
    out.mkdir(parents=True, exist_ok=True)
    store_rounded(directory / GENERATOR_NAME, out / GENERATOR_NAME)
    card = read_card(directory, GeneratorCard)
    origin = {"trained_on": trained_on, "licence": licence, "seed": card.seed}
    figures = {"num_parameters": card.num_parameters, "num_images_seen": card.num_images_seen} | card.figures
    settings = card.inputs["recipe"] | {"perceptual_network": card.perceptual_network, "networks": card.networks}
    path = out / GENERATOR_NAME
    _describe(path, role="generator", origin=origin, settings=settings, figures=figures, cost=card.cost)
    return path


def make_assets(workshop: Workshop, out: Path = ASSETS_PATH) -> list[Path]:
    """Make every asset, or what is left of it, and put all with their cards into ``out``.

    Args:
        workshop: Where they are made, and by which settings.
        out: Where they are shipped; files of the same names are replaced.

    Returns:
        The shipped files without their cards.

    Raises:
        InputError: If a stage fails, or the files are larger together than ``MAX_BYTES``.
    """
    _make_identity(workshop)
    _make_yaw(workshop)
    _make_features(workshop)
    _make_generator(workshop)
    files = [workshop.made / name for name in NAMES]
    if (size := sum(path.stat().st_size for path in files)) > MAX_BYTES:
        raise InputError(f"{workshop.made} holds {size:,} bytes, {MAX_BYTES:,} are shipped; choose smaller networks")
    out.mkdir(parents=True, exist_ok=True)
    for path in files:
        shutil.copyfile(path, out / path.name)
        shutil.copyfile(card_path(path), card_path(out / path.name))
    return [out / name for name in NAMES]


def card_path(path: Path) -> Path:
    """Where the card of a shipped file lies."""
    return path.with_suffix(".json")


def _make_identity(workshop: Workshop) -> None:
    """Faces and identity network, by the commands of every benchmark."""
    flags = ["--scale", "assets", "--config", str(workshop.config), "--seed", str(SEED), "--runs", str(workshop.runs)]
    for stage, package in ((workshop.stages.generate, "generate"), (workshop.stages.train, "fr_train")):
        if not stage.is_finished:
            _call(package, flags)
    if not workshop.has(IDENTITY):
        directory, joined = workshop.stages.train.directory, workshop.folder / IDENTITY
        faces = open_faces(workshop.stages.generate.directory / "faces.lmdb")
        model = directory / "model.safetensors"
        appearance = add_appearance(model, faces, joined, num_components=_NUMBERS, strength=_STRENGTH)
        store_rounded(joined, workshop.made / IDENTITY)
        card = read_card(directory, ModelCard)
        figures = {"num_parameters": card.num_parameters, "final_loss": card.final_loss, **card.dataset}
        figures |= {"appearance_explained": round(appearance.explained, 4)}
        settings = card.inputs["recipe"] | {"appearance": {"numbers": _NUMBERS, "strength": _STRENGTH}}
        role = "identity and quality estimator"
        workshop.describe(IDENTITY, role=role, settings=settings, figures=figures, cost=card.cost)


def _make_yaw(workshop: Workshop) -> None:
    """The yaw network, from the true yaw of the rendered faces; its error is measured on identities held out."""
    if workshop.has(YAW):
        return
    stopwatch, directory = Stopwatch(), workshop.stages.generate.directory
    faces = open_faces(directory / "faces.lmdb")
    yaw = pd.read_parquet(directory / "faces.parquet", columns=["yaw_degrees"])["yaw_degrees"].to_numpy()
    small = np.stack([half_size(faces.image(i)) for i in progress(range(len(faces)), desc="halve", total=len(faces))])
    held_out = faces.identity_ids >= (1 - _HELD_OUT_SHARE) * faces.num_identities
    network = train_yaw(small[~held_out], yaw[~held_out], seed=SEED)
    save_yaw_network(network, workshop.made / YAW)
    figures = {
        "num_parameters": sum(parameter.numel() for parameter in network.parameters()),
        "mean_error_degrees": round(yaw_error(network, small[held_out], yaw[held_out]), 3),
        "held_out_faces": int(held_out.sum()),
    }
    workshop.describe(YAW, role="yaw estimator", settings={}, figures=figures, cost=stopwatch.cost(images=len(faces)))


def _make_features(workshop: Workshop) -> None:
    """Features of all faces by the rounded identity network; identity centres, and how faces deviate from them.

    Centres are scaled to the mean norm of the features: on vectors of that norm the generator is trained.
    """
    directory, stopwatch = workshop.folder / "prepared", Stopwatch()
    if not (directory / PREPARED_NAME).exists():
        faces = open_faces(workshop.stages.generate.directory / "faces.lmdb")
        prepare(faces, Preparation(workshop.made / IDENTITY), directory)
    prepared = read_json(directory / PREPARED_NAME)
    centers = np.load(directory / CENTERS_NAME)
    centers *= prepared["mean_norm"] / np.linalg.norm(centers, axis=1).mean()  # means are shorter than what they are of
    arrays = {CENTERS_NAME: centers, DEVIATIONS_NAME: np.load(directory / DEVIATIONS_NAME)}
    for name, role in ((CENTERS_NAME, "identity centres"), (DEVIATIONS_NAME, "directions of noise")):
        if not workshop.has(name):
            with atomic_path(workshop.made / name) as temporary, temporary.open("wb") as file:
                np.save(file, arrays[name].astype(np.float16))
            settings = {"identity_sha256": prepared["identity_sha256"]}
            workshop.describe(name, role=role, settings=settings, figures=prepared, cost=stopwatch.cost())


def _make_generator(workshop: Workshop) -> None:
    """The generator, by the command of every generator."""
    directory = workshop.folder / "generator"
    if not (directory / CARD_NAMES[GeneratorCard]).exists():
        flags = ["train", "--faces", str(workshop.folder / "prepared" / LMDB_NAME), "--recipe", RECIPE]
        flags += ["--recipes", str(workshop.recipes), "--identity-model", str(workshop.made / IDENTITY)]
        _call("generate", [*flags, "--seed", "0", "--runs", str(workshop.runs), "--out", str(directory)])
    if not workshop.has(GENERATOR_NAME):
        ship_generator(directory, workshop.made, trained_on=TRAINED_ON, licence="MIT")


def store_rounded(source: Path, target: Path) -> None:
    """A safetensors file again, its matrices and filters in float16, vectors (norms, biases) and counts as they are."""
    with safe_open(source, framework="pt") as file:
        metadata = file.metadata()
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    rounded = {name: _rounded(tensor).contiguous() for name, tensor in weights.items()}
    with atomic_path(target) as temporary:
        save_file(rounded, temporary, metadata)


def _rounded(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.half() if tensor.dim() > 1 and tensor.is_floating_point() else tensor


def _call(package: str, flags: list[str]) -> None:
    """Run ``python -m package`` on the CPU, as the shipped networks were made; it goes on where it stopped."""
    status = subprocess.run([sys.executable, "-m", package, *flags, "--device", "cpu"], check=False).returncode
    if status:
        raise InputError(f"python -m {package} ended with status {status}; see above, then give the same command again")
