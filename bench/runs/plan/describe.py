"""The plan of a benchmark as text: which stages run and why, missing inputs, images, disk, memory, hours."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from bench.config.benchmarks import Benchmark, Expected
from bench.config.generator import FilesGenerator, Generator, RenderGenerator, Vec2FaceGenerator
from bench.config.mixture import MixtureGenerator
from bench.runs.fingerprints import changes_of
from bench.runs.inputs import MissingInput
from bench.runs.launch import num_processes, words_of
from bench.runs.plan.measured import Measured, read_measured
from bench.runs.stage import Stages, read_latest

_MODEL_BYTES = 600_000_000  # IResNet-50 with optimiser state and head checkpoint, rounded up
_FACE_BYTES = {75: (3_160, 4_330), 85: (3_960, 5_680), 90: (4_710, 7_210), 95: (6_080, 8_460), 100: (11_700, 13_800)}
"""JPEG quality -> bytes of an image file, and of its LMDB record, which fills whole pages of 4,096 bytes.

Measured with the project's writers on 6,000 aligned photographs: 3,000 of LFW and 3,000 of CFP, each within a tenth of
the mean. The card of a finished dataset states its true size."""
_PUBLISHED_FACE_BYTES = 3_700
"""Bytes per image of the authors' hsface10k.lmdb (JPEG quality 75, chroma at half resolution)."""
_RECORD_BYTES = 60
"""Bytes per image of faces.parquet; a shard needs as many again."""
_NETWORKS_BYTES = 2_170_000_000
_SLOT_BYTES = 875_000_000
"""Memory in bytes of generating in float32 on a CPU: the base generator and two IResNet-100 with their libraries, and
what each image of AttrOP's batch adds. Measured as the largest resident size: 16.2 GB with the default 16 images."""
_POSE_BYTES = 230_000_000
"""Memory in bytes that a pose model of Vec2Face+ adds: a second attention in 20 blocks, and the pose network."""
_IDENTITY_BYTES = 14_000
"""Bytes per identity while ``separated`` decides which vectors stay apart. Measured from 5,000 to 40,000 identities."""


def describe_plan(
    benchmark: Benchmark, stages_by_seed: Mapping[int, Stages], missing: list[MissingInput], runs: Path
) -> str:
    """The plan of a benchmark as text for the user. Starts nothing."""
    latest = read_latest(runs, benchmark.name)
    lines = [f"{benchmark.name} (version {benchmark.version}): {benchmark.about}"]
    lines += [f"  changed: {change}" for change in benchmark.changes]
    for seed, stages in stages_by_seed.items():
        lines += ["", "stages" if len(stages_by_seed) == 1 else f"stages of seed {seed}"]
        for stage in stages:
            verb = "skip" if stage.is_finished else "run"
            lines.append(f"  {stage.name:9s} {verb}: {stage.reason(latest.get(stage.name))}  -> {stage.directory}")
    lines += ["", "missing inputs", *(f"  {item}" for item in missing)] if missing else ["", "missing inputs: none"]
    each = [f"for each of {len(stages_by_seed)} seeds"] if len(stages_by_seed) > 1 else []
    return "\n".join([*lines, "", *each, *_figures(benchmark, runs)])


def _figures(benchmark: Benchmark, runs: Path) -> list[str]:
    measured, generator = read_measured(runs, benchmark), benchmark.generator
    expected = benchmark.expected
    usage = [*_describe_memory(benchmark, measured), *_describe_rates(measured)]
    if isinstance(generator, FilesGenerator):
        return [*usage, f"images, disk and hours depend on {generator.path}"]
    if isinstance(generator, MixtureGenerator):
        return [*_describe_parts(generator), *usage, *_figures_of_mixture(benchmark, generator, measured)]
    num_images = generator.num_identities * generator.images_per_identity
    num_seen = num_images * benchmark.recipe.schedule.epochs
    existing = next(folder for folder in (runs, *runs.resolve().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    disk = faces_bytes(generator) | {"network": _MODEL_BYTES}
    if measured is not None and measured.bytes_per_image:
        disk["faces"] = num_images * (measured.bytes_per_image + _RECORD_BYTES)
    lines = [
        f"images     {num_images:,} ({generator.num_identities:,} identities x {generator.images_per_identity}); "
        f"{num_seen:,} seen in training ({benchmark.recipe.schedule.epochs} epochs)",
        f"disk       {sum(disk.values()) / 1e9:.1f} GB in {runs} ({free / 1e9:.0f} GB free)",
        "           " + ", ".join(f"{what} {size / 1e9:.1f}" for what, size in disk.items()),
        *_warn_of_disk(sum(disk.values()) - free, runs),
        *usage,
        *_describe_hours(expected, measured, num_images, num_seen),
    ]
    if expected.mean_accuracy and not changes_of(benchmark, "generator", "recipe", "protocols"):
        low, high = expected.mean_accuracy
        lines.append(f"accuracy   {low:.1%} to {high:.1%} mean over {', '.join(benchmark.protocols)}")
    return lines


def _describe_memory(benchmark: Benchmark, measured: Measured | None) -> list[str]:
    """Memory of a process: as a rehearsal measured it for all that counts, else as the entry expects it."""
    expected, generator = benchmark.expected, benchmark.generator
    is_published = isinstance(generator, Vec2FaceGenerator) and generator.source == "hub"
    is_drawn = isinstance(generator, RenderGenerator | Vec2FaceGenerator) and not is_published
    stages = {"train", "generate"} if is_drawn else {"train"}
    if measured is not None and stages <= measured.memory_gb.keys():
        on_gpu = {stage: f" and {size:.1f} on its GPU" for stage, size in measured.gpu_memory_gb.items()}
        each = [f"{stage} {size:.1f}{on_gpu.get(stage, '')}" for stage, size in measured.memory_gb.items()]
        return [f"memory     GB of a process: {', '.join(each)}", f"           (measured {measured.age})"]
    gpu_memory = f", {expected.gpu_memory_gb:g} GB on the GPU" if expected.gpu_memory_gb else ""
    lines = [f"memory     {expected.memory_gb:g} GB{gpu_memory}"]
    if isinstance(generator, Vec2FaceGenerator) and has_released_sizes(generator):
        gigabytes = generation_memory_bytes(generator) / 1e9
        lines.append(f"           on a CPU, each process that generates takes {gigabytes:.1f} GB")
    return lines


def _describe_hours(expected: Expected, measured: Measured | None, num_images: int, num_seen: int) -> list[str]:
    """Hours of generating and training, on which device, and where the rates come from.

    Args:
        expected: Rates of the entry.
        measured: Rates of a rehearsal on this machine, which replace those of the entry where there are some.
        num_images: Images to generate.
        num_seen: Images seen in training.
    """
    stages = {
        "generate": (num_images, expected.generate_images_per_second, "generate_images_per_second"),
        "train": (num_seen, expected.train_images_per_second, "train_images_per_second"),
    }
    hours, devices, sources = dict[str, float](), dict[str, str](), dict[str, str]()
    for stage, (count, rate, name) in stages.items():
        devices[stage], sources[stage] = expected.device, expected.source
        if measured is not None and (measured_rate := getattr(measured, name)):
            rate, devices[stage], sources[stage] = measured_rate, measured.device, f"measured {measured.age}"
        hours[stage] = count / rate / 3600
    total = f"hours      {sum(hours.values()):.2f}"
    advice = _advice_on_processes(measured)
    if len(set(sources.values())) == 1:
        each = ", ".join(f"{stage} {value:.2f}" for stage, value in hours.items())
        return [f"{total} on {devices['train']}: {each}", f"           ({sources['train']})", *advice]
    each = ", ".join(f"{stage} {value:.2f} on {devices[stage]}" for stage, value in hours.items())
    texts = "; ".join(f"{stage}: {text}" for stage, text in sources.items())
    return [f"{total}: {each}", f"           ({texts})", *advice]


def _describe_rates(measured: Measured | None) -> list[str]:
    """What a rehearsal measured beside memory: images per second, and the largest micro-batch."""
    if measured is None:
        return []
    rates = {
        "generate": measured.generate_images_per_second,
        "generate without steps of AttrOP": measured.without_attrop_images_per_second,
        "train": measured.train_images_per_second,
        "evaluate": measured.evaluate_images_per_second,
    }
    each = ", ".join(f"{name} {_short(rate)}" for name, rate in rates.items() if rate)
    lines = [f"images/s   {each}", f"           (measured {measured.age} on {measured.device})"] if each else []
    if size := measured.largest_micro_batch:
        lines.append(f"           training: at most {size} faces at a time, TRAIN_FLAGS='--micro-batch {size}'")
    return lines


def _short(rate: float) -> str:
    """A rate with three digits: 0.124, 28.8 or 1,234."""
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def _advice_on_processes(measured: Measured | None) -> list[str]:
    """A line if the hours are those of another number of processes; of LAUNCH's processes, no rehearsal knows."""
    now, then = num_processes(), measured.num_processes if measured is not None else 1
    if now == then or words_of("LAUNCH"):
        return []
    return [f"           (hours with NPROC={then}; make rehearse NPROC={now} measures yours)"]


def _describe_parts(mixture: MixtureGenerator) -> list[str]:
    """The parts of a mixture."""
    lines = ["parts"]
    for part in mixture.parts:
        source = f"faces of SCALE={part.benchmark}" if part.benchmark else part.path
        chosen = part.model_dump(exclude={"name", "benchmark", "path"})
        lines.append(f"  {part.label}: {source}" + "".join(f", {name} {value}" for name, value in chosen.items()))
    return lines


def _figures_of_mixture(benchmark: Benchmark, mixture: MixtureGenerator, measured: Measured | None) -> list[str]:
    """Images and hours of a mixture whose budget states its size."""
    if mixture.total_images is None:
        return ["images and hours depend on the parts"]
    num_seen = mixture.total_images * benchmark.recipe.schedule.epochs
    rate, device = benchmark.expected.train_images_per_second, benchmark.expected.device
    if measured is not None and measured.train_images_per_second:
        rate, device = measured.train_images_per_second, measured.device
    return [
        f"images     {mixture.total_images:,}; {num_seen:,} seen in training",
        f"hours      {num_seen / rate / 3600:.2f} of training on {device}, without those of making the parts",
        *_advice_on_processes(measured),
    ]


def has_released_sizes(generator: Generator) -> bool:
    """Whether the generator has the size of the released one: its file ends in .pth, the suite's in .safetensors."""
    if not isinstance(generator, Vec2FaceGenerator):
        return False
    return generator.source == "generate" and Path(generator.generator_weights).suffix == ".pth"


def _warn_of_disk(missing_bytes: float, runs: Path) -> list[str]:
    """A warning if the disk has less room than is needed."""
    if missing_bytes <= 0:
        return []
    return [f"           too small: {missing_bytes / 1e9:.1f} GB are missing in {runs}; free them, or change RUNS"]


def faces_bytes(generator: Vec2FaceGenerator | RenderGenerator) -> dict[str, float]:
    """Disk space of a dataset in bytes: ``faces``, and ``shards``, which exist until they are joined into the faces.

    Args:
        generator: Section ``generator`` of a benchmark.
    """
    num_images = generator.num_identities * generator.images_per_identity
    if isinstance(generator, Vec2FaceGenerator) and generator.source == "hub":
        return {"published faces, in WEIGHTS": num_images * _PUBLISHED_FACE_BYTES}
    file_bytes, record_bytes = next(
        sizes for quality, sizes in _FACE_BYTES.items() if quality >= generator.jpeg_quality
    )
    disk: dict[str, float] = {"faces": num_images * (record_bytes + _RECORD_BYTES)}
    is_drawn = isinstance(generator, Vec2FaceGenerator)
    disk["shards"] = num_images * (file_bytes + _RECORD_BYTES if is_drawn else record_bytes)  # Parquet, or LMDB
    return disk


def generation_memory_bytes(generator: Vec2FaceGenerator) -> float:
    """Peak main memory, in bytes, of one process that generates on a CPU.

    Args:
        generator: Section ``generator`` of a benchmark, with the released sizes of networks.
    """
    slots = max(1, generator.batch_size // 4)  # AttrOP's: Plan.attribute_batch
    networks = _NETWORKS_BYTES + (_POSE_BYTES if generator.pose else 0)
    return networks + slots * _SLOT_BYTES + generator.num_identities * _IDENTITY_BYTES
