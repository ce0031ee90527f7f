"""What a benchmark would do and need, as text: stages and why, missing inputs, images, disk, memory, hours."""

import shutil
from pathlib import Path

from bench.config.benchmarks import Benchmark
from bench.config.generator import FilesGenerator, RenderGenerator, Vec2FaceGenerator
from bench.runs.inputs import MissingInput
from bench.runs.stage import Stages, read_latest

_MODEL_BYTES = 600_000_000  # IResNet-50 with optimiser state and head checkpoint, rounded up
_FACE_BYTES = {75: (3_160, 4_330), 85: (3_960, 5_680), 90: (4_710, 7_210), 95: (6_080, 8_460), 100: (11_700, 13_800)}
"""JPEG quality -> bytes of an image file, and of its record in an LMDB, which fills whole pages of 4,096.

Measured with the writers here on aligned photographs, 3,000 of LFW and 3,000 of CFP (they differ by a tenth from the
mean): weights that are not trained draw noise, which says nothing. What a dataset took stands in its card."""
_PUBLISHED_FACE_BYTES = 3_700
"""Of the authors' hsface10k.lmdb: quality 75, colours at half resolution."""
_RECORD_BYTES = 60
"""Of faces.parquet and, again, of a shard, per image."""
_NETWORKS_BYTES = 2_170_000_000
_SLOT_BYTES = 875_000_000
"""Generating in float32 on a CPU: base generator and both IResNet-100 with their libraries; and what one slot of
AttrOP's batch adds with its graph. Measured as the largest resident size: 16.2 GB with 16 slots, as by default."""
_IDENTITY_BYTES = 14_000
"""Copies of an identity's 512 numbers while it is decided which stay apart. Measured between 5,000 and 40,000."""


def describe_plan(benchmark: Benchmark, stages: Stages, missing: list[MissingInput], runs: Path) -> str:
    """The plan of a benchmark for a person; starts nothing."""
    latest = read_latest(runs, benchmark.name)
    lines = [f"{benchmark.name} (version {benchmark.version}): {benchmark.about}", "", "stages"]
    for stage in stages:
        verb = "skip" if stage.is_finished else "run"
        lines.append(f"  {stage.name:9s} {verb}: {stage.reason(latest.get(stage.name))}  -> {stage.directory}")
    lines += ["", "missing inputs", *(f"  {item}" for item in missing)] if missing else ["", "missing inputs: none"]
    return "\n".join([*lines, "", *_figures(benchmark, runs)])


def describe_missing(benchmark: Benchmark, missing: list[MissingInput]) -> str:
    """The list of missing inputs as one message."""
    return f"SCALE={benchmark.name} cannot start, {len(missing)} inputs are missing:\n" + "\n".join(
        f"  {item}" for item in missing
    )


def _figures(benchmark: Benchmark, runs: Path) -> list[str]:
    expected, generator = benchmark.expected, benchmark.generator
    if isinstance(generator, FilesGenerator):
        return [f"memory {expected.memory_gb:g} GB; images, disk and hours depend on {generator.path}"]
    num_images = generator.num_identities * generator.images_per_identity
    num_seen = num_images * benchmark.recipe.schedule.epochs
    existing = next(folder for folder in (runs, *runs.resolve().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    disk = faces_bytes(generator) | {"network": _MODEL_BYTES}
    generate_hours = num_images / expected.generate_images_per_second / 3600
    train_hours = num_seen / expected.train_images_per_second / 3600
    generating = []
    if isinstance(generator, Vec2FaceGenerator) and _has_released_sizes(generator):
        gigabytes = generation_memory_bytes(generator) / 1e9
        generating = [f"           generating: {gigabytes:.1f} GB per process on a CPU, on a GPU mostly of its own"]
    lines = [
        f"images     {num_images:,} ({generator.num_identities:,} identities x {generator.images_per_identity}); "
        f"{num_seen:,} pass in training ({benchmark.recipe.schedule.epochs} epochs)",
        f"disk       {sum(disk.values()) / 1e9:.1f} GB in {runs} ({free / 1e9:.0f} GB free)",
        "           " + ", ".join(f"{what} {size / 1e9:.1f}" for what, size in disk.items()),
        *_warn_of_disk(sum(disk.values()) - free, runs),
        f"memory     {expected.memory_gb:g} GB"
        + (f", {expected.gpu_memory_gb:g} GB on the GPU" if expected.gpu_memory_gb else ""),
        *generating,
        f"hours      {generate_hours + train_hours:.2f} on {expected.device}: "
        f"generate {generate_hours:.2f}, train {train_hours:.2f}",
        f"           ({expected.source})",
    ]
    if expected.mean_accuracy:
        low, high = expected.mean_accuracy
        lines.append(f"accuracy   {low:.1%} to {high:.1%} mean over {', '.join(benchmark.protocols)}")
    return lines


def _has_released_sizes(generator: Vec2FaceGenerator) -> bool:
    """Whether the released networks generate, which are .pth; those made by the suite are small, and .safetensors."""
    return generator.source == "generate" and Path(generator.generator_weights).suffix == ".pth"


def _warn_of_disk(missing_bytes: float, runs: Path) -> list[str]:
    """A line if there is less room than is needed."""
    if missing_bytes <= 0:
        return []
    return [f"           too small: {missing_bytes / 1e9:.1f} GB are missing in {runs}; free them, or change RUNS"]


def faces_bytes(generator: Vec2FaceGenerator | RenderGenerator) -> dict[str, float]:
    """Room on disk of a dataset, in bytes: ``faces``, and ``shards`` that lie beside them until they are joined.

    Args:
        generator: Section ``generator`` of a benchmark.
    """
    num_images = generator.num_identities * generator.images_per_identity
    if isinstance(generator, Vec2FaceGenerator) and generator.source == "hub":
        return {"published faces, in WEIGHTS": num_images * _PUBLISHED_FACE_BYTES}
    file_bytes, record_bytes = next(
        sizes for quality, sizes in _FACE_BYTES.items() if quality >= generator.jpeg_quality
    )
    room: dict[str, float] = {"faces": num_images * (record_bytes + _RECORD_BYTES)}
    if isinstance(generator, Vec2FaceGenerator):
        room["shards"] = num_images * (file_bytes + _RECORD_BYTES)
    return room


def generation_memory_bytes(generator: Vec2FaceGenerator) -> float:
    """Main memory of one process that generates on a CPU, at most, in bytes.

    Args:
        generator: Section ``generator`` of a benchmark, with the released sizes of networks.
    """
    slots = max(1, generator.batch_size // 4)  # AttrOP's: Plan.attribute_batch
    return _NETWORKS_BYTES + slots * _SLOT_BYTES + generator.num_identities * _IDENTITY_BYTES
