"""What a benchmark would do and need, as text: stages and why, missing inputs, images, disk, memory, hours."""

import shutil
from pathlib import Path

from bench.config import Benchmark, FilesGenerator
from bench.inputs import MissingInput
from bench.stages import Stages, read_latest

_MODEL_BYTES = 600_000_000  # IResNet-50 with optimiser state and head checkpoint, rounded up


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
    disk = num_images * expected.bytes_per_image + _MODEL_BYTES
    generate_hours = num_images / expected.generate_images_per_second / 3600
    train_hours = num_seen / expected.train_images_per_second / 3600
    lines = [
        f"images     {num_images:,} ({generator.num_identities:,} identities x {generator.images_per_identity}); "
        f"{num_seen:,} pass in training ({benchmark.recipe.schedule.epochs} epochs)",
        f"disk       {disk / 1e9:.1f} GB in {runs} ({shutil.disk_usage(existing).free / 1e9:.0f} GB free)",
        f"memory     {expected.memory_gb:g} GB"
        + (f", {expected.gpu_memory_gb:g} GB on the GPU" if expected.gpu_memory_gb else ""),
        f"hours      {generate_hours + train_hours:.2f} on {expected.device}: "
        f"generate {generate_hours:.2f}, train {train_hours:.2f}",
        f"           ({expected.source})",
    ]
    if expected.mean_accuracy:
        low, high = expected.mean_accuracy
        lines.append(f"accuracy   {low:.1%} to {high:.1%} mean over {', '.join(benchmark.protocols)}")
    return lines
