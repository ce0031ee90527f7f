"""The stage ``generate`` of a benchmark: the faces of whichever kind of generator its settings name.

Heavy libraries are imported only where the kind of generator needs them.
"""

from dataclasses import replace
from pathlib import Path

from bench.config.benchmarks import Benchmark
from bench.config.divisions import DIVISIONS
from bench.config.generator import FilesGenerator, RenderGenerator, Vec2FaceGenerator
from bench.config.mixture import MixtureGenerator
from bench.errors import InputError
from bench.faces.face import Faces
from bench.machine.device import choose_device, process_rank, use_every_core
from bench.runs.card_parts.statistics import DatasetStatistics, PartOfMixture
from bench.runs.cards import CARD_NAMES, DatasetCard, MadeFaces


def make_faces(directory: Path, benchmark: Benchmark, *, seed: int, weights: Path, device: str) -> MadeFaces | None:
    """Make a benchmark's faces, or finish them after an interruption.

    Args:
        directory: Folder of the dataset.
        benchmark: The benchmark.
        seed: Seed of the dataset.
        weights: Folder of downloaded weights.
        device: Torch device of the networks, or ``auto``.

    Returns:
        The faces. None in all processes but the first.

    Raises:
        InputError: If settings, weights or given faces do not fit.
    """
    generator = benchmark.generator
    if isinstance(generator, RenderGenerator):
        return _render(generator, directory, seed)
    if isinstance(generator, FilesGenerator):
        return _describe_files(benchmark, generator, directory, seed)
    if isinstance(generator, MixtureGenerator):
        return _mix(benchmark, generator, directory, seed)
    from generate.draw.dataset import make_dataset

    rank, world_size, device = process_rank(choose_device(device))
    if device == "cpu":
        use_every_core(world_size)
    faces = make_dataset(
        directory, generator, seed=seed, weights=weights, device=device, rank=rank, world_size=world_size
    )
    name = f"{generator.dataset_family} {benchmark.name}"
    return replace(faces, name=name, device=device) if faces else None


def is_shared_work(benchmark: Benchmark) -> bool:
    """Whether several processes share the work of making the faces; if not, only rank 0 has something to do."""
    generator = benchmark.generator
    if isinstance(generator, Vec2FaceGenerator):
        return generator.source == "generate"
    return isinstance(generator, RenderGenerator)


def _describe_files(benchmark: Benchmark, generator: FilesGenerator, directory: Path, seed: int) -> MadeFaces:
    """A dataset that exists, or the subset of it that its division allows.

    Raises:
        InputError: If it exceeds the caps of its division and is not to be cut down.
    """
    from bench.faces.face import check_sizes
    from bench.faces.grid import sample_grid, write_grid
    from bench.faces.mixture.subset import Caps
    from bench.runs.dataset import open_files

    caps = Caps(**benchmark.subset_caps) if benchmark.subset_caps else None
    faces = open_files(generator.path, generator.mask, generator.leave_out, caps=caps, seed=seed)
    if problem := _excess(benchmark, faces):
        raise InputError(
            f"{generator.path} has {problem}; set over_caps: subset to use a seeded subset, or give a smaller dataset"
        )
    check_sizes(faces)
    write_grid(directory / "grid.png", sample_grid(faces, skip_corrupt=benchmark.recipe.skip_corrupt))
    path = str(Path(generator.path).resolve())
    return MadeFaces(path, len(faces), faces.num_identities, name=Path(path).stem)


def _excess(benchmark: Benchmark, faces: Faces) -> str | None:
    """By how much a dataset exceeds the caps of its division, if it has one; None if it does not."""
    if benchmark.division is None:
        return None
    problem = DIVISIONS[benchmark.division].size_problem(faces.num_identities, len(faces))
    return f"{problem} in division {benchmark.division}" if problem else None


def _mix(benchmark: Benchmark, generator: MixtureGenerator, directory: Path, seed: int) -> MadeFaces:
    from bench.faces.face import check_sizes
    from bench.faces.grid import sample_grid, write_grid
    from bench.faces.mixture.files import SELECTION_NAME
    from bench.faces.mixture.mix import make_mixture
    from bench.faces.open import open_view
    from bench.files import sha256
    from bench.runs.dataset import open_parts
    from bench.runs.fingerprints import mixture_rules

    runs = directory.parents[2]  # the folder is runs/<scale>/faces/<fingerprint>
    parts = open_parts(generator, seed=seed, runs=runs)
    own_seed = seed if generator.seed is None else generator.seed
    card = make_mixture(directory, parts, mixture_rules(generator), seed=own_seed)
    faces = open_view(directory)
    if problem := _excess(benchmark, faces):
        raise InputError(f"the mixture of {benchmark.name} has {problem}; lower generator.caps or total_images")
    check_sizes(faces)
    write_grid(directory / "grid.png", sample_grid(faces, skip_corrupt=benchmark.recipe.skip_corrupt))
    described = [PartOfMixture.model_validate(part.model_dump(exclude={"path"})) for part in card.parts]
    return MadeFaces(
        SELECTION_NAME,
        card.num_images,
        card.num_identities,
        content_sha256=sha256(directory / SELECTION_NAME),
        statistics=DatasetStatistics(parts=described),
        name=benchmark.name,
    )


def _render(generator: RenderGenerator, directory: Path, seed: int) -> MadeFaces | None:
    from bench.files import sha256
    from generate.render.dataset import render_dataset

    statistics = render_dataset(
        directory,
        num_identities=generator.num_identities,
        images_per_identity=generator.images_per_identity,
        seed=seed,
        jpeg_quality=generator.jpeg_quality,
        is_over=(directory / CARD_NAMES[DatasetCard]).exists,
    )
    if statistics is None:
        return None
    return MadeFaces(
        "faces.lmdb",
        generator.num_identities * generator.images_per_identity,
        generator.num_identities,
        content_sha256=sha256(directory / "faces.lmdb"),
        statistics=DatasetStatistics.model_validate(statistics),
        name="rendered heads",
    )
